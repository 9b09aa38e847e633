"""A table of knowledge, read row by row: a bad row costs itself, and is told."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
# What a row raises that is none: a key is missing, or a value is another, or of another type.
BAD = (KeyError, ValueError, TypeError, AttributeError)


@dataclass(frozen=True)
class Table(Generic[T]):
    """The good rows of a file, in its order; and what is wrong with the others."""

    rows: tuple[T, ...] = ()
    complaints: tuple[str, ...] = ()  # "gpus.toml, b200: no memory_mib"


@dataclass(frozen=True)
class File:
    """A file of tables as it stands now: who stays for weeks keeps it from its start on, for a
    package that is upgraded under it must not change what it understands.
    """

    name: str
    text: str = ""
    error: str = ""  # why it could not be read


@dataclass(frozen=True)
class Parsed:
    """What a file of tables says, for who reads several kinds of rows out of it."""

    name: str
    tables: Mapping[str, Any]
    error: str = ""  # why it could not be read, or is no TOML


def kept(path: Path) -> File:
    """A file as it is; one that cannot be read says so."""
    try:
        return File(path.name, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not there, no UTF-8
        return File(path.name, error=str(error))


def parsed(file: Path | File) -> Parsed:
    """A file's tables; one that cannot be read has none, and says why."""
    import tomllib  # when it is first wanted, not in every idle launcher

    file = kept(file) if isinstance(file, Path) else file
    try:
        return Parsed(file.name, tomllib.loads(file.text), file.error)
    except (ValueError, TypeError) as error:  # no TOML
        return Parsed(file.name, {}, str(error))


def read(
    file: Path | File | Parsed,
    table: str | None,
    made: Callable[[str | int, Mapping[str, Any]], T],
    claims: Callable[[T], Iterable[str]] = lambda row: (),
) -> Table[T]:
    """The rows of a file, each `made` from its key and its values.

    `table`: the array of tables that they are (`[[default]]`; its keys are numbers from 1), None
    where each is a table of its own. `claims` are what no second row may have, in words. A row is
    bad where `made` raises one of BAD. A file that cannot be read has no rows.
    """
    file = file if isinstance(file, Parsed) else parsed(file)
    if file.error:
        return Table((), (f"{file.name}: {file.error}",))
    told = file.tables
    try:
        keyed = told.items() if table is None else enumerate(told.get(table, ()), start=1)
    except TypeError as error:  # no array
        return Table((), (f"{file.name}: {error}",))
    rows: list[T] = []
    complaints: list[str] = []
    owners: dict[str, str | int] = {}
    for key, values in keyed:
        try:
            if not isinstance(values, dict):
                raise TypeError("no table")
            row = made(key, values)
            if twice := [claim for claim in claims(row) if claim in owners]:
                raise ValueError(f"{twice[0]} is in {owners[twice[0]]}, too")
        except BAD as error:
            what = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
            complaints.append(f"{file.name}, {key}: {what}")
        else:
            owners |= dict.fromkeys(claims(row), key)
            rows.append(row)
    return Table(tuple(rows), tuple(complaints))


def only(row: Mapping[str, Any], keys: Iterable[str]) -> None:
    """Raise ValueError for a key that no row has."""
    if odd := sorted(set(row) - set(keys)):
        raise ValueError(f"{odd[0]}: no such key")


def text(key: str, told: Any) -> str:
    """What a key says: a text. Raises TypeError for anything else."""
    if not isinstance(told, str):
        raise TypeError(f"{key}: {told!r} is no text")
    return told


def texts(key: str, told: Any) -> tuple[str, ...]:
    """What a key says: a list of texts. Raises TypeError for anything else, a text alone, too."""
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        raise TypeError(f"{key}: {told!r} is no list of texts")
    return tuple(told)


def pattern(key: str, told: Any) -> re.Pattern[str]:
    """What a key says: a regular expression. Raises TypeError, and ValueError for what is none."""
    try:
        return re.compile(text(key, told))
    except re.error as error:
        raise ValueError(f"{key}: {error}") from None


def release(row: Mapping[str, Any]) -> str:
    """A row's `checked`, of what releases change. Raises KeyError, ValueError or TypeError."""
    checked: str = row["checked"]
    if not re.fullmatch(r"\d+(\.\d+)+", checked):
        raise ValueError(f"checked: {checked!r} is not a release")
    return checked


def day(row: Mapping[str, Any]) -> datetime.date:
    """A row's `checked`, of what no release changes. Raises KeyError and ValueError."""
    checked = row["checked"]
    if not isinstance(checked, datetime.date):
        raise ValueError(f"checked: {checked!r} is no day")
    return checked
