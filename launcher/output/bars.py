"""Bars and lines of a screen as values: parts with a style, that rich draws or a test compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Part = tuple[str, str]  # a text and its style
Line = tuple[Part, ...]


@dataclass(frozen=True)
class Signs:
    """What bars are drawn with."""

    full: str
    empty: str


BLOCKS, ASCII = Signs("█", "░"), Signs("#", ".")


def signs_for(encoding: str) -> Signs:
    """Those that a terminal of this encoding can show."""
    try:
        "█░".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def bar(share: float | None, width: int, signs: Signs) -> str:
    """So much of `width` columns; empty columns where it is unknown."""
    if share is None:
        return " " * width
    full = min(width, max(0, round(share * width)))
    return signs.full * full + signs.empty * (width - full)


def size(line: Iterable[Part]) -> int:
    """Its columns."""
    return sum(len(text) for text, _ in line)


def flow(items: Iterable[Line], width: int, indent: str = "  ") -> list[Line]:
    """Items beside each other, as many on a line as it holds, three blanks apart."""
    lines: list[Line] = []
    now: Line = ()
    for item in items:
        if now and size(now) + 3 + size(item) > width:
            lines, now = [*lines, now], ()
        now = (*now, ("   ", ""), *item) if now else ((indent, ""), *item)
    return [*lines, now] if now else lines


def duration(seconds: float) -> str:
    """As people say it: 4 s, 12 min, 3 h, 2 d."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(max(seconds, 0))} s"


def binary(count: float) -> str:
    """Bytes with their unit."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count / 1024:.0f} KiB"
