"""What can happen to a served model, and what can be done about it: the words of `lifecycle.step`."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum


class Wish(Enum):
    """What the operator asks for while a model is up."""

    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"


# What `down --now` sends: no terminal, no log rotation and no service manager sends it by itself.
NOW = signal.SIGRTMIN
# How a wish reaches the launcher. One that comes twice is the same wish: only NOW kills.
WISHES = {
    signal.SIGTERM: Wish.STOP,
    signal.SIGINT: Wish.STOP,
    signal.SIGHUP: Wish.STOP,  # the terminal was closed
    signal.SIGQUIT: Wish.STOP,
    signal.SIGUSR1: Wish.RESTART,
    NOW: Wish.KILL,
}


@dataclass(frozen=True)
class Begun:
    """`up` begins."""

    now: float


class Fate(Enum):
    """What a death says about the next start (`then` in signatures.toml)."""

    AGAIN = "again"
    NEVER = "never"
    REBOOT = "reboot"


@dataclass(frozen=True)
class Gone:
    """The last process of the run is gone, and its GPU memory is back.

    `status` is waitpid's (signals negative), `how` the same in words, `said` the error in the server's own log,
    `fate` what the diagnosis of that log makes of another start.
    """

    now: float
    status: int | None
    how: str
    said: str | None = None
    fate: Fate = Fate.AGAIN

    @property
    def is_a_no(self) -> bool:
        """Whether the server ended itself, by an exit status or with an error in its log."""
        return bool(self.said) or (self.status or 0) > 0


@dataclass(frozen=True)
class Unlaunched:
    """The host kept the launcher from starting the server: a full disk, no memory, no descriptor.

    It says nothing of the server, and is no death of it.
    """

    now: float
    why: str


@dataclass(frozen=True)
class Lost:
    """One of the server's processes that must live is dead; the others are not yet."""

    now: float
    run: int
    who: str


@dataclass(frozen=True)
class Drained:
    """A server that was asked to go has no request left, and nobody is connected to it."""

    now: float
    run: int


@dataclass(frozen=True)
class Stirred:
    """A sign that the run works: it logged, read, compiled or generated something.

    `phase` is the start's. The sign may stand for work until `until` (a long prefill was begun).
    """

    now: float
    run: int
    phase: str
    until: float = 0.0


@dataclass(frozen=True)
class Recorded:
    """What there is to know of a server that does not move was kept; `finding` says it in words."""

    now: float
    run: int
    finding: str


@dataclass(frozen=True)
class Examined:
    """The run answered the questions of the smoke test rightly, or not; or stayed `silent`."""

    now: float
    run: int
    ok: bool
    detail: str
    silent: bool = False


@dataclass(frozen=True)
class Struck:
    """A GPU, or the host, reports a fault that no restart mends."""

    now: float
    what: str


@dataclass(frozen=True)
class Doomed:
    """The server's log says that this start is over, although its processes go on."""

    now: float
    run: int
    what: str


@dataclass(frozen=True)
class Hinted:
    """The server's own log says that it is ready: worth asking at once."""

    now: float


@dataclass(frozen=True)
class Probed:
    """A question to run `run` of the server was answered, or not.

    `excuse` says why no answer is no fault: somebody debugs it, or paused it. One that was not `asked`, for want
    of a descriptor, a port or a thread here, says nothing of the server. It `took` so many seconds.
    """

    now: float
    run: int
    ok: bool
    detail: str = ""
    excuse: str = ""
    asked: bool = True
    took: float = 0.0


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


Event = (
    Begun
    | Gone
    | Hinted
    | Probed
    | Asked
    | Ticked
    | Unlaunched
    | Lost
    | Drained
    | Stirred
    | Recorded
    | Examined
    | Struck
    | Doomed
)


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


@dataclass(frozen=True)
class Record:
    """Keep the stacks of run `run` and what its processes do, before it is killed."""

    run: int


@dataclass(frozen=True)
class Examine:
    """Ask run `run` the questions of the smoke test."""

    run: int


Action = Launch | Terminate | Kill | Probe | Record | Examine
