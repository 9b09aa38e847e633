"""Programs that start an engine, and have options of their own (`wrappers.toml`)."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import rows

FILE = Path(__file__).with_name("wrappers.toml")
KEYS = ("program", "engine", "name", "options", "choices", "evidence", "source", "checked")


@dataclass(frozen=True)
class Wrapper:
    """Such a program, the patterns of its own options, without dashes, and the values that it takes
    for options of the engine.
    """

    program: str
    engine: str
    name: str
    options: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]]
    evidence: str
    source: str
    checked: datetime.date

    def has(self, word: str) -> bool:
        """Whether an option, which no release of the engine has, is its own."""
        name = word.lstrip("-").removeprefix("no-")
        return any(fnmatchcase(name, pattern) for pattern in self.options)

    def takes(self, name: str, value: str) -> bool:
        """Whether it takes a value of an option of the engine, by its canonical name."""
        return value in self.choices.get(name, ())


@cache
def table() -> rows.Table[Wrapper]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(FILE, None, wrapper, lambda row: (row.program,))


def wrapper(id: str | int, row: Mapping[str, Any]) -> Wrapper:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(row, KEYS)
    return Wrapper(
        program=rows.text("program", row["program"]),
        engine=rows.text("engine", row["engine"]),
        name=rows.text("name", row["name"]),
        options=rows.texts("options", row["options"]),
        choices={name: rows.texts(name, values) for name, values in row["choices"].items()},
        evidence=row["evidence"],
        source=row["source"],
        checked=rows.day(row),
    )


def of_program(program: str) -> Wrapper | None:
    """The one that a word starts; None for an engine's own program."""
    return next((one for one in table().rows if one.program == program), None)
