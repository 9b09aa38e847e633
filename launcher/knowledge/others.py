"""What servers of other engines call their options, and SGLang its own (`others.toml`)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import rows

FILE = Path(__file__).with_name("others.toml")
KEYS = ("name", "instead", "evidence", "source", "checked")


@dataclass(frozen=True)
class Other:
    """Another engine, and by its options, without dashes, what SGLang has in their place."""

    id: str
    name: str
    instead: Mapping[str, str]
    evidence: str
    source: str
    checked: datetime.date

    def advice(self, word: str, engine: str) -> str:
        """What to write for one of its options."""
        ours = self.instead[_plain(word)]
        if ours.startswith("--"):
            return f"{engine} calls it {ours}"
        return f"leave it out: {ours or f'{engine} has nothing like it'}"


@cache
def table() -> rows.Table[Other]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(FILE, None, other)


def other(id: str | int, row: Mapping[str, Any]) -> Other:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(row, KEYS)
    return Other(
        id=str(id),
        name=rows.text("name", row["name"]),
        instead=dict(row["instead"]),
        evidence=row["evidence"],
        source=row["source"],
        checked=rows.day(row),
    )


def of_option(word: str) -> Other | None:
    """The engine that has an option, which no release of SGLang has."""
    return next((one for one in table().rows if _plain(word) in one.instead), None)


def _plain(word: str) -> str:
    return word.lstrip("-").replace("_", "-")
