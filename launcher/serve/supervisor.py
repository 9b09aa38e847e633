"""The shell around the state machine: it carries out what `lifecycle.step` decides, and decides
nothing.

Its one thread never waits for a disk, a driver or a server: what may take its time is done aside.

`up` replaces itself with the program that runs it (`launcher/supervise.py`). Both import the
standard library alone: they stay for weeks, so they stay small.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from dataclasses import replace
from functools import partial

from launcher.engines import startup
from launcher.errors import Exit
from launcher.gateway import NAME as GATEWAY
from launcher.gateway.roster import Roster, Served
from launcher.gateway.settings import Options
from launcher.redact import keys
from launcher.serve import lifecycle, reaper, timing
from launcher.serve.draining import Draining
from launcher.serve.events import (
    Action,
    AskCanary,
    CanaryHeard,
    Event,
    Examine,
    Kill,
    Launch,
    Leave,
    Probe,
    Progressed,
    Record,
    RequestReceived,
    Started,
    StartFailed,
    Terminate,
    Ticked,
)
from launcher.serve.gpus import Gpus
from launcher.serve.group_watch import GroupWatch
from launcher.serve.launching import Launches
from launcher.serve.postmortem import MEMORY_WITHIN, Postmortem
from launcher.serve.probes import Probes
from launcher.serve.readahead import Reading
from launcher.serve.readiness import LIVES, Readiness
from launcher.serve.recorder import Recorder, Show
from launcher.serve.run import ServerRun
from launcher.serve.sdnotify import Notifier
from launcher.serve.service import Service
from launcher.serve.states import Ended, Ready, Starting
from launcher.serve.wishes import DOWN, NOW, WISHES
from launcher.statedir.folder import StateDir

WRITE_WITHIN = 2.0  # seconds for what is not written yet, at the end
EXTEND_EVERY = 5.0  # seconds between two requests for more time
# Who sends a signal, as an operator knows it; a SIGTERM may be anybody's.
BY = {
    NOW: "`down --now`",
    DOWN: "`down`",
    signal.SIGUSR1: "`glm5-serve restart` (SIGUSR1)",
    signal.SIGINT: "Ctrl-C (SIGINT)",
}
EXTRA = 60.0  # seconds beyond what the policy allows, before systemd may lose its patience
LOST = 5.0  # seconds without running that are worth a word


class Supervisor:
    """One instance from its first launch to its end."""

    def __init__(self, instance: StateDir, show: Show, lock: int | None = None) -> None:
        """`lock` is the descriptor by which this launcher holds the instance."""
        self.notifier = Notifier(os.environ)
        self.recorder = Recorder(instance, show, self.notifier, lock)
        self.service = Service(instance, self.recorder, self.feed)
        self.loop, self.clock = self.service.loop, self.service.clock
        self.todo: deque[Event] = deque()
        self.at_work = False  # an event is being taken through the machine
        self.signs_at = 0.0
        # what more time was last asked for, and when
        self.extended: tuple[object, float] = (None, 0.0)
        self.lost_told = 0.0
        self.launches = Launches(self.service, self.on_launched)
        self.gpus = Gpus(self.service)
        self.group = GroupWatch(self.service)
        self.probes = Probes(self.service)
        self.draining = Draining(self.service)
        self.postmortem = Postmortem(self.service, self.gpus)
        self.reading = Reading(
            self.loop, lambda told: self.recorder.read_ahead(told, self.clock.now())
        )
        self.readiness = Readiness(self.service)
        self.readiness.listen()

    @property
    def is_superseded(self) -> bool:
        """Whether the version that is installed now is to go on from here."""
        return self.launches.is_superseded

    def run(self) -> int:
        """Serve until the end, whoever brings it. The exit status: 0 when it was asked for."""
        service = self.service
        reaper.become_subreaper()
        self.loop.on_signals(WISHES, self.on_signal)
        self.loop.guard(self.gpus.watch)
        self.keep_workers()
        if told := service.instance.status.unsaid_end():
            self.recorder.complain(told)
        self.feed(Started(self.clock.now()))
        while not (isinstance(service.state, Ended) or self.is_superseded):
            self.readiness.turned()
            self.loop.turn(self.patience())
            self.loop.guard(partial(self.tick, self.clock.now()))
        self.gpus.close()
        self.recorder.writer.put(partial(keys.remove_key, service.plan.key_config))
        is_failed = isinstance(service.state, Ended) and service.state.failed
        return Exit.NO if is_failed else Exit.FINE

    def keep_workers(self) -> None:
        """Where it is a gateway that is kept up: keep the list of its workers, from a thread."""
        service = self.service
        if service.plan.engine == GATEWAY:
            serves = lambda: Served(Options.of(service.plan), service.key)
            roster = Roster(service.instance.folder, serves, self.recorder.complain)
            threading.Thread(target=roster.keep, daemon=True).start()

    def close(self) -> bool:
        """Have written what is not yet; whether it was."""
        return self.recorder.close(WRITE_WITHIN)

    # Time passes.

    def tick(self, now: float) -> None:
        """What is due: a sign of life for systemd, a look at a start, a run whose memory is
        back.
        """
        if self.notifier.every is not None and time.monotonic() >= self.signs_at:
            self.signs_at = time.monotonic() + self.notifier.every
            self.notifier.tell("WATCHDOG=1")
        self.recorder.look_after_the_disk()
        self.tell_of_lost_time()
        self.postmortem.go_on(now)
        self.launches.tick(now)
        if self.service.run and isinstance(self.service.state, Starting):
            self.loop.guard(partial(self.look, self.service.run, now))
        self.feed(Ticked(now))

    def tell_of_lost_time(self) -> None:
        """A launcher that was kept from running says so: what it did not see was no fault of the
        server.
        """
        lost, self.lost_told = self.clock.lost - self.lost_told, self.clock.lost
        if lost >= LOST:
            why = "this host was paused, or had no processor free"
            self.recorder.complain(
                f"the launcher did not run for {lost:.0f} s ({why}): that time does not count"
            )

    def look(self, run: ServerRun, now: float) -> None:
        for event in run.look(now):
            self.feed(event)
            run.watch(self.loop, self.feed)
        if run.start.waits != self.service.start.waits:
            self.service.start = replace(self.service.start, waits=run.start.waits)
            self.recorder.waits(self.service.picture())

    def patience(self) -> float:
        """Seconds until something is due; an hour at most, for select(2) takes no more than 24
        days.
        """
        service, now = self.service, self.clock.now()
        due = [timing.wakes_at(service.state, service.policy)]
        due.append(
            now + self.signs_at - time.monotonic() if self.notifier.every is not None else None
        )
        due.append(now + 0.1 if service.gone else None)
        due.append(now + LIVES / 2 if service.plan.health_listen else None)
        due.append(now + 1.0 if self.launches.pending or self.recorder.writer.stuck() else None)
        # a wait that is no longer than this shows soon that the launcher was kept from running
        due.append(now + 1.0 if timing.is_judged(service.state) else None)
        return min([max(0.0, at - now) for at in due if at is not None] + [3600.0])

    # What happens becomes an event.

    def on_signal(self, number: signal.Signals) -> None:
        by = BY.get(number, number.name)
        self.feed(RequestReceived(self.clock.now(), WISHES[number], by))

    def on_launched(self, run: ServerRun) -> None:
        """Watch a run from its first moment on."""
        service = self.service
        self.loop.on(run.session.control, self.on_report)
        self.loop.on(run.session.output, self.on_output)
        self.group.watch(run)
        self.loop.guard(self.read_ahead)
        service.log.begin(run.number)
        self.recorder.writer.put(partial(service.instance.forget_stacks, run.number))
        self.recorder.record(service.picture())  # with what its processes are known by
        self.gpus.watch()
        self.postmortem.learn()

    def read_ahead(self) -> None:
        """Have the checkpoint read into memory while the server imports, where that helps it."""
        plan, loading = self.service.plan, self.service.engine.loading(self.service.plan)
        if self.service.policy.read_ahead and loading.models:
            self.reading.begin(loading, plan.gpus, plan.env)

    def on_output(self) -> None:
        if self.service.run:
            self.read(self.service.run)

    def read(self, run: ServerRun, *, whole: bool = False) -> None:
        """Take in what the run printed, and tell how far its start is."""
        for event in run.read(self.clock.now(), whole=whole):
            self.advance(run)
            self.feed(event)
        self.advance(run)

    def advance(self, run: ServerRun) -> None:
        """Tell what is new of the start."""
        before, self.service.start = self.service.start, run.start
        if run.start.phase != before.phase:
            self.launches.withdraw_key()
            run.watch(self.loop, self.feed)
            self.recorder.phase(self.service.picture())
        elif run.start.progress != before.progress:
            self.recorder.progress(self.service.picture())
        if run.start.doom and not before.doom:
            self.feed(StartFailed(self.clock.now(), run.number, run.start.doom))

    def on_report(self) -> None:
        """The reaper said something; or it is gone, and all that it held with it."""
        run = self.service.run
        if run is None or run.session.listen():
            return
        for descriptor in (run.session.control, run.session.output):
            self.loop.off(descriptor)
        self.loop.guard(partial(self.read, run, whole=True))
        run.forget(self.loop)
        self.reading.end("the server ended")
        self.postmortem.begin(run)

    # What was decided is done.

    def feed(self, event: Event) -> None:
        """Take one event through the machine, and those that its actions cause after it."""
        self.todo.append(event)
        if self.at_work:
            return
        self.at_work = True
        try:
            while self.todo:
                self.take(self.todo.popleft())
        finally:
            self.at_work = False

    def take(self, event: Event) -> None:
        """One step: the next state, its actions, and what there is to tell of it."""
        service, before = self.service, self.service.state
        service.state, actions = lifecycle.step(before, event, service.policy)
        for action in actions:
            self.loop.guard(partial(self.act, action))
        state = service.state
        moved = (state.name, state.past) != (before.name, before.past)
        if moved or state.reason != before.reason:
            self.loop.guard(partial(self.recorder.state, service.picture(), moved=moved))
        if isinstance(event, CanaryHeard):
            self.loop.guard(partial(self.recorder.canary, service.picture(), before))
        if service.run and not isinstance(state, Ready):
            service.run.line.cut()  # no question of ours keeps it from going
        if moved and not isinstance(state, Starting):
            self.launches.withdraw_key()
        if moved and isinstance(state, Ready) and service.run:
            service.run.session.remember()
            self.reading.end("the server was ready before")
        self.ask_for_time(event)

    def ask_for_time(self, event: Event) -> None:
        """Systemd gives a start or a stop more time as long as it moves."""
        service, now = self.service, event.now
        seconds = timing.may_take(service.state, service.policy, now)
        what, (last, at) = (service.state.name, seconds), self.extended
        moves = isinstance(event, Progressed) and now - at >= EXTEND_EVERY
        if seconds is not None and (what != last or moves):
            self.extended = (what, now)
            self.notifier.extend(seconds + MEMORY_WITHIN + EXTRA)

    def act(self, action: Action) -> None:
        match action, self.service.run:
            case Launch(number, fresh), _:
                self.launches.begin(number, fresh=fresh)
            case Probe(first=first), ServerRun() as run:
                self.probes.probe(run, first=first)
            case Probe(number), None:
                self.probes.unasked(number)
            case Examine(), ServerRun() as run:
                run.start = startup.proving(run.start, self.clock.now())
                self.advance(run)
                self.probes.examine(run)
            case AskCanary(_, question), ServerRun() as run:
                self.probes.ask_canary(run, question)
            case Record(), ServerRun() as run:
                self.postmortem.keep_stacks(run)
            case Terminate(), ServerRun() as run:
                run.session.terminate()
                if not self.service.plan.follows:  # the first node knows of its requests
                    self.draining.drain(run)
            case Leave(), ServerRun() as run:
                self.draining.leave(run)
            case Kill(), ServerRun() as run:
                run.kill()
            case ((Terminate() | Kill() | Record()), None) if self.launches.pending:
                self.launches.cancel()
