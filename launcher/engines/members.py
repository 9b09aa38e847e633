"""Options of JSON that a command line gives a member at a time: `--option.a.b value`. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from launcher.engines.options import Given
from launcher.engines.values import scaled


def whole(givens: Sequence[Given]) -> Iterator[Given]:
    """The same with the members of an option as one JSON text, where the last of them stands.

    They count more than JSON that is given as a whole, wherever that stands.
    """
    told: dict[str, dict[str, Any]] = {}
    for given in givens:
        if given.member:
            _set(told.setdefault(given.name, {}), given.member, given.values)
    last = {given.name: given for given in givens if given.member}
    for given in givens:
        if last.get(given.name) is given:
            yield replace(given, values=(json.dumps(told[given.name]),), member="")
        elif given.name not in told:
            yield given


def _set(told: dict[str, Any], member: str, values: Sequence[str]) -> None:
    *path, name = member.removesuffix("+").split(".")
    for part in path:
        inner = told.get(part)
        told[part] = told = inner if isinstance(inner, dict) else {}
    text = values[0] if values else ""
    told[name] = [_read(one) for one in text.split(",")] if member.endswith("+") else _read(text)


def _read(text: str) -> Any:
    """JSON, else a number with a suffix, else text."""
    for read in (json.loads, scaled):
        try:
            return read(text)
        except (ValueError, RecursionError):
            pass
    return text
