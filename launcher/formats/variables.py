"""The variables of a container or a task in YAML, and what of them is in another place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from launcher.formats.nodes import List, Node, Table
from launcher.formats.unread import of_variables
from launcher.formats.words import Piece, Word, rest_of, text_of
from launcher.formats.yamltext import Source, filled, get, merged, of, word

KEYS = ("environment", "env", "envs", "variables")


def variables(tables: Sequence[Table], source: Source) -> dict[str, Word]:
    """`environment` of compose, a table or a list of `NAME=value`, and `env` of Kubernetes, a list
    of tables.
    """
    made: dict[str, Word] = {}
    for key in KEYS:
        if (node := of(tables, key)) is not None:
            made |= listed(node, source)
    return made


def listed(node: Node, source: Source) -> dict[str, Word]:
    """The names and values of a table or a list."""
    if isinstance(node, List):
        return dict(_listed(node, source))
    return (
        {}
        if not isinstance(node, Table)
        else {
            name.value: Word(filled(source.scalar(value), {}))
            for table in reversed(merged(node))
            for name, value in table.items
            if name.value != "<<"
        }
    )


def _listed(node: List, source: Source) -> Iterator[tuple[str, Word]]:
    for item in node.items:
        if isinstance(item, Table) and (name := word(get(item, "name"))):
            value, elsewhere = get(item, "value"), get(item, "valueFrom")
            if elsewhere is not None:
                yield name, Word((Piece(_from(elsewhere), known=False),))
            else:
                yield name, Word(filled(source.scalar(value), {}) if value else (Piece(""),))
        elif text := source.scalar(item):
            name, equals, _ = text_of(text).partition("=")
            outside = Word((Piece(f"${name}", known=False),))
            rest = rest_of(Word(text), len(name) + 1) if equals else outside
            yield name, Word(filled(rest.pieces, {}))


def unread(tables: Sequence[Table]) -> list[str]:
    """The files and maps that more variables are in."""
    named = [*_names(of(tables, "env_file")), *_names(of(tables, "envfrom"))]
    return [of_variables(name) for name in named]


def _names(node: Node | None) -> Iterator[str]:
    for item in node.items if isinstance(node, List) else [node]:
        if isinstance(item, Table):
            yield _from(item) if item.get("path") is None else word(item.get("path"))
        elif said := word(item):
            yield said


def _from(node: Node) -> str:
    """`valueFrom` in words: its kind, and what it names."""
    kind = node.items[0][0].value if isinstance(node, Table) and node.items else ""
    inner = get(node, kind)
    named = word(get(inner, "name") or get(inner, "fieldPath"))
    prefix = "valueFrom " if kind.endswith("KeyRef") or kind == "fieldRef" else ""
    return f"{prefix}{kind} {named}".strip()
