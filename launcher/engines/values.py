"""The values of options: how an engine reads them, and what it refuses. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from launcher import nesting
from launcher.engines.slips import near
from launcher.knowledge import forks

# The suffixes that a size may have, upper and lower case apart; those of 1024 take whole numbers.
SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SUFFIXES |= {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
SIZE = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(SUFFIXES)})", re.ASCII)

# The suffixes of vLLM: lower case counts in thousands, upper case in 1024 and takes whole numbers.
SCALES = {letter: 1000**power for power, letter in enumerate("kmgt", 1)}
SCALES |= {letter: 1024**power for power, letter in enumerate("KMGT", 1)}
BRACED = re.compile(r"\s*\{.*\}\s*", re.DOTALL)
SCALED = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")

MOST_CHOICES = 16  # that are listed, those with the value in them first


def _meant(value: str, choices: Sequence[str]) -> str:
    if fork := forks.of_choice(value):
        return f"{fork.name} have it"
    if meant := near(value, choices):
        return f"did you mean {meant}?"
    begun = [choice for choice in choices if value and choice.startswith(value)]
    # One alone may be another thing: nvfp4_online is not how an NVFP4 checkpoint is served.
    alike = sorted(choices, key=lambda choice: value not in choice)
    told = begun if len(begun) > 1 else alike[:MOST_CHOICES]
    left = len(alike) - len(told) if told != begun else 0
    return f"choices: {', '.join(told)}{f' and {left} more' if left else ''}"


def size(text: str) -> int:
    """A number as SGLang's `human_readable_int` reads it: `128k` is 128,000, `128Ki` 131,072.

    Raises ValueError for what is none.
    """
    found = SIZE.fullmatch(text.strip())
    if not found:
        return int(text)
    number, suffix = found.groups()
    if "." in number and suffix.endswith("i"):
        raise ValueError(f"{text!r} is no whole number of {suffix}")
    return int(Decimal(number) * SUFFIXES[suffix])


def scaled(text: str) -> int:
    """A number as vLLM's `human_readable_int` reads it: `128k` is 128,000, `128K` 131,072.

    Raises ValueError for what is none.
    """
    found = SCALED.fullmatch(text.strip())
    if not found:
        return int(text)
    number, suffix = found.groups()
    return (
        int(Decimal(number) * SCALES[suffix]) if suffix.islower() else int(number) * SCALES[suffix]
    )


def scaled_or_auto(text: str) -> int:
    """The same, or -1 for `auto`: as much as fits. Raises ValueError for what is neither."""
    return -1 if text.strip().lower() == "auto" else scaled(text)


def json_object(text: str) -> Mapping[str, object]:
    """JSON in braces. Raises ValueError for all else, other JSON too."""
    told: object = nesting.of_json(text)
    if not isinstance(told, dict):
        raise ValueError(f"{text!r} is no object")
    return told


def json_or_text(text: str) -> Any:
    """What stands in braces as JSON, all else as it is. Raises ValueError for bad JSON."""
    return nesting.of_json(text) if BRACED.fullmatch(text) else text


def folded(text: str) -> str:
    """A name without regard to case and dashes."""
    return text.lower().replace("-", "_")


def of_member(member: str, text: str) -> Any:
    """What vLLM makes of the value of one member of a JSON option (`--option.a.b+ value`): JSON,
    else a number with a suffix, else text; a list where the name ends with a plus.
    """
    if member.endswith("+"):
        return text.split(",")
    for read in (nesting.of_json, scaled):
        try:
            return read(text)
        except (ValueError, RecursionError):
            pass
    return text


FOLDED = ("name", "lower", "upper")  # types whose values are the same in any case
# How the values of a type are read, and what they are in words.
TYPES: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "size": (size, "a whole number, or one like 128k or 128Ki"),
    "json": (nesting.of_json, "JSON"),
    "object": (json_object, "JSON in braces, {...}"),
    "scaled": (scaled, "a whole number, or one like 128k (128,000) or 128K (131,072)"),
    "scaled_or_auto": (
        scaled_or_auto,
        "auto, a whole number, or one like 128k (128,000) or 128K (131,072)",
    ),
    "json_or_text": (json_or_text, "text, or JSON in braces"),
    "name": (folded, "a name"),
    "lower": (str.lower, "a name"),
    "upper": (str.upper, "a name"),
}


def misfit(name: str, type: str, choices: Sequence[str], value: str) -> str | None:
    """Why an option, which has these choices if any, does not take a value."""
    read, wanted = TYPES.get(type, (str, ""))
    try:
        known = read(value)
    except (ValueError, RecursionError):
        return f"{name} wants {wanted}, not {value}"
    if choices and str(known) not in choices:
        return f"{name} has no choice {value}; {_meant(str(known), choices)}"
    return None
