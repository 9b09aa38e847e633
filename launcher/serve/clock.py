"""The time that the launcher was there to see: what it was kept from running does not count.

A paused virtual machine, a frozen container, a launcher that somebody stopped or a host without a
free processor stops the launcher with its server, or before it. A deadline that passes meanwhile
says nothing of the server.
"""

from __future__ import annotations

import time

LATE = 0.5  # seconds that any wake-up may be late on a busy host


class Clock:
    """Monotonic seconds, less those that were lost."""

    def __init__(self) -> None:
        self.lost = 0.0

    def now(self) -> float:
        """Seconds on this clock. It never goes back for the thread that takes the losses."""
        return time.monotonic() - self.lost

    def slept(self, wanted: float, took: float) -> float:
        """Count what a wait of `wanted` seconds took longer; the seconds that are lost by it, 0 for
        a few.
        """
        late = took - wanted
        if late <= LATE:
            return 0.0
        self.lost += late
        return late
