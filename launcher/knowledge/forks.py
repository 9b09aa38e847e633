"""What forks of an engine have that none of its releases does (`forks.toml`)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import rows

FILE = Path(__file__).with_name("forks.toml")
KEYS = "name options choices variables images sources instead evidence source checked".split()
# How a text installs a program.
INSTALLS = r"(?:git\+|git clone\b|pip3? install\b)[^\n;&|]*?(?<![\w-])"


@dataclass(frozen=True)
class Fork:
    """A fork, and the patterns of what is its own; options are without dashes."""

    id: str
    name: str
    options: tuple[str, ...]
    choices: tuple[str, ...]
    variables: tuple[str, ...]
    images: tuple[str, ...]
    sources: tuple[str, ...]
    instead: Mapping[str, str]
    evidence: str
    source: str
    checked: datetime.date


@cache
def table() -> rows.Table[Fork]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(FILE, None, fork)


def fork(id: str | int, row: Mapping[str, Any]) -> Fork:
    """A row. Raises one of `rows.BAD` for what is none."""
    rows.only(row, KEYS)
    return Fork(
        id=str(id),
        name=rows.text("name", row["name"]),
        options=rows.texts("options", row["options"]),
        choices=rows.texts("choices", row["choices"]),
        variables=rows.texts("variables", row["variables"]),
        images=rows.texts("images", row["images"]),
        sources=rows.texts("sources", row["sources"]),
        instead=dict(row.get("instead", {})),
        evidence=row["evidence"],
        source=row["source"],
        checked=rows.day(row),
    )


def of_image(image: str) -> frozenset[str]:
    """The ids of the forks that an image has."""
    return frozenset(
        one.id
        for one in table().rows
        if any(fnmatchcase(image.lower(), pattern) for pattern in one.images)
    )


def installed_by(text: str) -> frozenset[str]:
    """The ids of the forks that a text installs."""
    return frozenset(
        one.id
        for one in table().rows
        for source in one.sources
        if re.search(rf"{INSTALLS}{re.escape(source)}(?![\w-])", text, re.IGNORECASE)
    )


def of_option(word: str) -> Fork | None:
    """The fork that has an option, which no release has."""
    return _first("options", word.lstrip("-"))


def of_choice(value: str) -> Fork | None:
    """The fork that has a value of an option, which the release does not take."""
    return _first("choices", value)


def of_variable(name: str) -> Fork | None:
    """The fork that reads a variable, which the release does not."""
    return _first("variables", name)


def _first(kind: str, name: str) -> Fork | None:
    return next(
        (
            one
            for one in table().rows
            if any(fnmatchcase(name, pattern) for pattern in getattr(one, kind))
        ),
        None,
    )
