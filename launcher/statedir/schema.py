"""How a part of an instance's files is read: each reader gives the value, or raises ValueError."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

SCHEMA = 1  # of state.json, readings.json and each line of events.jsonl

T = TypeVar("T")


class OtherSchemaError(ValueError):
    """The file is of another schema than the one that is read here."""

    def __init__(self, schema: object) -> None:
        super().__init__(f"has schema {schema}, this glm5-serve reads {SCHEMA}")


def versioned(said: object) -> Mapping[str, Any]:
    """A table of this schema."""
    found = table(said)
    if "schema" not in found:
        raise ValueError("it has no schema")
    if found["schema"] != SCHEMA:
        raise OtherSchemaError(found["schema"])
    return found


def table(said: object) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(said, dict):
        raise ValueError("no table where one is wanted")
    return said


def text(said: object) -> str:
    """A text."""
    if not isinstance(said, str):
        raise ValueError("no text where one is wanted")
    return said


def whole(said: object) -> int:
    """A whole number of at most 64 bits; true and false are none."""
    if not isinstance(said, int) or isinstance(said, bool) or abs(said) >= 1 << 63:
        raise ValueError("no whole number where one is wanted")
    return said


def number(said: object) -> float:
    """A number of at most 64 bits, as it was written: a whole one stays one.

    What Python's JSON takes beside JSON's own (NaN, Infinity, 1e400) is none.
    """
    if isinstance(said, float) and abs(said) < 1 << 63:
        return said
    return whole(said)


def truth(said: object) -> bool:
    """True or false."""
    if not isinstance(said, bool):
        raise ValueError("neither true nor false where one is wanted")
    return said


def optional(read: Callable[[object], T], said: object) -> T | None:
    """What `read` makes of it; None of null, and of nothing."""
    return None if said is None else read(said)


def if_any(read: Callable[[object], T], said: object) -> T | None:
    """What `read` makes of it; None also where it is something else."""
    try:
        return optional(read, said)
    except ValueError:
        return None


def if_number(said: object) -> float | None:
    """A figure that a server, a driver or a clock gave; None of one that is none: whatever stands
    beside it is true all the same.
    """
    return if_any(number, said)


def by_name(read: Callable[[object], T], said: object) -> dict[str, T]:
    """A table of such values."""
    return {name: read(value) for name, value in table(said).items()}


def each(read: Callable[[object], T], said: object) -> tuple[T, ...]:
    """A list of such values."""
    if not isinstance(said, list):
        raise ValueError("no list where one is wanted")
    return tuple(map(read, said))
