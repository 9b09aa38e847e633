"""state.json as a value: how an instance is, as its launcher wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from launcher.statedir.schema import (
    SCHEMA,
    by_name,
    each,
    if_any,
    if_number,
    number,
    optional,
    table,
    text,
    truth,
    versioned,
    whole,
)
from launcher.statedir.session import Session
from launcher.statedir.starts import Usual, Waited

BARE = ("schema", "profile", "state", "reason", "pids")  # parts where no launcher wrote any


@dataclass(frozen=True)
class LauncherRecord:
    """What a launcher writes of itself, for others to know it by.

    With its boot and its start a pid names a process for good.
    """

    pid: int
    start_ticks: int | None
    boot_id: str
    pid_namespace: str | None = None
    claim: str | None = None  # what stands in the lock that it holds
    version: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> LauncherRecord:
        """The record that `to_json` gave. Raises ValueError."""
        said = table(data)
        return cls(
            pid=whole(said.get("pid")),
            start_ticks=optional(whole, said.get("start_ticks")),
            boot_id=text(said.get("boot_id")),
            pid_namespace=optional(text, said.get("pid_namespace")),
            claim=optional(text, said.get("claim")),
            version=optional(text, said.get("version")),
        )


@dataclass(frozen=True)
class Pids:
    """The processes of an instance; without a launcher there are none to be told.

    `others` were counted by whoever looked; None: nobody did.
    """

    launcher: int | None = None
    server: int | None = None
    others: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        if self.launcher is None:
            return {}
        others = {} if self.others is None else {"others": list(self.others)}
        return {"launcher": self.launcher, "server": self.server, **others}

    @classmethod
    def from_json(cls, data: object) -> Pids:
        """Those that are numbers: each is a path below /proc. Raises ValueError for no table."""
        said = table(data)
        return cls(
            launcher=if_any(whole, said.get("launcher")),
            server=if_any(whole, said.get("server")),
            others=if_any(partial(each, whole), said.get("others")),
        )


@dataclass(frozen=True)
class Smoke:
    """How the last smoke test went."""

    ok: bool
    detail: str
    seconds: float
    time: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Smoke:
        """The test that `to_json` gave. Raises ValueError where it does not say how it went."""
        said = table(data)
        return cls(
            ok=truth(said.get("ok")),
            detail=if_any(text, said.get("detail")) or "",
            seconds=if_number(said.get("seconds")) or 0.0,
            time=if_any(text, said.get("time")) or "",
        )


@dataclass(frozen=True)
class Canary:
    """How a server answers while it serves: what came of its questions, and the signs of its pace.

    One question `every` so many seconds, 0 for none; whether it `has_questions` that this server
    can be asked. `degraded`: no longer as after its start, `since` when and for which `reason`.
    Seconds, tokens of a step that were accepted, tokens a second for one request; None for what is
    not known.
    """

    every: float
    has_questions: bool = True
    degraded: bool = False
    since: str | None = None
    reason: str = ""
    answers: Mapping[str, int] = field(default_factory=dict)  # right, wrong, unknown
    time: str | None = None  # of the last one
    last: str = ""
    seconds: float | None = None
    step_seconds: float | None = None
    accepted: float | None = None
    tokens_per_second: float | None = None

    @property
    def is_asked(self) -> bool:
        """Whether what it says of the server is kept up to date."""
        return self.degraded or bool(self.every and self.has_questions)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"answers": dict(self.answers)}

    @classmethod
    def from_json(cls, data: object) -> Canary:
        """What `to_json` gave. Raises ValueError where it does not say whether it is degraded;
        nothing that stands beside that keeps it from being told.
        """
        said = table(data)
        return cls(
            every=if_number(said.get("every")) or 0.0,
            has_questions=said.get("has_questions") is not False,
            degraded=truth(said.get("degraded")),
            since=if_any(text, said.get("since")),
            reason=if_any(text, said.get("reason")) or "",
            answers=if_any(partial(by_name, whole), said.get("answers")) or {},
            time=if_any(text, said.get("time")),
            last=if_any(text, said.get("last")) or "",
            seconds=if_number(said.get("seconds")),
            step_seconds=if_number(said.get("step_seconds")),
            accepted=if_number(said.get("accepted")),
            tokens_per_second=if_number(said.get("tokens_per_second")),
        )


@dataclass(frozen=True)
class Progress:
    """How far a phase is: so many done of so many, and the engine's estimate of the rest."""

    done: int
    total: int
    left: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Progress:
        """The progress that `to_json` gave. Raises ValueError."""
        said = table(data)
        return cls(whole(said.get("done")), whole(said.get("total")), text(said.get("left")))


@dataclass(frozen=True)
class StartRecord:
    """How far the last start came, how long each phase of it took, and what its processes did
    meanwhile; `usual`: what starts before it took; `gpus`: how many share the model, 0 on a CPU.
    """

    seconds: Mapping[str, float]
    phase: str | None = None
    progress: Progress | None = None
    waits: Mapping[str, Waited] = field(default_factory=dict)
    usual: Usual | None = None
    gpus: int = 0

    def spent(self, elapsed: float) -> float:
        """Seconds in the present phase, of a start that began so many seconds ago: a phase that
        says nothing writes nothing.
        """
        over = sum(took for phase, took in self.seconds.items() if phase != self.phase)
        return max(self.seconds.get(self.phase or "", 0.0), elapsed - over)

    def to_json(self) -> dict[str, Any]:
        return {
            "phase": self.phase,
            "progress": self.progress.to_json() if self.progress else None,
            "seconds": dict(self.seconds),
            "waits": {phase: waited.to_json() for phase, waited in self.waits.items()},
            "usual": self.usual.to_json() if self.usual else None,
            "gpus": self.gpus,
        }

    @classmethod
    def from_json(cls, data: object) -> StartRecord:
        """The start that `to_json` gave. Raises ValueError."""
        said = table(data)
        return cls(
            seconds=by_name(number, said.get("seconds")),
            phase=optional(text, said.get("phase")),
            progress=if_any(Progress.from_json, said.get("progress")),
            waits=by_name(Waited.from_json, said.get("waits", {})),
            usual=if_any(Usual.from_json, said.get("usual")),
            gpus=whole(said.get("gpus", 0)),
        )


# How each part is read that the rest can be understood without.
_READ: dict[str, Callable[[object], object]] = {
    "profile": text,
    "since": text,
    "reason": text,
    "endpoint": text,
    "model": text,
    "engine": text,
    "release": partial(optional, text),
    "run": whole,
    "restarts": whole,
    "last_error": partial(optional, text),
    "deaths": partial(by_name, whole),
    "smoke": partial(optional, Smoke.from_json),
    "canary": partial(optional, Canary.from_json),
    "session": partial(optional, Session.from_json),
    "start": StartRecord.from_json,
    "profile_path": text,
    "server_log": text,
    "launcher": LauncherRecord.from_json,
}
PARTS = (
    "schema",
    "profile",
    "state",
    "since",
    "reason",
    "endpoint",
    "model",
    "engine",
    "release",
    "run",
    "restarts",
    "last_error",
    "deaths",
    "smoke",
    "canary",
    "pids",
    "session",
    "start",
    "profile_path",
    "server_log",
    "launcher",
)


@dataclass(frozen=True)
class StateRecord:
    """How an instance is.

    `parts` are those that are told, in their order: a file may lack some, and where there is none
    only BARE ones are. `odd` are those that are not what they should be: they are left out.
    """

    profile: str = ""
    state: str = "unknown"
    since: str | None = None
    reason: str = ""
    endpoint: str | None = None
    model: str | None = None
    engine: str | None = None  # by its id
    release: str | None = None  # of it, that the plan was made for
    run: int | None = None
    restarts: int | None = None
    last_error: str | None = None
    deaths: Mapping[str, int] = field(default_factory=dict)
    smoke: Smoke | None = None
    canary: Canary | None = None
    pids: Pids = field(default_factory=Pids)
    session: Session | None = None
    start: StartRecord | None = None
    profile_path: str | None = None
    server_log: str | None = None
    launcher: LauncherRecord | None = None
    parts: tuple[str, ...] = PARTS
    odd: tuple[str, ...] = ()

    @property
    def is_up(self) -> bool:
        """Whether there is a launcher, be it one whose pid means nothing here."""
        return self.state not in ("stopped", "failed", "dead")

    def but(self, **parts: Any) -> StateRecord:
        """The same with other parts, which are told then."""
        told = tuple(dict.fromkeys((*self.parts, *parts)))
        return replace(self, parts=told, **parts)

    def to_json(self) -> dict[str, Any]:
        every = {"schema": SCHEMA, **{name: _plain(getattr(self, name)) for name in PARTS[1:]}}
        return {name: every[name] for name in self.parts}

    @classmethod
    def from_json(cls, data: object) -> StateRecord:
        """What a state file tells.

        Raises ValueError for one that tells no state or no pids, OtherSchemaError for another
        schema.
        """
        said = versioned(data)
        told: dict[str, Any] = {}
        told["state"], told["pids"] = text(said.get("state")), Pids.from_json(said.get("pids"))
        odd = []
        for name in said.keys() & _READ.keys():
            try:
                told[name] = _READ[name](said[name])
            except ValueError:
                odd.append(name)
        parts = tuple(name for name in said if name == "schema" or name in told)
        return cls(**told, parts=parts, odd=tuple(sorted(odd)))


def _plain(part: Any) -> Any:
    """A part as JSON has it."""
    if hasattr(part, "to_json"):
        return part.to_json()
    return dict(part) if isinstance(part, Mapping) else part
