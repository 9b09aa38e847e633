"""What directives of units and containers do to a server (`directives.toml`)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import needs, rows

FILE = Path(__file__).with_name("directives.toml")
KEYS = tuple(
    "id keys is below by engine ends_well large several spares test verdict shows what fix evidence"
    " source checked".split()
)
KINDS = ("bool", "span", "size", "word", "any")
# What a number may be held against by name.
NEEDS = {
    "locked": float(needs.LOCKED),
    "open-files": float(needs.OPEN_FILES),
}


@dataclass(frozen=True)
class Row:
    """A row; an empty condition holds everywhere."""

    id: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    below: float | None  # seconds, bytes or a count: it is told of what is less
    by: tuple[str, ...]  # who is started
    engine: str
    ends_well: bool | None  # of engines whose server ends with status 0 when it dies
    large: bool  # of models that take minutes to load
    several: bool  # of several GPUs
    spares: tuple[str, ...]  # variables: where one of them is set it is not told
    test: str
    verdict: str
    shows: str
    what: str
    fix: str
    evidence: str
    source: str
    checked: datetime.date


@dataclass(frozen=True)
class Syntax:
    """Keys of a section, and what their values are."""

    section: str
    kind: str
    keys: tuple[str, ...]
    values: tuple[str, ...]


@cache
def table() -> rows.Table[Row]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(FILE, "directive", row, lambda one: (one.id,))


@cache
def syntax() -> rows.Table[Syntax]:
    """What systemd takes for the keys that are judged, and their neighbours."""
    return rows.read(FILE, "syntax", _syntax)


def row(id: str | int, told: Mapping[str, Any]) -> Row:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(told, KEYS)
    below = told.get("below")
    return Row(
        id=rows.text("id", told["id"]),
        keys=rows.texts("keys", told["keys"]),
        values=rows.texts("is", told.get("is", [])),
        below=NEEDS[below] if isinstance(below, str) else below,
        by=rows.texts("by", told.get("by", [])),
        engine=rows.text("engine", told.get("engine", "")),
        ends_well=told.get("ends_well"),
        large=bool(told.get("large")),
        several=bool(told.get("several")),
        spares=rows.texts("spares", told.get("spares", [])),
        test=rows.text("test", told.get("test", "")),
        verdict=rows.text("verdict", told["verdict"]),
        shows=rows.text("shows", told["shows"]),
        what=rows.text("what", told["what"]),
        fix=rows.text("fix", told["fix"]),
        evidence=rows.text("evidence", told["evidence"]),
        source=rows.text("source", told["source"]),
        checked=rows.day(told),
    )


def _syntax(id: str | int, told: Mapping[str, Any]) -> Syntax:
    rows.only(told, ("section", "kind", "keys", "values"))
    if told["kind"] not in KINDS:
        raise ValueError(f"kind: {told['kind']!r} is not one of {', '.join(KINDS)}")
    return Syntax(
        rows.text("section", told["section"]),
        told["kind"],
        rows.texts("keys", told["keys"]),
        rows.texts("values", told.get("values", [])),
    )
