"""What can happen to a served model, and what can be done about it: the words of `lifecycle.step`."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum


class Wish(Enum):
    """What the operator asks for while a model is up."""

    STOP = "stop"
    RESTART = "restart"


# How a wish reaches the launcher.
WISHES = {
    signal.SIGTERM: Wish.STOP,
    signal.SIGINT: Wish.STOP,
    signal.SIGHUP: Wish.STOP,  # the terminal was closed
    signal.SIGUSR1: Wish.RESTART,
}


@dataclass(frozen=True)
class Begun:
    """`up` begins."""

    now: float


@dataclass(frozen=True)
class Gone:
    """The last process of the run is gone.

    `status` is waitpid's (signals negative), `how` the same in words, `said` the error in the server's own log.
    """

    now: float
    status: int | None
    how: str
    said: str | None = None

    @property
    def is_a_no(self) -> bool:
        """Whether the server ended itself, by an exit status or with an error in its log."""
        return bool(self.said) or (self.status or 0) > 0


@dataclass(frozen=True)
class Hinted:
    """The server's own log says that it is ready: worth asking at once."""

    now: float


@dataclass(frozen=True)
class Probed:
    """A question to run `run` of the server was answered, or not."""

    now: float
    run: int
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Asked:
    """The operator wants something."""

    now: float
    wish: Wish
    by: str


@dataclass(frozen=True)
class Ticked:
    """Time passed."""

    now: float


Event = Begun | Gone | Hinted | Probed | Asked | Ticked


@dataclass(frozen=True)
class Launch:
    """Start the server; `fresh` reads the plan again first."""

    run: int
    fresh: bool = False


@dataclass(frozen=True)
class Terminate:
    """SIGTERM to the server's first process alone: SGLang drains on it."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL to every process of the session."""


@dataclass(frozen=True)
class Probe:
    """Ask run `run` of the server for its first token (`first`), or whether it is still alive."""

    run: int
    first: bool


Action = Launch | Terminate | Kill | Probe
