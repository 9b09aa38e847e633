"""What can happen to a served model, and what can be done about it: the words of
`lifecycle.step`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from launcher.serve.canary import Look, Question
from launcher.serve.wishes import Request


@dataclass(frozen=True)
class Started:
    """`up` begins."""

    now: float


class RestartAdvice(Enum):
    """What a death says about the next start (`then` in failures.toml)."""

    AGAIN = "again"
    TOGETHER = "together"  # another node is why: it is no death of this one
    NEVER = "never"
    REBOOT = "reboot"


@dataclass(frozen=True)
class Exited:
    """The last process of the run is gone, and its GPU memory is back.

    `status` is waitpid's (signals negative), `how` the same in words, `said` the error in the
    server's own log, `fate` what the diagnosis of that log makes of another start.
    """

    now: float
    status: int | None
    how: str
    said: str | None = None
    advice: RestartAdvice = RestartAdvice.AGAIN

    @property
    def is_a_no(self) -> bool:
        """Whether the server ended itself, by an exit status or with an error in its log."""
        return bool(self.said) or (self.status or 0) > 0


@dataclass(frozen=True)
class LaunchFailed:
    """The host kept the launcher from starting the server: a full disk, no memory, no descriptor.

    It says nothing of the server, and is no death of it.
    """

    now: float
    why: str


@dataclass(frozen=True)
class RankDied:
    """One of the server's processes that must live is dead; the others are not yet."""

    now: float
    run: int
    who: str


@dataclass(frozen=True)
class NodeLost:
    """Another node of the group is not reached any more."""

    now: float
    run: int
    who: str


@dataclass(frozen=True)
class Drained:
    """A server that was asked to go has no request left, and nobody is connected to it."""

    now: float
    run: int


@dataclass(frozen=True)
class Left:
    """The gateway sends a server that shall go nothing more, and it has no request left."""

    now: float
    run: int


@dataclass(frozen=True)
class Progressed:
    """A sign that the run works: it logged, read, compiled or generated something.

    `phase` is the start's. The sign may stand for work until `until` (a long prefill was begun).
    """

    now: float
    run: int
    phase: str
    until: float = 0.0


@dataclass(frozen=True)
class StacksSaved:
    """What there is to know of a server that does not move was kept; `finding` says it in words."""

    now: float
    run: int
    finding: str


@dataclass(frozen=True)
class SmokeResult:
    """The run answered the questions of the smoke test rightly, or not; or stayed `silent`."""

    now: float
    run: int
    ok: bool
    detail: str
    silent: bool = False


@dataclass(frozen=True)
class CanaryHeard:
    """What came of a question that run `run` was asked while it serves."""

    now: float
    run: int
    question: Question
    look: Look


@dataclass(frozen=True)
class GpuFaulted:
    """A GPU, or the host, reports a fault that no restart fixes."""

    now: float
    what: str


@dataclass(frozen=True)
class StartFailed:
    """The server's log says that this start is over, although its processes go on."""

    now: float
    run: int
    what: str


@dataclass(frozen=True)
class ReadyHinted:
    """The server's own log says that it is ready: worth asking at once."""

    now: float


@dataclass(frozen=True)
class ProbeResult:
    """A question to run `run` of the server was answered, or not.

    `excuse` says why no answer is no fault: somebody debugs it, or paused it. One that was not
    `asked`, for want of a descriptor, a port or a thread here, says nothing of the server. It
    `took` so many seconds. For `starved` seconds since the question before it, the server stood
    in line for a processor: they count for no silence.
    """

    now: float
    run: int
    ok: bool
    detail: str = ""
    excuse: str = ""
    asked: bool = True
    took: float = 0.0
    starved: float = 0.0


@dataclass(frozen=True)
class RequestReceived:
    """The operator wants something."""

    now: float
    request: Request
    by: str


@dataclass(frozen=True)
class Ticked:
    """Time passed."""

    now: float


# What says of which run it is: one that comes late says nothing of the next.
OfRun = (
    ProbeResult
    | RankDied
    | NodeLost
    | Drained
    | Left
    | Progressed
    | StacksSaved
    | SmokeResult
    | CanaryHeard
    | StartFailed
)
Event = (
    Started | Exited | ReadyHinted | RequestReceived | Ticked | LaunchFailed | GpuFaulted | OfRun
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
class Leave:
    """Wait until the gateway sends run `run` nothing more, and it is idle."""

    run: int


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


@dataclass(frozen=True)
class AskCanary:
    """Ask run `run` one question, to see whether it still answers rightly."""

    run: int
    question: Question


Action = Launch | Terminate | Leave | Kill | Probe | Record | Examine | AskCanary
