"""The shell around the state machine: it carries out what `lifecycle.step` decides, and decides nothing.

`up` replaces itself with the program that runs it (`launcher/supervise.py`). Both import the standard library
alone: they stay for weeks, so they stay small.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import textwrap
import threading
import time
from collections import deque
from pathlib import Path

from launcher import health, keys, lifecycle, plan, reaper, startlog
from launcher.errors import Exit, RefusalError
from launcher.events import (
    WISHES,
    Action,
    Asked,
    Begun,
    Event,
    Gone,
    Hinted,
    Kill,
    Launch,
    Probe,
    Probed,
    Terminate,
    Ticked,
)
from launcher.instance import Instance
from launcher.process import Session
from launcher.serverlog import ServerLog
from launcher.telling import Picture, Show, Teller

FIRST_WITHIN, LIVES_WITHIN = 10.0, 25.0  # seconds; SGLang gives up on its own /health after 20


class Supervisor:
    """One instance from its first launch to its end."""

    def __init__(self, instance: Instance, show: Show) -> None:
        self.instance = instance
        self.teller = Teller(instance, show)
        self.state: lifecycle.State = lifecycle.Idle()
        self.todo: deque[Event] = deque()
        self.answers: deque[tuple[int, health.Answer]] = deque()
        self.selector = selectors.DefaultSelector()
        self.session: Session | None = None
        self.last_error: str | None = None
        self.start = startlog.begin(time.monotonic())
        self.read_plan()

    def run(self) -> int:
        """Serve until the end, whoever brings it. The exit status: 0 when it was asked for."""
        reaper.become_subreaper()
        self.signalled, signals = self.doorbell(self.on_signal)
        self.answered, self.bell = self.doorbell(self.on_answer)
        signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
        for number in WISHES:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WISHES)
        self.feed(Begun(time.monotonic()))
        while not isinstance(self.state, lifecycle.Ended):
            for ready, _ in self.selector.select(self.patience()):
                ready.data()
            self.feed(Ticked(time.monotonic()))
        keys.withdraw(self.plan.key_config)
        return Exit.NO if self.state.failed else Exit.FINE

    def patience(self) -> float | None:
        wake = lifecycle.wakes_at(self.state, self.plan.policy)
        # An hour at most: select(2) takes no more than 24 days, and a patience may be longer.
        return None if wake is None else min(max(0.0, wake - time.monotonic()), 3600.0)

    # What happens becomes an event.

    def doorbell(self, answer: object) -> tuple[socket.socket, socket.socket]:
        """Two ends of a socket: a byte into the second one has `answer` called by the loop."""
        inside, outside = socket.socketpair()
        for end in (inside, outside):
            end.setblocking(False)
        self.selector.register(inside, selectors.EVENT_READ, answer)
        return inside, outside

    def on_signal(self) -> None:
        for number in map(signal.Signals, self.signalled.recv(64)):
            self.feed(Asked(time.monotonic(), WISHES[number], number.name))

    def on_answer(self) -> None:
        self.answered.recv(64)
        while self.answers:
            run, answer = self.answers.popleft()
            self.feed(Probed(time.monotonic(), run, answer.ok, answer.detail))

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
        died, error = self.session.close(), startlog.cause(self.start, time.monotonic())
        self.session = None
        if error or not isinstance(self.state, lifecycle.Stopping):
            self.last_error = error or died.how
        how = f"{died.how} ({textwrap.shorten(error, 160)})" if error else died.how
        self.feed(Gone(time.monotonic(), died.status, how, error))

    def read_line(self, line: str) -> None:
        before, now = self.start, time.monotonic()
        self.start = startlog.read(before, line, now)
        if self.start.phase != before.phase:
            self.teller.phase(self.picture())
        elif self.start.progress != before.progress:
            self.teller.progress(self.picture())
        if self.start.fired_up and not before.fired_up:
            self.feed(Hinted(now))

    # What was decided is done.

    def feed(self, event: Event) -> None:
        """Take one event through the machine, and those that its actions cause after it."""
        self.todo.append(event)
        if len(self.todo) > 1:
            return
        while self.todo:
            before = self.state
            self.state, actions = lifecycle.step(before, self.todo[0], self.plan.policy)
            for action in actions:
                self.act(action)
            moved = (self.state.name, self.state.past) != (before.name, before.past)
            if moved or self.state.reason != before.reason:
                self.teller.state(self.picture(), moved=moved)
            self.todo.popleft()

    def act(self, action: Action) -> None:
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
            keys.offer(self.plan.key_config, self.key)
            env = {name: value for name, value in os.environ.items() if not name.startswith("GLM5_SERVE")}
            self.session = Session(self.plan.argv, env | self.plan.env)
        except (OSError, RefusalError, ValueError, KeyError, TypeError) as error:
            self.last_error = f"cannot launch: {error}"
            self.todo.append(Gone(now, 1, self.last_error))
            return
        self.selector.register(self.session.control, selectors.EVENT_READ, self.on_report)
        self.selector.register(self.session.output, selectors.EVENT_READ, self.on_output)

    def probe(self, run: int, first: bool) -> None:
        """In a thread of its own: ask, and ring the bell."""
        within = FIRST_WITHIN if first else LIVES_WITHIN
        answer = health.ask(health.Server(self.plan.host, self.plan.port, self.key), first, within)
        self.answers.append((run, answer))
        with contextlib.suppress(OSError):
            self.bell.send(b".")

    def read_plan(self) -> None:
        """Take the plan from its file. Raises OSError, ValueError, KeyError, TypeError or RefusalError."""
        self.plan = plan.loads(self.instance.plan.read_text())
        self.key = keys.read_key(Path(self.plan.key_file)) if self.plan.key_file else None
        self.log = ServerLog(self.instance.server_log, self.key)

    def picture(self) -> Picture:
        server = self.session.pid if self.session else None
        return Picture(self.plan, self.state, self.start, server, self.last_error, time.monotonic())
