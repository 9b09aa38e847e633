"""Bash's grammar in a page: what launcher/formats/grammar.py is elsewhere, by tree-sitter's own
build for browsers (worker.mjs), which gives a tree as rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import glm5_bash  # worker.mjs makes it

NAMED, MISSING, ERROR = 1, 2, 4  # bits of a row


class Point(NamedTuple):
    """A place by its line; columns are not asked."""

    row: int


@dataclass(eq=False)
class Node:
    """A part of a script, with what launcher asks of tree-sitter's."""

    type: str
    start_byte: int
    end_byte: int
    start_point: Point
    bits: int
    field: str | None
    children: list[Node] = field(default_factory=list)

    @property
    def is_named(self) -> bool:
        return bool(self.bits & NAMED)

    @property
    def is_missing(self) -> bool:
        return bool(self.bits & MISSING)

    @property
    def has_error(self) -> bool:
        return bool(self.bits & ERROR)

    @cached_property
    def named_children(self) -> list[Node]:
        return [child for child in self.children if child.is_named]

    def children_by_field_name(self, name: str) -> list[Node]:
        return [child for child in self.children if child.field == name]

    def child_by_field_name(self, name: str) -> Node | None:
        return next(iter(self.children_by_field_name(name)), None)


@lru_cache(maxsize=8)
def parsed(source: str) -> tuple[Node, bool]:
    """The tree of an ASCII text, and whether it is all of it."""
    told = json.loads(glm5_bash.parse(source))
    return tree(iter(told["rows"])), told["is_whole"]


def tree(rows: Iterator[list[object]]) -> Node:
    """Rows (depth, type, start, end, line, bits, field), each behind its parent, as a tree."""
    above: list[Node] = []
    for depth, kind, start, end, line, bits, name in rows:
        node = Node(kind, start, end, Point(line), bits, name)
        del above[depth:]
        if above:
            above[-1].children.append(node)
        above.append(node)
    return above[0]
