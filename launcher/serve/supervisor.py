"""The shell around the state machine: it carries out what `lifecycle.step` decides, and decides
nothing.

Its one thread never waits for a disk, a driver or a server: what may take its time is done aside.

`up` replaces itself with the program that runs it (`launcher/supervise.py`). Both import the
standard library alone: they stay for weeks, so they stay small.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from operator import attrgetter
from pathlib import Path

from launcher import __version__
from launcher.diagnose.verdict import Diagnosis
from launcher.engines import failures, server, startup
from launcher.engines.server import PAUSED, Answer, Server
from launcher.errors import Exit, UserError
from launcher.files import guarded
from launcher.gateway import NAME as GATEWAY
from launcher.gateway.leaving import Leaving
from launcher.gateway.roster import Roster, Served
from launcher.gateway.runtime import runtime
from launcher.gateway.settings import Options
from launcher.host import port
from launcher.host.collectors import engine
from launcher.plan import plan
from launcher.redact import keys
from launcher.serve import (
    canary_ask,
    gpu_monitor,
    lifecycle,
    procfs,
    reaper,
    smoke,
    stacks,
    states,
    timing,
)
from launcher.serve.canary import Look, Question, Said
from launcher.serve.events import (
    Action,
    AskCanary,
    CanaryHeard,
    Drained,
    Event,
    Examine,
    Exited,
    GpuFaulted,
    Kill,
    Launch,
    LaunchFailed,
    Leave,
    Left,
    NodeLost,
    Probe,
    ProbeResult,
    Progressed,
    Record,
    RequestReceived,
    RestartAdvice,
    SmokeResult,
    StacksSaved,
    Started,
    StartFailed,
    Terminate,
    Ticked,
)
from launcher.serve.group import LOOK_EVERY, Group, ask_leader, missing
from launcher.serve.logfile import ServerLog
from launcher.serve.loop import Loop, Work
from launcher.serve.readahead import ReadAhead, Request, Told
from launcher.serve.recorder import Recorder, Show, Snapshot
from launcher.serve.run import ServerRun
from launcher.serve.sdnotify import PRIVATE, Notifier
from launcher.serve.session import Died, ProcessTree
from launcher.serve.webserver import Access, Page, WebServer
from launcher.serve.wishes import NOW, WISHES
from launcher.statedir.folder import StateDir

FIRST_WITHIN, LIVES_WITHIN = 10.0, 25.0  # seconds; SGLang gives up on its own /health after 20
LOOKED_FOR = 1.0  # seconds that a compiler is looked at for, aside, before it excuses a server
MEMORY_WITHIN = 30.0  # seconds that the driver may take to give the memory of the dead back
JUDGE_WITHIN = 30.0  # seconds that finding out why a run died may take
LOOK_WITHIN = 20.0  # seconds for a look at the processes of a server that does not answer
LAUNCH_WITHIN = 30.0  # seconds for the state folder's disk, before a launch
FREED_WITHIN, FREED_EVERY = 3.0, 0.1  # seconds for a port to be free, and between two looks at it
WRITE_WITHIN = 2.0  # seconds for what is not written yet, at the end
SMOKE_AGAIN = 0.2  # seconds until a server that could not be reached is asked again
# seconds between looks, and how many in a row must find nobody
DRAINED_EVERY, DRAINED_TIMES = (
    0.25,
    4,
)
EXTEND_EVERY = 5.0  # seconds between two requests for more time
# Who sends a signal, as an operator knows it; a SIGTERM may be anybody's.
BY = {
    NOW: "`down --now`",
    signal.SIGUSR1: "`glm5-serve restart` (SIGUSR1)",
    signal.SIGINT: "Ctrl-C (SIGINT)",
}
NOT_JOINED = "it has not found the other nodes yet"
# What a rank says when another one, of whichever node, went first.
PEER_WENT = re.compile(
    r"(?:closed|reset) by peer|Connection refused|remote process exited|Broken pipe|recvValue"
)
LIVES = 60.0  # seconds without a turn of its loop after which a launcher is stuck
CROWDED = 0.2  # of a question that a rank stood in line for a processor: its speed says nothing
EXTRA = 60.0  # seconds beyond what the policy allows, before systemd may lose its patience
LOST = 5.0  # seconds without running that are worth a word
# What this host lacks for a launch, and may have again, its address included: no server's fault,
# and no death.
SHORT = frozenset(
    getattr(errno, name)
    for name in (
        "EMFILE ENFILE ENOMEM EAGAIN ENOBUFS ENOSPC EDQUOT EIO EROFS ESTALE EADDRINUSE"
    ).split()
)


@dataclass
class Launching:
    """A launch that waits for the disk (`at`: when it was decided)."""

    number: int
    at: float


@dataclass
class Burial:
    """A run that is gone, until it is known why, and its GPU memory is back; for no longer than to
    `until`.
    """

    until: float
    gone: Exited | None = None


class Supervisor:
    """One instance from its first launch to its end."""

    def __init__(self, instance: StateDir, show: Show, lock: int | None = None) -> None:
        """`lock` is the descriptor by which this launcher holds the instance."""
        self.instance = instance
        self.notifier = Notifier(os.environ)
        self.teller = Recorder(instance, show, self.notifier, lock)
        self.state: states.State = states.Idle()
        self.todo: deque[Event] = deque()
        self.at_work = False  # an event is being taken through the machine
        #: Another version of this program is here now, and made the plan: that one is to launch it.
        self.is_superseded = False
        self.loop = Loop(self.complain)
        self.clock = self.loop.clock
        self.launching: Launching | None = None
        self.run_: ServerRun | None = None
        self.burial: Burial | None = None
        self.start = startup.begin(self.clock.now())
        self.last_error: str | None = None
        self.gpus: gpu_monitor.GpuWatch | None = None
        self.ahead: ReadAhead | None = None
        self.blind = False  # there is no driver that could tell anything of them
        self.signs_at = 0.0
        # what more time was last asked for, and when
        self.extended: tuple[object, float] = (
            None,
            0.0,
        )
        self.lost_told = 0.0
        self.turned_at = time.monotonic()
        self.take_plan(*self.read_plan())
        self.listen()

    def run(self) -> int:
        """Serve until the end, whoever brings it. The exit status: 0 when it was asked for."""
        reaper.become_subreaper()
        self.loop.on_signals(WISHES, self.on_signal)
        self.loop.guard(self.watch_gpus)
        self.keep_workers()
        if told := self.instance.unsaid_end():
            self.teller.complain(told)
        self.feed(Started(self.clock.now()))
        while not (isinstance(self.state, states.Ended) or self.is_superseded):
            self.turned_at = time.monotonic()
            self.loop.turn(self.patience())
            self.loop.guard(partial(self.tick, self.clock.now()))
        if self.gpus:
            self.gpus.close()
        self.teller.writer.put(partial(keys.remove_key, self.plan.key_config))
        is_failed = isinstance(self.state, states.Ended) and self.state.failed
        return Exit.NO if is_failed else Exit.FINE

    def keep_workers(self) -> None:
        """Where it is a gateway that is kept up: keep the list of its workers, from a thread."""
        if self.plan.engine == GATEWAY:
            serves = lambda: Served(Options.of(self.plan), self.key)
            roster = Roster(self.instance.folder, serves, self.teller.complain)
            threading.Thread(target=roster.keep, daemon=True).start()

    def listen(self) -> None:
        """Say whether it is ready to whoever asks, where the plan wants that, from a thread. Raises
        UserError.
        """
        if not (place := self.plan.health_listen):
            return
        host, _, number = place.rpartition(":")
        pages = {"/ready": self.ready_page, "/live": self.live_page}
        try:
            web = WebServer((host.strip("[]"), int(number)), pages, Access(None))
        except OSError as error:
            fix = "choose another address: --health-listen 127.0.0.1:PORT"
            what = f"cannot listen on {place}: {error.strerror or error}"
            raise UserError(what, fix=fix) from None
        threading.Thread(target=web.serve_forever, daemon=True).start()

    def ready_page(self) -> Page:
        """Whether requests may come: 200 while it is ready, 503 before a drain begins."""
        state = self.state
        is_ready = isinstance(state, states.Ready)
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(f"{state.name}\n".encode(), status)

    def live_page(self) -> Page:
        """Whether this launcher turns: a server that is down is its affair."""
        turns = time.monotonic() - self.turned_at < LIVES
        status = HTTPStatus.OK if turns else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(b"alive\n" if turns else b"stuck\n", status)

    def close(self) -> bool:
        """Have written what is not yet; whether it was."""
        return self.teller.close(WRITE_WITHIN)

    def complain(self, error: Exception) -> None:
        """Our bug, a package upgraded under us, a host out of descriptors: no reason to stop
        serving.
        """
        self.teller.complain(
            f"glm5-serve itself failed at something: {type(error).__name__}: {error}"
        )

    def tick(self, now: float) -> None:
        """What is due: a sign of life for systemd, a look at a start, a run whose memory is
        back.
        """
        if self.notifier.every is not None and time.monotonic() >= self.signs_at:
            self.signs_at = time.monotonic() + self.notifier.every
            self.notifier.tell("WATCHDOG=1")
        self.teller.look_after_the_disk()
        self.tell_of_lost_time()
        self.bury(now)
        if self.launching and now >= self.launching.at + LAUNCH_WITHIN:
            self.not_launched(
                self.launching.number,
                TimeoutError(errno.EAGAIN, "its state folder does not answer"),
            )
        if self.run_ and isinstance(self.state, states.Starting):
            self.loop.guard(partial(self.look, self.run_, now))
        self.feed(Ticked(now))

    def tell_of_lost_time(self) -> None:
        """A launcher that was kept from running says so: what it did not see was no fault of the
        server.
        """
        lost, self.lost_told = self.clock.lost - self.lost_told, self.clock.lost
        if lost >= LOST:
            why = "this host was paused, or had no processor free"
            self.teller.complain(
                f"the launcher did not run for {lost:.0f} s ({why}): that time does not count"
            )

    def look(self, run: ServerRun, now: float) -> None:
        for event in run.look(now):
            self.feed(event)
            run.watch(self.loop, self.feed)
        self.start = replace(self.start, waits=run.start.waits)

    def patience(self) -> float:
        """Seconds until something is due; an hour at most, for select(2) takes no more than 24
        days.
        """
        now = self.clock.now()
        due = [timing.wakes_at(self.state, self.policy)]
        due.append(
            now + self.signs_at - time.monotonic() if self.notifier.every is not None else None
        )
        due.append(now + 0.1 if self.burial else None)
        due.append(now + LIVES / 2 if self.plan.health_listen else None)
        due.append(now + 1.0 if self.launching or self.teller.writer.stuck() else None)
        # a wait that is no longer than this shows soon that the launcher was kept from running
        due.append(now + 1.0 if timing.is_judged(self.state) else None)
        return min([max(0.0, at - now) for at in due if at is not None] + [3600.0])

    # What happens becomes an event.

    def on_signal(self, number: signal.Signals) -> None:
        by = BY.get(number, number.name)
        self.feed(RequestReceived(self.clock.now(), WISHES[number], by))

    def on_output(self) -> None:
        if self.run_:
            self.read(self.run_)

    def read(self, run: ServerRun, *, whole: bool = False) -> None:
        """Take in what the run printed, and tell how far its start is."""
        for event in run.read(self.clock.now(), whole=whole):
            self.advance(run)
            self.feed(event)
        self.advance(run)

    def advance(self, run: ServerRun) -> None:
        """Tell what is new of the start."""
        before, self.start = self.start, run.start
        if run.start.phase != before.phase:
            self.withdraw_key()
            run.watch(self.loop, self.feed)
            self.teller.phase(self.picture())
        elif run.start.progress != before.progress:
            self.teller.progress(self.picture())
        if run.start.doom and not before.doom:
            self.feed(StartFailed(self.clock.now(), run.number, run.start.doom))

    def withdraw_key(self) -> None:
        """A server that is past its first phase has read its key: the file has no reader any
        more.
        """
        run, path = self.run_, self.plan.key_config

        def withdraw() -> None:
            if self.run_ is run:  # the next one's may lie there already
                keys.remove_key(path)

        if path and run:
            self.teller.writer.put(withdraw)

    # A run that ends: collected, judged, buried.

    def on_report(self) -> None:
        """The reaper said something; or it is gone, and all that it held with it."""
        run = self.run_
        if run is None or run.session.listen():
            return
        for descriptor in (run.session.control, run.session.output):
            self.loop.off(descriptor)
        self.loop.guard(partial(self.read, run, whole=True))
        run.forget(self.loop)
        self.end_reading("the server ended")
        self.run_ = None
        self.burial = Burial(self.clock.now() + JUDGE_WITHIN + (MEMORY_WITHIN if self.gpus else 0))
        if self.gpus:
            self.gpus.poke()
        spare = self.gpus.pid if self.gpus else 0
        self.loop.aside(
            partial(self.judge, run, spare),
            partial(self.judged, run, Died(None, "died"), None, None),
        )

    def judge(self, run: ServerRun, spare: int) -> Work:
        """Let go of the run and find out why it ended."""
        died = run.session.close(spare)
        error, why = run.judge(self.clock.now())
        together = bool(self.plan.nodes) and self.falls_together(run, why)
        return partial(self.judged, run, died, error, why, together)

    def falls_together(self, run: ServerRun, why: Diagnosis) -> bool:
        """Whether another node is why a run ended: it was lost, did not come, or ended first."""
        if why.family == "rendezvous":
            return True
        if self.plan.follows:
            return run.has_joined and not ask_leader(self.plan, self.engine).ok
        return isinstance(self.state, states.Stopping) and self.state.cause == "node-lost"

    def judged(
        self,
        run: ServerRun,
        died: Died,
        error: str | None,
        why: Diagnosis | None,
        together: bool = False,
    ) -> None:
        """Tell a death that nobody asked for, and have it buried."""
        if self.burial:
            now = self.clock.now()
            gone = run.gone(died, error, why, now) if why else Exited(now, died.status, died.how)
            if together and gone.advice is RestartAdvice.AGAIN:
                absent = f"missing: {', '.join(run.missing)}" if run.missing else gone.said
                how = f"{died.how} ({absent})" if run.missing else gone.how
                gone = replace(gone, how=how, said=absent, advice=RestartAdvice.TOGETHER)
            elif self.plan.nodes and PEER_WENT.search(error or ""):
                gone = replace(gone, status=None, said=None)  # no word of its own
            self.burial.gone = gone
        if why:
            self.tell_of_death(run, died, error, why)
            for what in failures.complaints():
                self.teller.complain(f"left out where deaths are judged: {what}")

    def tell_of_death(self, run: ServerRun, died: Died, error: str | None, why: Diagnosis) -> None:
        cause, what = "process-lost" if (died.status or 0) < 0 else "", f"the server {died.how}"
        if isinstance(self.state, states.Stopping):
            # asked for, so no death
            if self.state.then in (
                states.Next.END,
                states.Next.RESTART,
            ):
                return
            cause, what = (
                self.state.cause,
                what if run.lost == ["the server"] else self.state.reason,
            )
        why = why.or_else(cause, what)
        self.last_error = why.in_short if why.is_known else error or died.how
        self.teller.death(self.picture(), run.number, died.how, why, run.lost, run.stacks)

    def bury(self, now: float) -> None:
        """Go on once a run is judged and its memory is back, or neither is to be had."""
        if self.burial is None:
            return
        held = self.gpus.still_held() if self.gpus else None
        if now < self.burial.until and (held or self.burial.gone is None):
            return
        if held:
            self.teller.complain(
                f"{held}, {MEMORY_WITHIN:g} s after the last process of the server was gone"
            )
        gone, self.burial = self.burial.gone, None
        self.feed(
            replace(gone, now=now)
            if gone
            else Exited(now, None, "died; why was not found out in time")
        )

    def watch_gpus(self) -> None:
        """Have the GPUs watched, if there are any: again, should the watch have died."""
        if self.plan.gpus and not self.gpus and not self.blind:
            self.gpus = gpu_monitor.GpuWatch()
            self.loop.on(self.gpus.output, self.on_gpus)

    def on_gpus(self) -> None:
        assert self.gpus
        try:
            for told in self.gpus.hear():
                self.on_gpu(told)
        except EOFError:
            self.loop.off(self.gpus.output)
            self.gpus.close()
            self.gpus, self.teller.gpus = None, ()
            if not self.blind:
                self.teller.complain(
                    "the watch over the GPUs ended; the next launch begins another"
                )
            return
        if self.gpus.before is None or not (self.run_ or self.burial):
            self.gpus.remember()
        self.teller.gpus = self.gpus.gpus

    def on_gpu(self, told: gpu_monitor.GpuNews) -> None:
        assert self.gpus
        if told.end is not None:
            self.blind = True
            self.teller.complain(f"the GPUs cannot be watched: {told.end}")
            return
        line = told.line
        members = set(self.run_.session.members()) if self.run_ else set()
        bdf, pid = told.bdf or gpu_monitor.address_in(line), gpu_monitor.pid_in(line)
        if bdf:
            ours = self.gpus.is_ours(bdf, members, self.plan.gpus)
        else:  # the kernel kills others, too
            ours = pid is None or (self.run_ is not None and pid in self.run_.met)
        self.teller.gpu(self.picture(), told, ours=ours)
        if not ours:
            return
        if self.run_:
            self.run_.kernel.append(line)
        if what := gpu_monitor.fatal(line):
            self.feed(GpuFaulted(self.clock.now(), what))

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
        before = self.state
        self.state, actions = lifecycle.step(before, event, self.policy)
        for action in actions:
            self.loop.guard(partial(self.act, action))
        moved = (self.state.name, self.state.past) != (before.name, before.past)
        if moved or self.state.reason != before.reason:
            self.loop.guard(partial(self.teller.state, self.picture(), moved=moved))
        if isinstance(event, CanaryHeard):
            self.loop.guard(partial(self.teller.canary, self.picture(), before))
        if self.run_ and not isinstance(self.state, states.Ready):
            self.run_.line.cut()  # no question of ours keeps it from going
        if moved and not isinstance(self.state, states.Starting):
            self.withdraw_key()
        if moved and isinstance(self.state, states.Ready) and self.run_:
            self.run_.session.remember()
            self.end_reading("the server was ready before")
        self.ask_for_time(event)

    def ask_for_time(self, event: Event) -> None:
        """Systemd gives a start or a stop more time as long as it moves."""
        seconds, now = timing.may_take(self.state, self.policy, event.now), event.now
        what, (last, at) = (self.state.name, seconds), self.extended
        moves = isinstance(event, Progressed) and now - at >= EXTEND_EVERY
        if seconds is not None and (what != last or moves):
            self.extended = (what, now)
            self.notifier.extend(seconds + MEMORY_WITHIN + EXTRA)

    def act(self, action: Action) -> None:
        match action, self.run_:
            case Launch(number, fresh), _:
                self.launch(number, fresh)
            case Probe(first=first), ServerRun() as run:
                self.loop.aside(partial(self.probe, run, first), partial(self.unasked, run.number))
            case Probe(number), None:
                self.unasked(number)
            case Examine(), ServerRun() as run:
                run.start = startup.proving(run.start, self.clock.now())
                self.advance(run)
                self.loop.aside(partial(self.examine, run))
            case AskCanary(_, question), ServerRun() as run:
                run.line = canary_ask.Line()
                failed = Look(Said.UNKNOWN, "it could not be asked")
                self.loop.aside(
                    partial(self.ask_canary, run, question, run.line),
                    partial(self.hear_canary, run, question, failed),
                )
            case Record(), ServerRun() as run:
                self.loop.aside(partial(self.record, run))
            case Terminate(), ServerRun(session=session) as run:
                session.terminate()
                if not self.plan.follows:  # the first node knows of its requests
                    self.loop.aside(partial(self.drain, run))
            case Leave(), ServerRun() as run:
                self.loop.aside(partial(self.leave, run))
            case Kill(), ServerRun() as run:
                run.kill()
            case ((Terminate() | Kill() | Record()), None) if self.launching:
                self.launching = None
                self.feed(Exited(self.clock.now(), None, "it was not launched yet"))

    def launch(self, number: int, fresh: bool) -> None:
        """Read and write what a launch needs of the disk, aside; `launched` goes on."""
        self.launching = Launching(number, self.clock.now())
        self.start = startup.begin(self.launching.at)
        self.loop.aside(
            partial(self.prepare, number, fresh), partial(self.not_launched, number, MemoryError())
        )

    def prepare(self, number: int, fresh: bool) -> Work:
        """In a thread of its own."""
        try:
            if fresh and number > 1 and self.is_of_another_version():
                return partial(self.hand_over, number)
            made, key = self.read_plan() if fresh else (self.plan, self.key)
            self.require_free(made)
            if made.key_config and key:
                keys.write_key(made.key_config, runtime(made.engine).key.file % key)
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            return partial(self.not_launched, number, error)
        return partial(self.launched, number, made, key)

    def is_of_another_version(self) -> bool:
        """Whether another glm5-serve made the plan: the package was upgraded.

        Raises OSError, ValueError.
        """
        made_by = plan.maker(guarded.read(self.instance.plan).decode())
        return made_by not in (None, __version__)

    def hand_over(self, number: int) -> None:
        """End, for the version that is installed now: nothing runs, and it made the plan."""
        if self.launching and self.launching.number == number:
            self.teller.complain("glm5-serve was upgraded: the new version takes over from here")
            self.is_superseded = True

    def require_free(self, made: plan.Plan) -> None:
        """Raise OSError where somebody has the server's port: now, not after minutes of loading.

        What got away from the last run, and is killed, may have it for a moment.
        """
        until = time.monotonic() + FREED_WITHIN
        while held := port.obstacle(made.host, made.port):
            if held.errno != errno.EADDRINUSE:
                return
            if time.monotonic() > until:
                raise held
            time.sleep(FREED_EVERY)

    def not_launched(self, number: int, error: Exception) -> None:
        """A host that is short of something is tried again; a plan that cannot be started says no
        for good.
        """
        if self.launching is None or self.launching.number != number:
            return
        self.launching, now = None, self.clock.now()
        self.last_error = f"cannot launch: {_in_words(error)}"
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORT):
            self.feed(LaunchFailed(now, self.last_error))
        else:
            self.feed(Exited(now, 1, self.last_error))

    def launched(self, number: int, made: plan.Plan, key: str | None) -> None:
        """Start the server, unless nobody wants it any more."""
        if self.launching is None or self.launching.number != number:
            return
        again = made is self.plan and number > 1
        if made is not self.plan:
            self.take_plan(made, key)
        hidden = {name for name in os.environ if name.startswith("GLM5_SERVE")} | set(PRIVATE)
        env = {name: value for name, value in os.environ.items() if name not in hidden}
        if self.engine.key.variable and self.key:
            env[self.engine.key.variable] = self.key
        unwanted = [self.plan.key_config] if self.plan.key_config and self.key else []
        try:
            env = _with_own_programs(env | self.plan.env, self.plan.python)
            session = ProcessTree(self.plan.argv, env, unwanted, self.engine.shared)
        except (OSError, ValueError) as error:
            self.not_launched(number, error)
            return
        self.launching = None
        allowed = self.engine.allowed(self.plan)
        self.run_ = ServerRun(
            number, session, self.log, self.start, self.engine, allowed, self.clock
        )
        self.loop.on(session.control, self.on_report)
        self.loop.on(session.output, self.on_output)
        if self.plan.nodes and not self.plan.follows:
            self.loop.aside(partial(self.look_at_nodes, self.run_, Group(self.plan)))
        self.loop.guard(self.read_ahead)
        self.log.begin(number)
        self.teller.writer.put(partial(self.instance.forget_stacks, number))
        self.teller.record(self.picture())  # with what its processes are known by
        self.watch_gpus()
        if again:
            self.loop.aside(self.same_engine)

    def read_ahead(self) -> None:
        """Have the checkpoint read into memory while the server imports, where that helps it."""
        loading = self.engine.loading(self.plan)
        if not (self.policy.read_ahead and loading.models):
            return
        if loading.against:
            self.teller.read_ahead(Told(end=loading.against), self.clock.now())
            return
        self.ahead = ReadAhead(Request.of(loading, self.plan.gpus), self.plan.env)
        self.loop.on(self.ahead.output, self.on_read_ahead)

    def on_read_ahead(self) -> None:
        assert self.ahead
        try:
            for told in filter(attrgetter("is_news"), self.ahead.hear()):
                self.teller.read_ahead(told, self.clock.now())
        except EOFError:
            self.end_reading("its reader died")

    def end_reading(self, why: str) -> None:
        """Have nothing more read; `why` is told of a reading that was under way."""
        if self.ahead is None:
            return
        ahead, self.ahead = self.ahead, None
        self.loop.off(ahead.output)
        ahead.close()
        if ahead.last.end is None and ahead.last.total:
            self.teller.read_ahead(replace(ahead.last, end=why), self.clock.now())

    # What takes its time is done aside, in a thread that hands back what the loop shall do.

    def server(self, run: ServerRun) -> Server:
        """Where its server is asked, and by which processes it is known: nobody else gets the
        key.
        """
        return Server(self.plan.host, self.plan.port, self.key, run.peer)

    def probe(self, run: ServerRun, first: bool) -> Work:
        began, lost = time.monotonic(), self.clock.lost
        answer = self.ask(run, first)
        starved = 0.0 if first else run.stood_in_line()
        now, stall_timeout = self.clock.now(), self.policy.stall_timeout
        stall_timeout = stall_timeout if answer.proves else 0.0
        if not first and answer.ok and (stuck := run.stuck(answer.loads, now, stall_timeout)):
            answer = replace(answer, ok=False, detail=stuck)
        is_no = not (first or answer.ok or answer.unknown)
        if is_no and not answer.foreign and self.engine.paused(self.server(run)):
            answer = replace(answer, excuse=PAUSED)
        excuse = answer.excuse or run.excuse_within(LOOK_WITHIN, LOOKED_FOR) if is_no else ""
        took = time.monotonic() - began
        return partial(self.probed, run, first, answer, excuse, took, starved, lost)

    def ask(self, run: ServerRun, first: bool) -> Answer:
        """Whether the run is ready, or alive; a node that follows is what the first node is."""
        if self.plan.follows:
            is_in = run.has_joined or not first
            return ask_leader(self.plan, self.engine) if is_in else Answer(False, NOT_JOINED)
        asked = self.engine.first_token if first else self.engine.alive
        return server.ask(asked, self.server(run), FIRST_WITHIN if first else LIVES_WITHIN)

    def probed(
        self,
        run: ServerRun,
        first: bool,
        answer: Answer,
        excuse: str,
        took: float,
        starved: float,
        lost: float,
    ) -> None:
        now, ok, detail = self.clock.now(), answer.ok, answer.detail
        run.heard(answer, now)
        if answer.foreign and run is self.run_ and not run.killed:  # who dies lets go of its port
            self.tell_of_stranger(answer.foreign)
        if answer.unknown or (not ok and self.clock.lost > lost):
            why = detail if answer.unknown else "the launcher did not run meanwhile"
            self.unasked(run.number, why, starved)
            return
        if not first:
            if run is self.run_:
                run.watch(self.loop, self.feed)
            self.teller.reading(took, ok)
        self.feed(ProbeResult(now, run.number, ok, detail, excuse, took=took, starved=starved))

    def look_at_nodes(self, run: ServerRun, group: Group, pause: float = 0.0) -> Work:
        """Look at the other nodes once, in a thread of its own."""
        time.sleep(pause)
        found = group.look() if self.run_ is run else {}
        absent = missing(self.plan) if run.waits_for_nodes(self.clock.now()) else []
        return partial(self.looked_at_nodes, run, group, found, absent)

    def looked_at_nodes(
        self, run: ServerRun, group: Group, found: Mapping[int, str | None], absent: list[str]
    ) -> None:
        """Tell who is missing, and who is lost; then look again."""
        if run is not self.run_:
            return
        now = self.clock.now()
        if absent and absent != run.missing:
            self.teller.complain(f"waits in the rendezvous for {', '.join(absent)}")
        run.missing = absent
        if lost := group.lost(found, now):
            self.feed(NodeLost(now, run.number, lost))
        else:
            self.loop.aside(partial(self.look_at_nodes, run, group, LOOK_EVERY))

    def tell_of_stranger(self, who: str) -> None:
        """Somebody else has the port: it is asked nothing, and the server cannot have it."""
        where = f"{self.plan.host} port {self.plan.port}"
        self.last_error = f"{where} is held by {who}, not by this server"
        self.teller.complain(f"{self.last_error}: no request and no key goes there")
        self.teller.record(self.picture())

    def unasked(
        self, number: int, why: str = "it could not be asked", starved: float = 0.0
    ) -> None:
        """A question that never left this process says nothing of the server."""
        self.teller.complain(f"the server's health is unknown: {why}")
        now = self.clock.now()
        self.feed(ProbeResult(now, number, False, why, asked=False, starved=starved))

    def examine(self, run: ServerRun, pause: float = 0.0) -> Work:
        time.sleep(pause)
        result = smoke.examine(
            self.server(run),
            self.plan.model_name,
            self.plan.smoke,
            self.plan.parsers,
            self.is_proving,
        )
        excuse = run.excuse_within(LOOK_WITHIN, LOOKED_FOR) if result.silent else ""
        return partial(self.examined, run, result, excuse)

    def is_proving(self) -> bool:
        """Whether anybody still wants to know how the smoke test goes."""
        return isinstance(self.state, states.Proving)

    def examined(self, run: ServerRun, result: smoke.Result, excuse: str) -> None:
        if run is not self.run_ or not self.is_proving():
            return
        if result.foreign:
            self.tell_of_stranger(result.foreign)
        # it dies, which is told by its death; it is not there yet; it compiles
        if result.unreachable or excuse:
            self.loop.aside(partial(self.examine, run, SMOKE_AGAIN))
            return
        wrong = not (result.ok or result.silent)
        detail = smoke.explained(result.detail, self.plan.suspects) if wrong else result.detail
        self.teller.smoke(self.picture(), run.number, result, detail)
        self.feed(SmokeResult(self.clock.now(), run.number, result.ok, detail, result.silent))

    def ask_canary(self, run: ServerRun, question: Question, line: canary_ask.Line) -> Work:
        """Ask one question, unless it need not answer now. In a thread of its own."""
        if excuse := run.excuse_within(LOOK_WITHIN, 0.0):
            return partial(
                self.hear_canary, run, question, Look(Said.UNKNOWN, f"not asked: {excuse}")
            )
        plan, lost, line_before = self.plan, self.clock.lost, run.in_line()
        look = canary_ask.look(
            canary_ask.Asked(
                self.server(run), self.engine, plan.model_name, plan.smoke, plan.parsers, line
            ),
            question,
        )
        is_starved = line_before.share(run.in_line()) >= CROWDED
        if self.clock.lost > lost or is_starved:  # how long it took is not the server's doing
            look = replace(look, tokens=0, signs=None)
        return partial(self.hear_canary, run, question, look)

    def hear_canary(self, run: ServerRun, question: Question, look: Look) -> None:
        self.feed(CanaryHeard(self.clock.now(), run.number, question, look))

    def leave(self, run: ServerRun) -> Work:
        """Wait until its gateway has let go of it, and nobody waits for an answer any more."""
        home, asked, policy = self.instance.folder.parent, self.server(run), self.plan.policy
        leaving = Leaving(home, self.plan.gateway, asked.url, self.key, reaper.descendants)
        until = time.monotonic() + policy.leave_within
        while self.run_ is run and time.monotonic() < until and not leaving.is_over():
            time.sleep(DRAINED_EVERY)
        until = time.monotonic() + policy.stop_timeout
        while self.run_ is run and time.monotonic() < until and self.engine.in_flight(asked):
            time.sleep(DRAINED_EVERY)
        return lambda: self.feed(Left(self.clock.now(), run.number))

    def drain(self, run: ServerRun) -> Work:
        """Wait until nobody waits for an answer any more; a moment longer, for one that is just
        asked for. One that does not listen yet holds none, and may not hear that it is to end:
        vLLM 0.32.0 does not while its ranks import (run).
        """
        asked, quiet = self.server(run), 0
        while quiet < DRAINED_TIMES and self.run_ is run:
            time.sleep(DRAINED_EVERY)
            clients = procfs.clients(asked.host, asked.port)
            holds = self.engine.in_flight(asked) if run.is_open or run.allowed.is_quiet else 0
            nobody = clients == 0 and holds == 0
            quiet = quiet + 1 if nobody else 0
        return partial(self.drained, run)

    def drained(self, run: ServerRun) -> None:
        """One that takes itself apart is left to it: killed meanwhile it may leave GPU memory
        behind.
        """
        if run is not self.run_:
            return
        if procfs.clients(self.plan.host, self.plan.port) != 0:  # at the last moment, or unknown
            self.loop.aside(partial(self.drain, run))
        elif not run.leaving:
            self.feed(Drained(self.clock.now(), run.number))

    def record(self, run: ServerRun) -> Work:
        """Stacks first: what the processes did is told by what they are found doing."""
        found = [run.finding(), self.gpus.in_words() if self.gpus else None]
        path = self.instance.stacks(run.number)
        members = run.session.members()
        stacks.keep(path, procfs.look(members, self.clock.now(), self.engine.ranks).members)
        hints = [
            text
            for text in self.plan.suspects
            if run.start.phase in ("distributed", "compile", "graphs", "warmup")
        ]
        told = "; ".join([*filter(None, found), *hints[:2], f"stacks in {path}"])
        run.stacks = path
        return lambda: self.feed(StacksSaved(self.clock.now(), run.number, told))

    def same_engine(self) -> Work:
        """A launch after a death does not resolve again: an engine that was upgraded meanwhile is
        worth a word.
        """
        plan, of = self.plan, self.engine
        env = {**os.environ, **plan.env}
        found = engine.release(of.package, plan.python, env) if plan.release else None
        made = f"the plan was made for {plan.release}: `glm5-serve restart` makes a new one"
        text = f"the engine is {of.name} {found} now, {made}"
        return lambda: self.teller.complain(text) if found and found != plan.release else None

    def read_plan(self) -> tuple[plan.Plan, str | None]:
        """The plan of its file, and its key.

        Raises OSError, ValueError, KeyError, TypeError or UserError.
        """
        made = plan.loads(guarded.read(self.instance.plan).decode())
        return made, keys.read_key(Path(made.key_file)) if made.key_file else None

    def take_plan(self, made: plan.Plan, key: str | None) -> None:
        """Serve by this plan from now on."""
        self.plan, self.key, self.engine = made, key, runtime(made.engine)
        self.policy = made.policy.as_follower() if made.follows else made.policy
        self.log = ServerLog(self.instance.server_log, key, self.teller.writer.put)

    def picture(self) -> Snapshot:
        session = self.run_.session if self.run_ else None
        server, record = (session.pid, session.record) if session else (None, None)
        return Snapshot(
            self.plan, self.state, self.start, server, self.last_error, self.clock.now(), record
        )


def _with_own_programs(env: dict[str, str], python: str) -> dict[str, str]:
    """The environment in which the programs beside the engine's interpreter come first: ninja, by
    which kernels are compiled, is one.
    """
    folder = python.rpartition("/")[0]
    return env | {"PATH": f"{folder}:{env.get('PATH', os.defpath)}"} if folder else env


def _in_words(error: Exception) -> str:
    """An error without its number, and with the file that it is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
