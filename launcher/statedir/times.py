"""The time of day, as the files of an instance say it."""

from __future__ import annotations

import contextlib
import re
import time
from calendar import timegm

from launcher import printable

STAMP = "%Y-%m-%dT%H:%M:%S"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds


def now_text() -> str:
    """The time of day as the files say it: UTC, ISO 8601, milliseconds."""
    return told(time.time())


def _text(seconds: float, milliseconds: int = 0) -> str:
    return time.strftime(f"{STAMP}.{milliseconds:03d}Z", time.gmtime(seconds))


def told(seconds: float) -> str:
    """Seconds since 1970 as the files say a time."""
    whole, fraction = divmod(seconds, 1)
    return _text(whole, int(fraction * 1000))


def moment(said: str, now: float) -> str:
    """A time as the files say it, of what somebody says: `5m` before `now` (s, m, h, d), a time by
    this host's clock, `2026-11-27 12:00`, or one in UTC with a Z. Raises ValueError for what is
    none.
    """
    if ago := re.fullmatch(r"([0-9]{1,9}) ?([smhd])", said):
        return _text(max(0.0, now - int(ago[1]) * UNITS[ago[2]]))
    day, utc = re.subn(r"(\.[0-9]+)?Z$", "", said.strip().replace(" ", "T", 1))
    for form in (STAMP, "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        with contextlib.suppress(ValueError, OverflowError):
            told = time.strptime(day, form)
            return _text(timegm(told) if utc else time.mktime(told))
    raise ValueError("wanted 30s, 5m, 2h, 1d, or a time: '2026-11-27 12:00'")


def seconds_since(since: str | None, now: float) -> float | None:
    """Seconds from a time of day as the files say it to `now` (since 1970); None for what is no
    such time. Clocks are set: less than none is none.
    """
    try:
        return max(0.0, now - timegm(time.strptime((since or "")[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None


def is_time(time_: str) -> bool:
    """Whether it is a time as files have it."""
    return seconds_since(time_, 0.0) is not None


def local(time_: str) -> str:
    """A time as files have it, in UTC, for people: date and time of this host's zone. What is no
    time is told as that, in no more columns.
    """
    try:
        seconds = timegm(time.strptime(time_[:19], STAMP))
    except ValueError:
        return f"no time: {printable.line(time_[:10])}"[:19] if time_ else "no time"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
