"""The time of day, as the files of an instance say it."""

from __future__ import annotations

import time
from calendar import timegm

from launcher import printable


def now_text() -> str:
    """The time of day as the files say it: UTC, ISO 8601, milliseconds."""
    seconds, fraction = divmod(time.time(), 1)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(fraction * 1000):03d}Z"
    )


def seconds_since(since: str | None, now: float) -> float | None:
    """Seconds from a time of day as the files say it to `now` (since 1970); None for what is no
    such time. Clocks are set: less than none is none.
    """
    try:
        return max(0.0, now - timegm(time.strptime((since or "")[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None


def local(time_: str) -> str:
    """A time as files have it, in UTC, for people: date and time of this host's zone; what is no
    time as it is.
    """
    try:
        seconds = timegm(time.strptime(time_[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return printable.line(f"{time_[:10]:<10} {time_[11:19]}")
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
