"""The scalars of a YAML or JSON text, each character with its place; templates are not known. And
how a text of YAML is written.

Every scalar is taken as it is written: what YAML makes of 0755, `yes` and 1:30 is not what was
meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from launcher import printable
from launcher.formats.masking import TEMPLATE
from launcher.formats.nodes import List, Node, Scalar, Table
from launcher.formats.words import Piece, Text, Word

Object = dict[str, Any]  # a table that is written
MOST_LINES = 50_000
MERGED = 16  # tables that one takes over from others (`<<: *common`)
_REFERENCE = re.compile(r"\$\((\w+)\)|\$\{(\w+)(?::?-([^{}]*))?\}")
# A line of Helm or Jinja that is no value: `{{- with .Values }}`, `{% if x %}`.
_STATEMENT = re.compile(
    r"^[ \t]*(?:\{\{-[^{}\n]*\}\}|\{\{[ ]*(?:if|else|end|with|range|include|template|define|toYaml)"
    r"\b[^{}\n]*\}\}|\{%[^%\n]*%\})[ \t]*$",
    re.MULTILINE,
)


class Source:
    """A text, and how a parser of YAML sees it, character for character."""

    def __init__(self, text: str) -> None:
        self.text = _without_statements(text) if _STATEMENT.search(text) else text
        self.templates = [found.span() for found in TEMPLATE.finditer(self.text)]
        # A template may stand where YAML wants something else: it is read as one word.
        self.seen = TEMPLATE.sub(lambda found: "T" * len(found[0]), self.text)

    def line(self, at: int) -> int:
        """The line of a character, from 1."""
        return self.text.count("\n", 0, at) + 1

    def scalar(self, node: Node | None) -> Text:
        """A scalar with the places of its characters; nothing for what is none."""
        if not isinstance(node, Scalar):
            return ()
        value, start, end = node.value, node.start, node.end
        if node.is_null:
            return (Piece(""),)
        if node.style in ("'", '"'):
            start, end = start + 1, end - 1
        if self.seen[start:end] == value:
            return self._marked(start, end)
        return self._by_lines(value, start, end)

    def _by_lines(self, value: str, start: int, end: int) -> Text:
        """A block: its lines are found one after the other."""
        made: list[Piece] = []
        for number, line in enumerate(re.split(r"(?<=\n)|(?<= )(?=\S)", value)):
            bare = line.rstrip("\n ")
            at = self.seen.find(bare, start, end) if bare else -1
            if at < 0:
                made.append(Piece(line))
                continue
            made += [
                *self._marked(at, at + len(bare)),
                *([Piece(line[len(bare) :])] if line != bare else []),
            ]
            start = at + len(bare)
            if number > MOST_LINES:
                break
        return tuple(made)

    def _marked(self, start: int, end: int) -> Text:
        """Characters of the text, those of templates as not known."""
        made: list[Piece] = []
        for first, last in self.templates:
            if first < end and last > start:
                if first > start:
                    made.append(Piece(self.text[start:first], start))
                start, until = max(start, first), min(end, last)
                made.append(Piece(self.text[start:until], start, known=False))
                start = until
        rest = (Piece(self.text[start:end], start),) if start < end or not made else ()
        return (*made, *rest)


def _without_statements(text: str) -> str:
    """A text without its lines of Helm or Jinja; a command goes on over them."""
    lines = text.split("\n")
    is_open = False
    for at, line in enumerate(lines):
        if _STATEMENT.fullmatch(line):
            lines[at] = " " * (len(line) - is_open) + "\\" * is_open
        else:
            is_open = line.endswith("\\")
    return "\n".join(lines)


def merged(node: Table) -> list[Table]:
    """A table, and those that it takes over, the nearest first."""
    tables = [node]
    for table in tables:
        more = table.get("<<")
        others: list[Node | None] = [*more.items] if isinstance(more, List) else [more]
        tables += [other for other in others[:MERGED] if isinstance(other, Table)]
        if len(tables) > MERGED:
            break
    return tables[:MERGED]


def get(node: Node | None, key: str) -> Node | None:
    """The value of a key, None where there is none, or no table."""
    return node.get(key) if isinstance(node, Table) else None


def of(tables: Sequence[Table], *keys: str) -> Node | None:
    """The value of the first of these keys that one of the tables has, whatever their case."""
    return next(
        (
            value
            for key in keys
            for table in tables
            for name, value in table.items
            if name.value.lower() == key
        ),
        None,
    )


def word(node: Node | None) -> str:
    """What a scalar says; "" for what is none."""
    return node.said if isinstance(node, Scalar) else ""


def filled(text: Text, env: Mapping[str, Word]) -> Text:
    """`$(NAME)` and `${NAME:-default}` with what is known of them, `$$` as one dollar."""
    made: list[Piece] = []
    for piece in text:
        if not piece.known or "$" not in piece.text:
            made.append(piece)
            continue
        at = 0
        for found in re.finditer(rf"\$\$|{_REFERENCE.pattern}", piece.text):
            made += [piece.part(at, found.start())] if found.start() > at else []
            made += _reference(piece, found, env)
            at = found.end()
        made += [piece.part(at, len(piece.text))] if at < len(piece.text) or not made else []
    return tuple(made)


def _reference(piece: Piece, found: re.Match[str], env: Mapping[str, Word]) -> Iterator[Piece]:
    whole = piece.part(*found.span())
    name = found[1] or found[2]
    if found[0] == "$$":
        yield piece.part(found.start() + 1, found.end())
    elif name in env and found[1] and env[name].known:
        yield from env[name].pieces
    elif found[3] is not None and not (name in env and found[1]):
        yield piece.part(*found.span(3))
    else:
        yield replace(whole, known=False)


def document(head: Sequence[str], *objects: Object) -> str:
    """Objects as documents of one text, under lines that are comments. No value is folded, and what
    is no ASCII is escaped: no parser takes a word of it for another.
    """
    comments = [printable.line(f"# {line}") for line in head]
    made = (
        yaml.safe_dump(one, sort_keys=False, width=1 << 20, default_flow_style=False)
        for one in objects
    )
    return "\n".join(["\n".join(comments), "---\n".join(made)])
