"""The time of day, as the files of an instance say it."""

from __future__ import annotations

import time
from calendar import timegm


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
