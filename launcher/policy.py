"""How patient the launcher is with a server: part of a profile, of a plan, and of the state machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How patient to be; all times in seconds.

    A phase of the start is hung when nothing moved for its `quiet_` time: no line, no byte read or written, no
    compiler at work. A serving server is hung when its health check failed `unhealthy_after` times in a row *and*
    there was no sign of work for `silent_after`.
    """

    ready_within: float = 3600.0
    stop_within: float = 60.0
    probe_every: float = 10.0
    unhealthy_after: int = 2
    silent_after: float = 30.0
    deaths: int = 5
    window: float = 3600.0
    pause: float = 2.0
    pause_max: float = 120.0
    quiet_process: float = 180.0  # imports and NVML: a cold disk reads, and that is a sign
    quiet_distributed: float = 90.0  # NCCL agrees within seconds, or never
    quiet_weights: float = 180.0
    quiet_kv: float = 120.0
    quiet_graphs: float = 900.0  # autotuning says nothing for minutes
    quiet_warmup: float = 900.0  # so does the first batch, when it compiles inside one process
    smoke: bool = True

    def pause_before(self, death: int) -> float:
        """Seconds to wait after the `death`-th death in the window: none, then doubling up to `pause_max`.

        The first one is most often an accident, and clients wait.
        """
        if death <= 1:
            return 0.0
        return float(min(self.pause * 2.0 ** min(death - 2, 32), self.pause_max))

    def quiet(self, phase: str) -> float:
        """How long a phase of the start may go without a sign of life."""
        return float(getattr(self, f"quiet_{phase}", self.quiet_warmup))
