"""A host as JSON, and back: what `glm5-serve facts` prints and `--facts FILE` reads.

A known fact is its value, an unknown one `{"unknown": "why"}`. Whatever a file holds, reading it
gives a host: a value of another type than wanted is an unknown fact that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from launcher.errors import UserError, in_words
from launcher.files.reading import parsed
from launcher.host.facts import Fact, Host, unknown
from launcher.redact.secrets import hide_data

SCHEMA = 1


def to_json(host: Host) -> dict[str, Any]:
    """The host as JSON data."""
    return {"schema": SCHEMA, **plain(host)}


def plain(value: Any) -> Any:
    """A fact, or anything made of facts, as JSON data."""
    if isinstance(value, Fact):
        return plain(value.value) if value.known else {"unknown": value.unknown}
    if is_dataclass(value):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return value


def loads(text: str, place: str) -> Host:
    """The host of a facts file, without secrets, whoever wrote it. Raises UserError when it is no
    such file at all.
    """
    fix = "give it what `glm5-serve facts` printed"
    try:
        data = parsed(text)
    except ValueError as error:
        raise UserError(f"{place} is not JSON: {error}", fix=fix) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        schema = data.get("schema") if isinstance(data, dict) else None
        raise UserError(f"{place} has schema {schema!r}, wanted {SCHEMA}", fix=fix)
    try:
        return from_json(hide_data(data))
    except ValueError as error:
        what = f"{place} is not what `glm5-serve facts` prints: {error}"
        raise UserError(what, fix=fix) from None


def from_json(data: Mapping[str, Any]) -> Host:
    """The host that `to_json` gave; what does not fit is unknown."""
    return record(Host, data)  # type: ignore[no-any-return]


def record(kind: Any, data: Any) -> Any:
    """A dataclass of facts from JSON data.

    Raises ValueError where a part that is no fact does not fit.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{_short(data)} is no {kind.__name__}")
    made = {}
    for name, hint in _hints(kind).items():
        if name not in data:
            continue
        origin, inner, is_section = _form(hint)
        if is_section and not isinstance(data[name], Mapping):
            continue  # a section that is not one: all of it is unknown
        told = data[name]
        made[name] = _fact(inner[0], told) if origin is Fact else _value(hint, told)
    try:
        return kind(**made)
    except TypeError as error:
        raise ValueError(str(error)) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _form(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """What a type is made of: its origin, its arguments, and whether it is a dataclass."""
    return get_origin(hint), get_args(hint), is_dataclass(hint)


def _fact(hint: Any, data: Any) -> Fact[Any]:
    match data:
        case {"unknown": str(why), **rest} if not rest:
            return unknown(why)
    try:
        return Fact(_value(hint, data))
    except (ValueError, RecursionError) as error:
        return unknown(f"not readable: {in_words(error)}")


def _value(hint: Any, data: Any) -> Any:
    origin, inner, is_section = _form(hint)
    if origin in (Union, UnionType):
        wanted = next(kind for kind in inner if kind is not type(None))
        return None if data is None else _value(wanted, data)
    if origin is tuple and isinstance(data, list | tuple):
        return tuple(_value(inner[0], part) for part in data)
    if origin is dict and isinstance(data, Mapping):
        return {str(name): _value(inner[1], part) for name, part in data.items()}
    if is_section:
        return record(hint, data)
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool):
        return _finite(data)
    if type(data) is hint:
        return data
    raise ValueError(f"{_short(data)} is no {getattr(hint, '__name__', hint)}")


def _finite(number: float) -> float:
    try:
        as_float = float(number)
    except OverflowError:
        as_float = float("inf")
    if as_float - as_float != 0:  # inf and nan, which JSON's grammar has not
        raise ValueError(f"{_short(number)} is no finite number")
    return as_float


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 40 else f"{text[:37]}..."
