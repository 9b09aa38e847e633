"""What is within the JSON of an option, where the engine refuses parts that it does not know.
Pure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping

from launcher.engines.slips import near

Path = tuple[str, ...]


def unknown_part(name: str, parts: Collection[str], text: str) -> str | None:
    """Why an option with these parts, `a` and `a.b`, refuses a JSON text; None where it takes it,
    or nothing is known of its parts.

    What is in a part of which no parts are known is left alone.
    """
    try:
        told = json.loads(text) if parts else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    return next((why for path in _paths(told) if (why := _unknown(name, parts, path))), None)


def _paths(told: Mapping[str, object]) -> Iterator[Path]:
    """The way to each of them; a name may be one in itself (`a.b+`)."""
    for key, value in told.items():
        path = tuple(key.removesuffix("+").split("."))
        yield path
        if isinstance(value, dict):
            yield from ((*path, *inner) for inner in _paths(value))


def _unknown(name: str, parts: Collection[str], path: Path) -> str | None:
    for end in range(1, len(path) + 1):
        above, part = "".join(f"{one}." for one in path[: end - 1]), path[end - 1]
        there = [one.removeprefix(above) for one in parts if one.startswith(above)]
        if not there:
            return None
        if part not in there:
            meant = near(part, [one for one in there if "." not in one])
            said = f"; did you mean {above}{meant}?" if meant else ""
            return f"{name} has no {above}{part}{said}"
    return None
