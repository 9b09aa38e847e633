"""What is within the JSON of an option, where the engine refuses parts that it does not know, and
values that these do not take. Pure.

What a part takes is text: `bool|null`, `int>=1`, `'a'|~'B'|0`, any of these. A number may have
bounds, `~'B'` is a name in any case, `object` has parts of its own, and "" is a part of which
nobody knows what it takes. Types are as pydantic reads them: `"3"` is a whole number to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from launcher.engines.slips import near

Path = tuple[str, ...]
BOUND = re.compile(r"([<>]=?)(-?[\d.]+)")
ON_OFF = frozenset("0 off f false n no 1 on t true y yes".split())
MOST_NAMES = 8  # that are listed of what a part may be
WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list, [...]",
    "dict": "an object, {...}",
    "object": "an object, {...}",
    "null": "null",
}


def wrong_part(
    name: str, parts: Mapping[str, str], text: str, *, dashes: bool = False
) -> str | None:
    """Why an option with these parts, `a` and `a.b`, refuses a JSON text; None where it takes it,
    or nothing is known of its parts.

    What is in a part of which no parts are known is left alone; with `dashes` a dash in the name of
    one is an underscore.
    """
    told = _object(text) if parts else None
    if told is None:
        return None
    if dashes:
        told = {key.replace("-", "_"): value for key, value in told.items()}
    return next((why for found in _walked(told) if (why := _wrong(name, parts, *found))), None)


def unjudged(parts: Mapping[str, str], text: str) -> tuple[str, ...]:
    """What of a JSON text nobody here judges: parts of which nobody knows what they take, and
    those that hold more than is known of; ("",) for the whole.
    """
    told = _object(text)
    if told is None:
        return ()
    if not parts:
        return ("",) if told else ()
    found: dict[str, None] = {}
    for path, value in _walked(told):
        known = next((at for at in _upward(path) if at in parts), None)
        has_parts = any(one.startswith(f"{known}.") for one in parts)
        holds = known != ".".join(path) or (isinstance(value, dict | list) and bool(value))
        if known and not has_parts and (holds or (not parts[known] and value is not None)):
            found[known] = None
    return tuple(found)


def _upward(path: Path) -> Iterator[str]:
    """A part, and those that it is within, from the inside out."""
    return (".".join(path[:end]) for end in range(len(path), 0, -1))


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _walked(told: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """The way to each part, and its value; a name may be one in itself (`a.b+`)."""
    waiting: list[tuple[Path, Any]] = [((), told)]
    while waiting:
        above, value = waiting.pop(0)
        if above:
            yield above, value
        if isinstance(value, dict):
            inner = (((*above, *_way(str(key))), one) for key, one in value.items())
            waiting[:0] = inner


def _way(key: str) -> Path:
    return tuple(key.removesuffix("+").split("."))


def _wrong(name: str, parts: Mapping[str, str], path: Path, value: Any) -> str | None:
    for end in range(1, len(path) + 1):
        above, part = "".join(f"{one}." for one in path[: end - 1]), path[end - 1]
        there = [one.removeprefix(above) for one in parts if one.startswith(above)]
        if not there:
            return None
        if part not in there:
            meant = near(part, [one for one in there if "." not in one])
            said = f"; did you mean {above}{meant}?" if meant else ""
            return f"{name} has no {above}{part}{said}"
    at = ".".join(path)
    takes = parts[at]
    if not takes or any(_has(one, value) for one in takes.split("|")):
        return None
    return f"{name}: {at} wants {_wanted(takes)}, not {json.dumps(value)}{_meant(takes, value)}"


def _has(takes: str, value: Any) -> bool:
    """Whether a value is one of the kind; what pydantic makes of another is, too."""
    kind = re.match(r"[a-z]+", takes)
    if kind and kind[0] in KINDS:
        return KINDS[kind[0]](value) and _is_within(takes, value)
    name = takes.strip("~'")
    if takes.startswith("~"):
        return isinstance(value, str) and _folded(value) == _folded(name)
    if takes.startswith("'"):
        return bool(value == name)
    return isinstance(value, int | float) and value == int(name)


def _folded(text: str) -> str:
    return text.lower().replace("-", "_")


def _is_within(takes: str, value: Any) -> bool:
    number = _number(value)
    compare: Mapping[str, Callable[[float, float], bool]] = {
        ">=": float.__ge__,
        ">": float.__gt__,
        "<=": float.__le__,
        "<": float.__lt__,
    }
    bounds = [(sign, float(bound)) for sign, bound in BOUND.findall(takes)]
    return number is None or all(compare[sign](number, bound) for sign, bound in bounds)


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _is_bool(value: Any) -> bool:
    if isinstance(value, str):
        return value.lower() in ON_OFF
    return isinstance(value, bool | int | float) and value in (0, 1)


def _is_whole(value: Any) -> bool:
    number = _number(value)
    return number is not None and number.is_integer()


KINDS: Mapping[str, Callable[[Any], bool]] = {
    "bool": _is_bool,
    "int": _is_whole,
    "float": lambda value: _number(value) is not None,
    "str": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "dict": lambda value: isinstance(value, dict),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _wanted(takes: str) -> str:
    """What a part takes, in words; null, for what may be left out, last and only if alone."""
    told = [one for one in takes.split("|") if one != "null"] or ["null"]
    kinds = [_in_words(one) for one in told if one.partition(">")[0].partition("<")[0] in WORDS]
    names = [one.strip("~'") for one in told if one[:1] in "~'"] or [
        one for one in told if one.lstrip("-").isdecimal()
    ]
    left = len(names) - MOST_NAMES
    listed = ", ".join(names[:MOST_NAMES]) + (f" and {left} more" if left > 0 else "")
    return " or ".join([*kinds, *([f"one of {listed}"] if names else [])])


def _in_words(takes: str) -> str:
    kind = re.match(r"[a-z]+", takes)
    bounds = " and ".join(f"{sign} {bound}" for sign, bound in BOUND.findall(takes))
    return f"{WORDS[kind[0] if kind else takes]}{f' {bounds}' if bounds else ''}"


def _meant(takes: str, value: Any) -> str:
    names = [one.strip("~'") for one in takes.split("|") if one[:1] in "~'"]
    meant = near(value, names) if isinstance(value, str) else None
    return f"; did you mean {meant}?" if meant else ""
