"""One run of the server, watched: its session, what it prints, who of it must live, and how it
ended.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.engines import activity, startup, witness
from launcher.engines.activity import Allowed, Load
from launcher.engines.runtime import Runtime
from launcher.engines.server import PAUSED, Answer
from launcher.host.peer import Peer
from launcher.serve import procfs, waits
from launcher.serve.canary_ask import Line
from launcher.serve.clock import Clock
from launcher.serve.events import Event, Exited, Progressed, RankDied, ReadyHinted, RestartAdvice
from launcher.serve.logfile import ServerLog
from launcher.serve.loop import Loop
from launcher.serve.session import Died, ProcessTree

if TYPE_CHECKING:
    from launcher.diagnose.verdict import Diagnosis

LOOK_EVERY = 2.0  # seconds between looks at the processes of a start
SAMPLED = 1.0  # seconds that its processes are looked at for, when nobody did before
STALE = 60.0  # seconds after which a look at them tells nothing of what they do now
JOIN_WITHIN = 5.0  # seconds of the rendezvous before it is told who is missing
LOOKED_AT = 1000  # characters of a line; whatever is understood stands before
STIR_EVERY = 1.0  # seconds between two words to the machine that it works


@dataclass
class ServerRun:
    """Run `number`, from its launch to its last process. Times are seconds of `clock`."""

    number: int
    session: ProcessTree
    log: ServerLog
    start: startup.Start
    engine: Runtime
    allowed: Allowed = field(default_factory=Allowed)
    clock: Clock = field(default_factory=Clock)
    confirmed: float = 0.0  # when an answer last showed that it works; 0: none did yet
    kernel: list[str] = field(default_factory=list)  # what the kernel said meanwhile
    flow: activity.Activity = field(default_factory=activity.Activity)
    paused: bool = False
    leaving: bool = False
    killed: bool = False  # by us: who dies from then on tells nothing
    lost: list[str] = field(default_factory=list)
    met: set[int] = field(default_factory=set)  # every process that was ever seen of it
    missing: list[str] = field(default_factory=list)  # nodes that did not join, in words
    line: Line = field(default_factory=Line)  # by which its canary asks
    stacks: Path | None = None  # where its stacks were kept, if it hung
    peer: Peer = field(init=False)  # by which its server is known from a stranger
    _seen: procfs.Vitals | None = None
    _still: procfs.Vitals | None = None  # the look since which nothing moved
    _look_at: float = 0.0
    _in_line: procfs.InLine | None = None  # at the last look
    starved: float = 0.0  # seconds that a rank which wanted a processor had none, since it serves
    _excused_at: procfs.Vitals | None = None  # the look when it was last asked for an excuse
    _compiles: tuple[float, float] | None = None  # since when, and until when, that was one
    _lines: int = 0
    _listens_at: int | None = (
        None  # the number of the line from which on clients have a say in the log
    )
    _stirred: float = 0.0
    _watched: dict[int, int] = field(default_factory=dict)  # pid -> pidfd

    def __post_init__(self) -> None:
        self.peer = Peer(self.session.members)

    @property
    def is_open(self) -> bool:
        """Whether clients may have reached it: it listens by its own word, or answered."""
        return self.start.listens or self.confirmed > 0

    @property
    def has_joined(self) -> bool:
        """Whether it is past finding the other nodes, if there are any."""
        phases = self.engine.log.phases
        return phases.index(self.start.phase) > phases.index("distributed")

    def waits_for_nodes(self, now: float) -> bool:
        """Whether it has looked for them for longer than those that are there need."""
        began = self.start.began.get("distributed")
        return not self.has_joined and began is not None and now - began >= JOIN_WITHIN

    # What it prints.

    def read(self, now: float, *, whole: bool = False) -> Iterator[Event]:
        """Take in what it printed since, as much as its pipe holds; `whole`: and a last line
        without an end.

        Not more: others get their turn, and who else has the pipe open may fill it for ever.
        """
        for piece in self.session.pieces():
            for line in self.log.feed(piece):
                yield from self._read_line(line, now)
        for line in self.log.flush() if whole else ():
            yield from self._read_line(line, now)

    def _read_line(self, line: str, now: float) -> Iterator[Event]:
        before, line = self.start, line[:LOOKED_AT]
        self._lines += 1
        if self.allowed.pauses and (paused := self.engine.log.pause(line)) is not None:
            self.paused = paused
        if witness.is_access(line):  # whatever stands in it, a client wrote
            return
        log, told = self.engine.log, witness.said(line)
        self.start = startup.read(before, line, now, log)
        if self.start.listens and self._listens_at is None:
            self._listens_at = self._lines
        self.leaving |= activity.is_draining(told, log)
        if self.start.fired_up and not before.fired_up:
            yield ReadyHinted(now)
        largest = min(
            filter(None, (self.allowed.batch, self.start.prefill)), default=activity.LARGEST_BATCH
        )
        patience = activity.expected_silence(told, log, largest)
        # Until it listens any line is a sign of life; then one that tells of work, for as long as
        # it is confirmed.
        is_word = patience is not None and (not self.confirmed or self._is_confirmed(now))
        sign = is_word or not (self.is_open or witness.is_about_a_request(line))
        if sign and (
            before.phase != self.start.phase or patience or now - self._stirred >= STIR_EVERY
        ):
            self._stirred = now
            yield Progressed(now, self.number, self.start.phase, now + (patience or 0.0))

    # What its processes do.

    def look(self, now: float) -> Iterator[Event]:
        """Look at the processes of a start when it is time, and tell whether they move."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        members = self.session.members()
        self.met |= {*members}
        before, self._seen = self._seen, procfs.look(members, now, self.engine.ranks)
        if before is not None:
            self.start = startup.waited(self.start, waits.between(before, self._seen))
        if before is None or procfs.signs(before, self._seen, self.start.phase):
            self._still = self._seen
            yield Progressed(now, self.number, self.start.phase)

    def finding(self) -> str:
        """What the processes do, in words: since a start last moved, else for the second that this
        takes.
        """
        now, before = self.clock.now(), self._still
        looked_at = self._seen.at if self._seen else 0.0
        if before is None or now - before.at < SAMPLED or now - looked_at > 2 * LOOK_EVERY:
            before = procfs.look(self.session.members(), now, self.engine.ranks)
            time.sleep(SAMPLED)
        return procfs.finding(
            before, procfs.look(self.session.members(), self.clock.now(), self.engine.ranks)
        )

    def watch(self, loop: Loop, feed: Callable[[Event], None]) -> None:
        """Have the kernel tell at once when a process dies that the server cannot live without."""
        members = self.session.members()
        self.met |= {*members}
        for pid in members:
            if pid not in self._watched and procfs.is_rank(pid, self.engine.ranks):
                with contextlib.suppress(OSError):
                    self._watched[pid] = pidfd = os.pidfd_open(pid)
                    name = procfs.name_of(pid, self.engine.ranks)
                    loop.on(pidfd, partial(self._died, pid, name, loop, feed))

    def _died(self, pid: int, name: str, loop: Loop, feed: Callable[[Event], None]) -> None:
        if pid not in self._watched:  # its death and the end of the run came at once
            return
        self._let_go(pid, loop)
        if self.killed:
            return
        server = self.session.pid
        who = name if server and procfs.is_alive(server) else "the server"  # its ranks die with it
        self.lost.append(who)
        feed(RankDied(self.clock.now(), self.number, who))

    def _let_go(self, pid: int, loop: Loop) -> None:
        pidfd = self._watched.pop(pid)
        loop.off(pidfd)
        os.close(pidfd)

    def excuse(self, wait: float = 0.0) -> str:
        """Why it need not answer now: it is paused, under a debugger, or compiles; empty if nothing
        excuses it.

        `wait`: seconds that a second look at a compiler may take, where the last one is too old to
        compare with.
        """
        before, now = self._excused_at, self.clock.now()
        seen = procfs.look(self.session.members(), now, self.engine.ranks)
        if before is None or now - before.at > STALE:
            before = seen
            if wait and any(member.name in procfs.COMPILERS for member in seen.members):
                time.sleep(wait)
                now = self.clock.now()
                seen = procfs.look(self.session.members(), now, self.engine.ranks)
        self._excused_at = seen
        if self.paused and self._is_confirmed(now):
            return PAUSED
        return procfs.debugger(seen) or self._compiling(procfs.compiler(before, seen), now)

    def heard(self, answer: Answer, now: float) -> None:
        """Take in what it answered. A pause that it told of itself lasts until it works again: a
        question that was under way when it began makes it call itself unhealthy.
        """
        is_paused = answer.excuse == PAUSED
        self.confirmed = now if answer.ok or is_paused else self.confirmed
        if is_paused or (answer.ok and not self.allowed.pauses):
            self.paused = is_paused

    def _is_confirmed(self, now: float) -> bool:
        """Whether an answer showed not too long ago that it works; the log alone may be written by
        its clients.
        """
        return now - self.confirmed <= activity.patience(self.start.context)

    def _compiling(self, compiler: str | None, now: float) -> str:
        """The excuse that a compiler is, for as long as the plan has patience with one."""
        if compiler is None:
            return ""
        since, until = self._compiles or (now, now)
        since = now if now - until > self.allowed.compiling else since
        if now - since > self.allowed.compiling:
            return ""
        self._compiles = since, now
        return f"it compiles ({compiler})"

    def excuse_within(self, seconds: float, wait: float) -> str:
        """The excuse, if it is found so soon: a driver may hold whoever looks at its processes for
        ever.
        """
        found: list[str] = []
        looks = threading.Thread(target=lambda: found.append(self.excuse(wait)), daemon=True)
        looks.start()
        looks.join(seconds)
        return found[0] if found else ""

    def in_line(self) -> procfs.InLine:
        """How long its ranks have stood in line for a processor, by now."""
        return procfs.in_line(self.session.members(), self.clock.now(), self.engine.ranks)

    def stood_in_line(self) -> float:
        """Seconds since the last look in which the rank that had to wait longest for a processor
        stood in line for one; 0 at the first look.

        Silence is counted without them: on a host that gives a server a tenth of what it wants, it
        moves a tenth as fast, and starting it again helps nobody. A rank that hangs and spins is
        found all the same, as much later; one that waits asleep, or was stopped, at once.
        """
        before, self._in_line = self._in_line, self.in_line()
        starved = before.until(self._in_line) if before else 0.0
        self.starved += starved
        return starved

    def stuck(self, loads: Sequence[Load], now: float, stall_timeout: float) -> str | None:
        """The replica that has requests and moves nothing, in words, by one more look at loads."""
        given = now - self.starved
        self.flow = activity.update(self.flow, loads, given)
        return self.flow.stuck(given, stall_timeout)

    # How it ended.

    def kill(self) -> None:
        """SIGKILL to every process of it."""
        self.killed = True
        self.session.kill()

    def forget(self, loop: Loop) -> None:
        """Watch nobody any more."""
        for pid in list(self._watched):
            self._let_go(pid, loop)

    def judge(self, now: float) -> tuple[str | None, Diagnosis]:
        """Why it ended: the error in its own words, and what is known of such an end."""
        from launcher.diagnose.diagnosis import diagnose

        return startup.cause(self.start, now), diagnose(self.log.tail, self.kernel)

    def gone(self, died: Died, error: str | None, why: Diagnosis, now: float) -> Exited:
        """The event for the machine.

        What ends the service for good wants a witness that no client can be: the kernel, or the log
        of a start from before anybody could send it a request.
        """
        is_final = why.origin == "kernel" or (why.then == "never" and self._is_early(why))
        fate = RestartAdvice(why.then) if why.is_known and is_final else RestartAdvice.AGAIN
        said = (why.in_short if why.is_known else None) if fate is not RestartAdvice.AGAIN else None
        said = said or (why.in_short if why.is_known and error else error)
        how = f"{died.how} ({said})" if said else died.how
        if why.family == "killed":  # so it says nothing of the next start, whatever it ended with
            return Exited(now, None, how, advice=fate)
        return Exited(now, died.status, how, said, fate)

    def _is_early(self, why: Diagnosis) -> bool:
        """Whether it was said before clients had a say in the log: while it did not listen, by its
        own word.
        """
        if self.confirmed or self.start.fired_up or self.allowed.is_quiet:
            return False
        line = self._lines - len(self.log.tail) + why.line
        return self._listens_at is None or line < self._listens_at
