"""The shell around the state machine: it carries out what `lifecycle.step` decides, and decides nothing.

`up` replaces itself with this program (`python -m launcher.supervisor`), which reads the plan from its file
and imports the standard library alone: it stays for weeks, so it stays small.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launcher import __version__, console, health, lifecycle, plan, reaper, startlog
from launcher.errors import Exit, RefusalError
from launcher.instance import SCHEMA, Instance, boot_id, now_text, start_ticks
from launcher.keys import read_key
from launcher.lifecycle import (
    Asked,
    Begun,
    Ended,
    Gone,
    Hinted,
    Kill,
    Launch,
    Probe,
    Probed,
    Terminate,
    Ticked,
    Wish,
)
from launcher.process import Session
from launcher.serverlog import ServerLog

WISHES = {
    signal.SIGTERM: Wish.STOP,
    signal.SIGINT: Wish.STOP,
    signal.SIGHUP: Wish.STOP,  # the terminal was closed
    signal.SIGUSR1: Wish.RESTART,
}
FIRST_WITHIN, LIVES_WITHIN = 10.0, 25.0  # seconds; SGLang gives up on its own /health after 20
Show = Callable[[dict[str, Any]], None]


class Supervisor:
    """One instance from its first launch to its end."""

    def __init__(self, instance: Instance, show: Show) -> None:
        self.instance = instance
        self.show = show
        self.state: lifecycle.State = lifecycle.Idle()
        self.todo: deque[lifecycle.Event] = deque()
        self.selector = selectors.DefaultSelector()
        self.session: Session | None = None
        self.since = now_text()
        self.last_error: str | None = None
        self.complaints: set[str] = set()
        self.told_progress = 0.0
        self.start = startlog.begin(time.monotonic())
        self.read_plan()

    def run(self) -> int:
        """Serve until the end, whoever brings it. The exit status: 0 when it was asked for."""
        reaper.become_subreaper()
        self.listen_to_signals()
        self.probe_ended, self.probe_ends = socket.socketpair()
        self.probe_ended.setblocking(False)
        self.selector.register(self.probe_ended, selectors.EVENT_READ, self.on_probe)
        self.feed(Begun(time.monotonic()))
        while not isinstance(self.state, Ended):
            for ready, _ in self.selector.select(self.patience()):
                ready.data()
            self.feed(Ticked(time.monotonic()))
        self.hide_key()
        return Exit.NO if self.state.failed else Exit.FINE

    # What happens becomes an event.

    def listen_to_signals(self) -> None:
        asleep, awake = socket.socketpair()
        for end in (asleep, awake):
            end.setblocking(False)
        signal.set_wakeup_fd(awake.fileno(), warn_on_full_buffer=False)
        for number in WISHES:
            signal.signal(number, lambda *_: None)
        self.signals = (asleep, awake)
        self.selector.register(asleep, selectors.EVENT_READ, self.on_signal)

    def on_signal(self) -> None:
        for number in self.signals[0].recv(64):
            if wish := WISHES.get(signal.Signals(number)):
                self.feed(Asked(time.monotonic(), wish, signal.Signals(number).name))

    def on_output(self) -> None:
        if self.session is not None:
            for piece in self.session.pieces():
                for line in self.log.feed(piece):
                    self.read_line(line)

    def on_report(self) -> None:
        if self.session is None or self.session.listen():
            return
        self.on_output()
        for line in self.log.flush():
            self.read_line(line)
        self.selector.unregister(self.session.control)
        self.selector.unregister(self.session.output)
        died = self.session.close()
        self.session = None
        asked = isinstance(self.state, lifecycle.Stopping)
        self.last_error = self.start.error or (self.last_error if asked else died.how)
        how = died.how if self.start.error is None else f"{died.how} ({self.start.error})"
        self.feed(Gone(time.monotonic(), died.status, how))

    def on_probe(self) -> None:
        self.probe_ended.recv(64)
        run, answer = self.answers.popleft()
        self.feed(Probed(time.monotonic(), run, answer.ok, answer.detail))

    def read_line(self, line: str) -> None:
        before, now = self.start, time.monotonic()
        self.start = startlog.read(before, line, now)
        if self.start.phase != before.phase:
            self.publish("phase", phase=self.start.phase, seconds=self.start.seconds(now))
        elif self.start.progress != before.progress and now - self.told_progress >= 1.0:
            self.told_progress = now
            self.publish("progress", phase=self.start.phase, progress=self.progress())
        if self.start.fired_up and not before.fired_up:
            self.feed(Hinted(now))

    # What was decided is done.

    def feed(self, event: lifecycle.Event) -> None:
        """Take one event through the machine, and those that its actions cause after it."""
        self.todo.append(event)
        if len(self.todo) > 1:
            return
        while self.todo:
            before = self.state
            self.state, actions = lifecycle.step(before, self.todo[0], self.plan.policy)
            for action in actions:
                self.act(action)
            if (self.state.name, self.state.reason, self.state.past) != (
                before.name,
                before.reason,
                before.past,
            ):
                self.tell_state(moved=self.state.name != before.name or self.state.past != before.past)
            self.todo.popleft()

    def act(self, action: lifecycle.Action) -> None:
        match action:
            case Launch(fresh=fresh):
                self.launch(fresh)
            case Probe(run, first):
                threading.Thread(target=self.probe, args=(run, first), daemon=True).start()
            case Terminate() if self.session:
                self.session.terminate()
            case Kill() if self.session:
                self.session.kill()

    def launch(self, fresh: bool) -> None:
        now = time.monotonic()
        self.start = startlog.begin(now)
        try:
            if fresh:
                self.read_plan()
            self.show_key()
            env = {name: value for name, value in os.environ.items() if not name.startswith("GLM5_SERVE")}
            self.session = Session(self.plan.argv, env | self.plan.env)
        except (OSError, RefusalError, ValueError, KeyError, TypeError) as error:
            self.last_error = f"cannot launch: {error}"
            self.todo.append(Gone(now, 1, self.last_error))
            return
        self.selector.register(self.session.control, selectors.EVENT_READ, self.on_report)
        self.selector.register(self.session.output, selectors.EVENT_READ, self.on_output)

    def probe(self, run: int, first: bool) -> None:
        within = FIRST_WITHIN if first else LIVES_WITHIN
        answer = health.ask(health.Server(self.plan.host, self.plan.port, self.key), first, within)
        self.answers.append((run, answer))
        with contextlib.suppress(OSError):
            self.probe_ends.send(b".")

    def read_plan(self) -> None:
        self.plan = plan.loads(self.instance.plan.read_text())
        self.key = read_key(Path(self.plan.key_file)) if self.plan.key_file else None
        self.log = ServerLog(self.instance.server_log, self.key)
        self.answers: deque[tuple[int, health.Answer]] = deque()

    def show_key(self) -> None:
        """Put the key where `--config` points; the file is there only while the launcher is."""
        if self.plan.key_config and self.key:
            path = Path(self.plan.key_config)
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f'api-key: "{self.key}"\n')

    def hide_key(self) -> None:
        if self.plan.key_config:
            with contextlib.suppress(OSError):
                Path(self.plan.key_config).unlink()

    def patience(self) -> float | None:
        wake = lifecycle.wakes_at(self.state, self.plan.policy)
        return None if wake is None else max(0.0, wake - time.monotonic())

    # What is so is told.

    def tell_state(self, *, moved: bool) -> None:
        now = time.monotonic()
        if moved:
            self.since = now_text()
        name = "failed" if isinstance(self.state, Ended) and self.state.failed else self.state.name
        past = self.state.past
        extra: dict[str, Any] = {}
        if name == "ready":
            self.ready_seconds = self.start.seconds(now)
            extra = {"seconds": self.ready_seconds, "url": self.url()}
        if name == "failed":
            extra["error"] = self.last_error
        self.publish("state", state=name, reason=self.state.reason, run=past.run, restarts=past.restarts, **extra)

    def publish(self, kind: str, **fields: Any) -> None:
        """Tell an event to the folder and the screen. A folder that takes nothing is no reason to stop serving."""
        event = {"schema": SCHEMA, "time": now_text(), "profile": self.plan.name, "event": kind, **fields}
        try:
            self.instance.write(self.instance.state, self.record())
            self.instance.tell(event)
        except OSError as error:
            self.complain(f"cannot write {self.instance.folder}: {error.strerror}")
        self.show(event)

    def complain(self, text: str) -> None:
        if text not in self.complaints:
            self.complaints.add(text)
            self.show({"event": "warning", "reason": text, "time": now_text()})

    def record(self) -> dict[str, Any]:
        """The state file. Everything that `status` says is here or asked of the kernel."""
        state, now = self.state, time.monotonic()
        ready = isinstance(state, lifecycle.Ready)
        pid = os.getpid()
        return {
            "schema": SCHEMA,
            "profile": self.plan.name,
            "state": "failed" if isinstance(state, Ended) and state.failed else state.name,
            "since": self.since,
            "reason": state.reason,
            "endpoint": self.url(),
            "model": self.plan.model_name,
            "run": state.past.run,
            "restarts": state.past.restarts,
            "last_error": self.last_error,
            "pids": {"launcher": pid, "server": self.session.pid if self.session else None},
            "start": {
                "phase": "ready" if ready else self.start.phase,
                "progress": self.progress(),
                "seconds": self.ready_seconds if ready else self.start.seconds(now),
            },
            "profile_path": self.plan.words["profile"],
            "server_log": str(self.instance.server_log),
            "launcher": {
                "pid": pid,
                "start_ticks": start_ticks(pid),
                "boot_id": boot_id(),
                "version": __version__,
            },
        }

    def progress(self) -> dict[str, Any] | None:
        at = self.start.progress
        return {"done": at.done, "total": at.total, "left": at.left} if at else None

    def url(self) -> str:
        return health.Server(self.plan.host, self.plan.port).url


def main() -> None:
    """`python -m launcher.supervisor FOLDER SCREEN`: the lock of FOLDER is held on an inherited descriptor."""
    folder, screen = Path(sys.argv[1]), sys.argv[2]
    instance = Instance(folder.parent, folder.name)
    show = console.screen(screen)
    try:
        status = Supervisor(instance, show).run()
    except (RefusalError, OSError, ValueError) as error:
        print(f"glm5-serve: {error}", file=sys.stderr)
        status = Exit.CONFIG
    sys.exit(status)


if __name__ == "__main__":
    main()
