"""How patient the launcher is with a server: part of a profile, of a plan, and of the state machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How patient to be; all times in seconds."""

    ready_within: float = 3600.0
    stop_within: float = 60.0
    probe_every: float = 10.0
    unhealthy_after: int = 5
    deaths: int = 5
    window: float = 3600.0
    pause: float = 2.0
    pause_max: float = 120.0

    def pause_before(self, death: int) -> float:
        """Seconds to wait after the `death`-th death in the window: doubling, up to `pause_max`."""
        return float(min(self.pause * 2.0 ** min(death - 1, 32), self.pause_max))
