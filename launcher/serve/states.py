"""The states of a served model, as values; `lifecycle.py` has the transitions between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from launcher.serve.canary import Canary


class Next(Enum):
    """What follows when the last process is gone."""

    END = "end"
    RESTART = "restart"
    RETRY = "retry"
    FAIL = "fail"


@dataclass(frozen=True)
class Past:
    """What earlier runs of the server leave behind."""

    run: int = 0  # how many times the server was launched here; numbers the present run
    before: int = 0  # of them, by launchers that are no more
    deaths: tuple[float, ...] = ()  # when it died, within the policy's window
    consecutive_failures: int = 0  # deaths since it was last ready, however long ago
    served: bool = False  # whether any run was ever ready
    # how often in a row this host kept us from launching it, or another node from being ready
    unlaunched: int = 0

    @property
    def restarts(self) -> int:
        """Launches of the present launcher after its first, whoever wanted them."""
        return max(0, self.run - self.before - 1)


@dataclass(frozen=True)
class Ended:
    """Nothing runs and nothing will."""

    name: ClassVar[str] = "stopped"
    past: Past
    reason: str
    failed: bool = False


@dataclass(frozen=True)
class Idle:
    """Nothing was launched yet."""

    name: ClassVar[str] = "idle"
    past: Past = field(default_factory=Past)
    reason: str = ""


@dataclass(frozen=True)
class Starting:
    """The server was launched and has not generated a token yet."""

    name: ClassVar[str] = "starting"
    past: Past
    reason: str
    since: float
    phase: str = "process"
    last_progress: float = 0.0  # when it last gave a sign of life
    asking: bool = False
    ask_at: float = 0.0
    hinted: bool = False


@dataclass(frozen=True)
class Proving:
    """The server has generated a token; whether it is right is being asked."""

    name: ClassVar[str] = "starting"
    past: Past
    reason: str
    since: float
    detail: str  # of the first token


@dataclass(frozen=True)
class Ready:
    """The server has generated a token, and answers rightly."""

    name: ClassVar[str] = "ready"
    past: Past
    reason: str
    ask_at: float
    last_progress: float  # when it last gave a sign of work
    asking: bool = False  # since `ask_at`
    late: bool = False  # no answer came for SLOW seconds
    failures: int = 0
    canary: Canary | None = None  # None: it is not asked whether it still is right


@dataclass(frozen=True)
class Stopping:
    """The server was asked, or made, to go; the last process is not gone yet.

    `recording`: it will be killed as soon as its stacks are kept. `again`: it is started again
    whatever its log says: it served, or did not die by itself. `cause` names why it is made to go,
    where its log knows no better.
    """

    name: ClassVar[str] = "stopping"
    past: Past
    reason: str
    since: float
    then: Next
    killed: bool = False
    recording: bool = False
    again: bool = False
    cause: str = ""
    told_at: float | None = None  # when it will be asked to go; None: it was


@dataclass(frozen=True)
class Backoff:
    """The server died; the next launch waits."""

    name: ClassVar[str] = "backoff"
    past: Past
    reason: str
    until: float


Running = Starting | Proving | Ready
State = Idle | Starting | Proving | Ready | Stopping | Backoff | Ended
