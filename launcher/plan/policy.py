"""How patient the launcher is with a server: part of a profile, of a plan, and of the state
machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# Seconds between two looks of a follower at the node that leads, and that it may take to end.
FOLLOWER_LOOKS, FOLLOWER_STOPS = 2.0, 5.0
# Seconds that an answer to a health check may take: the stall timeout, within these. A server under
# load may take its time, and SGLang gives up on its own /health after 20.
LEAST_ANSWER, MOST_ANSWER = 10.0, 25.0
LOOKED_FOR = 1.0  # seconds that the processes of one that failed it are looked at for a compiler
AFTER_MISS = 1.0  # seconds from a health check that failed to the next one, at most


@dataclass(frozen=True)
class StallTimeouts:
    """How long each phase of a start may go without a sign of life, in seconds."""

    process: float = 180.0  # imports and NVML: a cold disk reads, and that is a sign
    distributed: float = 90.0  # NCCL agrees within seconds, or never
    weights: float = 180.0
    kv: float = 120.0
    compile: float = 900.0  # autotuning says nothing for minutes
    graphs: float = 900.0  # kernels that were not compiled before are compiled here
    warmup: float = 900.0  # so does the first batch, when it compiles inside one process


# What the canary may ask: a question of the smoke test; for lines out of a longer text; for a call
# of a tool; a question of the smoke test with reasoning.
CANARIES = ("fact", "context", "tools", "reasoning")


# Seconds between two questions, at least: two wrong answers shall be no blink, and what is asked no
# load of its own.
LEAST_EVERY = 1.0


@dataclass(frozen=True)
class CanaryPolicy:
    """What a server is asked while it serves: one question every so many seconds, 0 for none."""

    every: float = 0.0
    act: str = "tell"  # or "restart", which counts as a death
    within: float = 120.0  # seconds for an answer
    asks: tuple[str, ...] = ()  # of CANARIES: what its model and its parsers allow


@dataclass(frozen=True)
class Policy:
    """How patient to be; all times in seconds.

    A phase of the start is hung when nothing moved for its stall timeout: no line, no byte read or
    written, no compiler at work. A serving server is hung when its health check failed
    `failure_threshold` times in a row *and* there was no sign of work for `stall_timeout`. Of
    several nodes one is lost when it was not reached for `follower_timeout`.
    """

    start_timeout: float = 3600.0
    stop_timeout: float = 60.0
    drain_delay: float = 0.0  # that `/ready` says 503 before the server is told to stop
    leave_within: float = 0.0  # that its gateway may take to send it nothing more; 0: it has none
    probe_interval: float = 10.0
    failure_threshold: int = 2
    stall_timeout: float = 30.0
    follower_timeout: float = 20.0
    restart_limit: int = 5
    restart_window: float = 3600.0
    backoff: float = 2.0
    backoff_max: float = 120.0
    stall_timeouts: StallTimeouts = StallTimeouts()
    smoke: bool = True
    canary: CanaryPolicy = CanaryPolicy()
    read_ahead: bool = True  # have the checkpoint read while the server imports

    def as_follower(self) -> Policy:
        """The patience with a node that follows another one: it is as ready, and as much alive, as
        that one is. Told to end, SGLang's goes on until the first node ends it.
        """
        return replace(
            self,
            smoke=False,
            canary=CanaryPolicy(),
            drain_delay=0.0,
            stop_timeout=min(self.stop_timeout, FOLLOWER_STOPS),
            probe_interval=min(self.probe_interval, FOLLOWER_LOOKS),
            stall_timeout=self.follower_timeout,
        )

    def backoff_before(self, death: int) -> float:
        """Seconds to wait after the `death`-th death in the window: none, then doubling up to
        `backoff_max`.

        The first one is most often an accident, and clients wait.
        """
        if death <= 1:
            return 0.0
        return float(min(self.backoff * 2.0 ** min(death - 2, 32), self.backoff_max))

    @property
    def answer_within(self) -> float:
        """Seconds that an answer to a health check may take."""
        return min(MOST_ANSWER, max(LEAST_ANSWER, self.stall_timeout))

    @property
    def hang_within(self) -> float:
        """Seconds at most until a server that serves, and then does nothing more, is seen to hang:
        so many checks have failed, and it was silent for its stall timeout by the last one.
        """
        pause = min(self.probe_interval, AFTER_MISS)
        each = self.answer_within + LOOKED_FOR + pause
        seen = self.probe_interval + self.failure_threshold * each - pause
        return seen + max(0, math.ceil((self.stall_timeout - seen) / each)) * each

    def stall_timeout_of(self, phase: str) -> float:
        """How long a phase of the start may go without a sign of life."""
        return float(getattr(self.stall_timeouts, phase, self.stall_timeouts.warmup))
