"""A YAML or JSON document as nodes that know where they stand.

Made of the parser's events one by one: neither how deep a document is nor how often its anchors are
repeated costs more than its length.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

DEEPEST = 100  # levels
BINARY = "tag:yaml.org,2002:binary"
LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml's where it is built in


class NotYamlError(ValueError):
    """It is no valid YAML; says the line."""


@dataclass(frozen=True)
class Scalar:
    """A word; `start` and `end` in characters of the text, quotes included."""

    value: str
    start: int
    end: int
    style: str = ""  # ' or ", | or > for blocks
    said: str = ""  # the value in the author's characters, templates and all

    @property
    def is_null(self) -> bool:
        """Whether it is YAML's word for nothing."""
        return not self.style and self.value in ("", "null", "~")


@dataclass(frozen=True, eq=False)
class List:
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Table:
    """A table: its keys and values in their order; keys that are no words are left out."""

    items: list[tuple[Scalar, Node]] = field(default_factory=list)

    def get(self, key: str) -> Node | None:
        """The value of a key."""
        return next((value for name, value in self.items if name.value == key), None)


Node = Scalar | List | Table


def documents(text: str, own: str | None = None) -> Iterator[Node]:
    """The roots of all documents in a text, in which other letters may stand for those that its
    author wrote in `own`, as many. Raises NotYamlError.
    """
    written = text if own is None else own
    stack: list[_Open] = []
    anchors: dict[str, Node] = {}
    try:
        for event in yaml.parse(text, LOADER):
            match event:
                case yaml.DocumentStartEvent():
                    anchors = {}
                case yaml.ScalarEvent() | yaml.AliasEvent():
                    made = _leaf(event, anchors, text, written)
                    if stack:
                        stack[-1].add(made)
                    else:
                        yield made
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    node: Node = List() if isinstance(event, yaml.SequenceStartEvent) else Table()
                    if event.anchor:
                        anchors[event.anchor] = node
                    stack.append(_Open(node))
                    if len(stack) > DEEPEST:
                        raise NotYamlError(f"more than {DEEPEST} levels (line {_line(event)})")
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    done = stack.pop().node
                    if stack:
                        stack[-1].add(done)
                    else:
                        yield done
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" (line {line + 1})" if line is not None else ""
        raise NotYamlError(f"it is no valid YAML{where}") from None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _leaf(event: Any, anchors: dict[str, Node], text: str, own: str) -> Node:
    start, end = event.start_mark.index, event.end_mark.index
    if event.__class__ is yaml.AliasEvent:
        return anchors.get(str(event.anchor), Scalar("", start, end))
    text_of = _decoded(event)
    inner = slice(start + 1, end - 1) if event.style in ("'", '"') else slice(start, end)
    said = own[inner] if text[inner] == event.value else text_of
    made = Scalar(text_of, start, end, event.style or "", said)
    if event.anchor:
        anchors[event.anchor] = made
    return made


def _decoded(event: Any) -> str:
    """What a scalar says: of `!!binary` the text in it, where it is one."""
    if event.tag == BINARY:
        with contextlib.suppress(ValueError):
            return base64.b64decode("".join(event.value.split()), validate=True).decode()
    return str(event.value)


class _Open:
    """A list or table that is being read."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: Node | None = None

    def add(self, child: Node) -> None:
        if isinstance(self.node, List):
            self.node.items.append(child)
        elif self.key is None:
            self.key = child
        else:
            if isinstance(self.key, Scalar) and isinstance(self.node, Table):
                self.node.items.append((self.key, child))
            self.key = None
