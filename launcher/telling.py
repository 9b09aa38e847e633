"""What is so, told: how it is to the state file, what happened to the events file, and both to the screen."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from launcher import __version__, health
from launcher.instance import SCHEMA, Instance, boot_id, now_text, start_ticks
from launcher.lifecycle import Ended, Ready, State
from launcher.plan import Plan
from launcher.startlog import Start

Show = Callable[[dict[str, Any]], None]
PROGRESS_EVERY = 1.0  # seconds between two words about the same phase


@dataclass(frozen=True)
class Picture:
    """How it is at one moment (`now`: monotonic seconds)."""

    plan: Plan
    state: State
    start: Start
    server: int | None
    last_error: str | None
    now: float

    @property
    def name(self) -> str:
        """The state's name; an end is `stopped`, or `failed` when nobody asked for it."""
        return "failed" if isinstance(self.state, Ended) and self.state.failed else self.state.name

    @property
    def url(self) -> str:
        return health.Server(self.plan.host, self.plan.port).url

    @property
    def progress(self) -> dict[str, Any] | None:
        return asdict(self.start.progress) if self.start.progress else None


class Teller:
    """Tells pictures. A folder that takes nothing is said once on the screen, and is no reason to stop serving."""

    def __init__(self, instance: Instance, show: Show) -> None:
        self.instance = instance
        self.show = show
        self._since = now_text()
        self._ready_seconds: dict[str, float] = {}
        self._progress_at = 0.0
        self._complaints: set[str] = set()

    def state(self, picture: Picture, *, moved: bool) -> None:
        """Tell a state: a new one (`moved`), or the same with another reason."""
        if moved:
            self._since = now_text()
        past = picture.state.past
        more: dict[str, Any] = {}
        if isinstance(picture.state, Ready):
            if moved:
                self._ready_seconds = picture.start.seconds(picture.now)
            more = {"seconds": self._ready_seconds, "url": picture.url, "moved": moved}
        if picture.name == "starting":
            more["log"] = str(self.instance.server_log)
        if picture.name == "failed":
            more["error"] = picture.last_error
        said = {"state": picture.name, "reason": picture.state.reason, "run": past.run, "restarts": past.restarts}
        self._tell(picture, "state", **said, **more)

    def phase(self, picture: Picture) -> None:
        """Tell that the start is in its next phase."""
        seconds = picture.start.seconds(picture.now)
        self._tell(picture, "phase", phase=picture.start.phase, seconds=seconds)

    def progress(self, picture: Picture) -> None:
        """Tell how far the phase is, now and then."""
        if picture.now - self._progress_at >= PROGRESS_EVERY:
            self._progress_at = picture.now
            self._tell(picture, "progress", phase=picture.start.phase, progress=picture.progress)

    def _tell(self, picture: Picture, kind: str, **fields: Any) -> None:
        event = {"schema": SCHEMA, "time": now_text(), "profile": picture.plan.name, "event": kind, **fields}
        try:
            self.instance.write(self.instance.state, self._record(picture))
            self.instance.tell(event)
        except OSError as error:
            self._complain(f"cannot write {self.instance.folder}: {error.strerror}")
        self.show(event)

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self.show({"event": "warning", "reason": text, "time": now_text()})

    def _record(self, picture: Picture) -> dict[str, Any]:
        """The state file. Everything that `status` says is here or asked of the kernel."""
        plan, state, start = picture.plan, picture.state, picture.start
        ready = isinstance(state, Ready)
        pid = os.getpid()
        return {
            "schema": SCHEMA,
            "profile": plan.name,
            "state": picture.name,
            "since": self._since,
            "reason": state.reason,
            "endpoint": picture.url,
            "model": plan.model_name,
            "run": state.past.run,
            "restarts": state.past.restarts,
            "last_error": picture.last_error,
            "pids": {"launcher": pid, "server": picture.server},
            "start": {
                "phase": "ready" if ready else start.phase,
                "progress": picture.progress,
                "seconds": self._ready_seconds if ready else start.seconds(picture.now),
            },
            "profile_path": plan.words["profile"],
            "server_log": str(self.instance.server_log),
            "launcher": {
                "pid": pid,
                "start_ticks": start_ticks(pid),
                "boot_id": boot_id(),
                "version": __version__,
            },
        }
