"""Times, sizes and yes or no as systemd, compose and Docker write them (systemd.time(7),
systemd.syntax(7)).
"""

from __future__ import annotations

import math
import re

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
_UNITS = {
    **dict.fromkeys(("usec", "us", "\u03bcs", "\u00b5s"), 1e-6),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("seconds", "second", "sec", "s", ""), 1.0),
    **dict.fromkeys(("minutes", "minute", "min", "m"), MINUTE),
    **dict.fromkeys(("hours", "hour", "hr", "h"), HOUR),
    **dict.fromkeys(("days", "day", "d"), DAY),
    **dict.fromkeys(("weeks", "week", "w"), 7 * DAY),
    **dict.fromkeys(("months", "month", "M"), 30.44 * DAY),
    **dict.fromkeys(("years", "year", "y"), 365.25 * DAY),
}
_PART = re.compile(r"[ \t]*(\d{1,9}(?:\.\d{1,6})?)[ \t]*([a-zA-Z\u03bc\u00b5]{0,7})")
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)[ \t]*([kmgtpe]?)(i?b)?", re.IGNORECASE)
_POWERS = ("", "k", "m", "g", "t", "p", "e")
_YES = frozenset(("1", "yes", "y", "true", "t", "on"))
_NO = frozenset(("0", "no", "n", "false", "f", "off"))


def seconds(text: str) -> float | None:
    """Of `90`, `1m30s` or `5min 20s`; without an end for `infinity`, None for what is no time."""
    text = text.strip()
    if text == "infinity":
        return math.inf
    at, made = 0, 0.0
    while at < len(text):
        part = _PART.match(text, at)
        if not part or part[2] not in _UNITS:
            return None
        at, made = part.end(), made + float(part[1]) * _UNITS[part[2]]
    return made if text else None


def size(text: str) -> float | None:
    """Bytes of `64G`, `64gb`, `64GiB` or `1024`; without an end for `infinity` and `-1`, None for
    what is none, a share of the host's (`80%`) too.
    """
    text = text.strip()
    if text.lower() in ("infinity", "unlimited", "-1"):
        return math.inf
    found = _SIZE.fullmatch(text)
    return float(found[1]) * 1024.0 ** _POWERS.index(found[2].lower()) if found else None


def boolean(text: str) -> bool | None:
    """Of any of systemd's spellings; None for another word."""
    word = text.strip().lower()
    return True if word in _YES else False if word in _NO else None


def numbers(text: str) -> int | None:
    """How many processors `0-7,16 18` is; None for what is no such list."""
    made: set[int] = set()
    for part in re.split(r"[,\s]+", text.strip()):
        found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if not found:
            return None
        made |= {*range(int(found[1]), int(found[2] or found[1]) + 1)}
    return len(made)
