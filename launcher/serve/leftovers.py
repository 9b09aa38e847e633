"""What is left of a server whose launcher, and its reaper, were killed: found by what both wrote
down, and killed.

The state file's `session` says what marks its processes: a word in their environment, the pipe that
they print to, the session of the reaper, and the cgroup, where they were given one. SGLang's ranks
write their title over their environment, and whoever detaches leaves the session; so one mark is
enough, and children go with their parents. The word begins with what stands in the lock since
before the launch: of a launcher that was killed before it wrote its state that leads to the first
ones, and their session to the others.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import printable
from launcher.serve.reaper import SharedMemory
from launcher.statedir.session import Session

VARIABLE = "GLM5_SERVE_SESSION"
CGROUPS = Path("/sys/fs/cgroup")
PAUSE = 0.05  # seconds between looks at those that are being killed
QUIET = 2  # looks in a row that find nobody, before all are gone
LOOKS = 20  # how often at most it is looked for those that were born during a look


@dataclass(frozen=True)
class Member:
    """A process of a session.

    With its start (clock ticks since boot) it is named for good: pids are reused.
    """

    pid: int
    ticks: int
    name: str

    def __str__(self) -> str:
        return f"{self.pid} {self.name}"


@dataclass(frozen=True)
class _Process:
    member: Member
    parent: int
    session: int
    marked: bool
    claimed: bool = False  # by the word that its launcher's marks begin with


def find(
    session: Session,
    known: Collection[Member] = (),
    meet: Callable[[Member], None] | None = None,
) -> list[Member]:
    """The living processes of a session, by pid; those `known` to be of it, and what came of them,
    too.

    Each that bears a mark is met at once: it may be gone a moment later.
    """
    if session.boot_id != _boot_id():  # what was told is of another boot; a claim is of one alone
        session = Session(claim=session.claim)
    if session == Session():
        return []
    processes: dict[int, _Process] = {}
    for process in _processes(session):
        processes[process.member.pid] = process
        if process.marked and meet:
            meet(process.member)
    found = {pid for pid, process in processes.items() if process.marked or process.member in known}
    reaper = session.reaper
    if _is_sound(reaper, session, processes) or any(
        processes[pid].session == reaper for pid in found
    ):
        found |= {pid for pid, process in processes.items() if reaper in (pid, process.session)}
    theirs = _claimed_sessions(processes, found)
    found |= {pid for pid, process in processes.items() if process.session in theirs}
    found = _with_descendants(found, processes) - {os.getpid()}
    return [processes[pid].member for pid in sorted(found)]


def stay(session: Session, within: float) -> list[Member]:
    """Those of a session that are still there after so many seconds: a reaper may be at work."""
    end = time.monotonic() + within
    while (left := find(session)) and time.monotonic() < end:
        time.sleep(PAUSE)
    return left


def kill(session: Session, within: float) -> tuple[list[Member], list[Member]]:
    """Kill what is left of a session within so many seconds: those that were found, and that still
    live.

    All are stopped before any is killed, so that none forks meanwhile.
    """
    met: set[Member] = set()
    memory = SharedMemory(session.shared)
    end, quiet = time.monotonic() + within, 0
    while quiet < QUIET:
        left = find(session, met, _stop)
        quiet = 0 if left else quiet + 1
        _kill_cgroup(session, left)
        fresh = {*left} - met
        met |= fresh
        for member in fresh:
            _stop(member)
        is_over = time.monotonic() > end
        if not fresh or is_over:  # all are stopped, and nobody came after
            memory.look(lambda: [member.pid for member in left])  # noqa: B023  not kept
            for member in left:
                _signal(member, signal.SIGKILL)
            time.sleep(PAUSE)
        if is_over:
            break
    memory.remove()
    return sorted(met, key=lambda member: member.pid), find(session, met)


def in_words(members: Collection[Member], most: int = 8) -> str:
    """Processes with their numbers and names, as a message has them."""
    named = ", ".join(str(member) for member in list(members)[:most])
    return named if len(members) <= most else f"{named} and {len(members) - most} more"


def _mark(pid: int) -> str:
    """The word in its environment; "" without one."""
    with contextlib.suppress(OSError):
        for word in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = word.partition(b"=")
            if name == VARIABLE.encode():
                return value.decode(errors="replace")
    return ""


def _prints_to(pid: int, pipe: str | None) -> bool:
    for descriptor in (1, 2) if pipe else ():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{descriptor}") == pipe:  # noqa: PTH115  a pipe is no path
                return True
    return False


def _is_sound(reaper: int | None, session: Session, processes: Mapping[int, _Process]) -> bool:
    """Whether the reaper is the process that it was; else its number may be another's."""
    found = processes.get(reaper) if reaper is not None else None
    return found is not None and found.member.ticks == session.reaper_ticks


def _claimed_sessions(processes: Mapping[int, _Process], found: set[int]) -> set[int]:
    """The sessions that those made which bear the claim.

    A session is another's whose leader lives and is not of it, is of another PID namespace (0), or
    died and left somebody who was there before all that bear the claim.
    """
    claimed = [process for process in processes.values() if process.claimed]
    first = min((process.member.ticks for process in claimed), default=0)
    before = {one.session for one in processes.values() if one.member.ticks < first}
    return {one.session for one in claimed} - (processes.keys() - found) - before - {0}


def _with_descendants(found: set[int], processes: Mapping[int, _Process]) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    met, todo = set(found), list(found)
    while todo:
        fresh = [child for child in children.get(todo.pop(), ()) if child not in met]
        met.update(fresh)
        todo += fresh
    return met


def _processes(session: Session) -> Iterator[_Process]:
    """All that live, of this user, or of anybody for root.

    The youngest come first, and those that were born meanwhile after: some live for milliseconds.
    """
    seen: set[int] = set()
    for _ in range(LOOKS):
        fresh = {
            int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()
        } - seen
        for pid in sorted(fresh, reverse=True):
            with contextlib.suppress(OSError, ValueError, IndexError):
                if (process := _process(pid, session)) and _is_ours(pid):
                    yield process
        if not fresh:
            return
        seen |= fresh


def _process(pid: int, session: Session) -> _Process | None:
    """None for one that is dead.

    A zombie whose other threads live on holds its memory, and can be killed.
    """
    before, _, after = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")
    fields = after.split()
    if fields[0] == b"X" or (fields[0] == b"Z" and int(fields[17]) < 2):
        return None
    name = printable.line(before.partition(b"(")[2].decode(errors="replace"))
    member = Member(pid, int(fields[19]), name)
    made = _Process(member, int(fields[1]), int(fields[3]), False)
    if pid == os.getpid() or session == Session():
        return made
    mark = _mark(pid)
    claimed = bool(session.claim) and mark.startswith(f"{session.claim}.")
    marked = claimed or bool(mark and mark == session.mark) or _prints_to(pid, session.output)
    return replace(made, marked=marked, claimed=claimed)


def _is_ours(pid: int) -> bool:
    if os.geteuid() == 0:
        return True
    told = Path(f"/proc/{pid}/status").read_bytes().partition(b"\nUid:")[2].split()
    return int(told[1]) == os.geteuid()


def _stop(member: Member) -> None:
    _signal(member, signal.SIGSTOP)


def _signal(member: Member, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):  # it is dead, or became another user's
        pidfd = os.pidfd_open(member.pid)
        try:
            process = _process(member.pid, Session())
            if process and process.member.ticks == member.ticks:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _kill_cgroup(session: Session, left: Collection[Member]) -> None:
    """Have the kernel kill all at once, where the session has a cgroup with nobody else in it."""
    if not session.cgroup:
        return
    cgroup = CGROUPS / session.cgroup.removeprefix(str(CGROUPS)).lstrip("/")
    with contextlib.suppress(OSError, ValueError):
        there = {int(pid) for pid in (cgroup / "cgroup.procs").read_text().split()}
        if there and there <= {member.pid for member in left}:
            (cgroup / "cgroup.kill").write_text("1")


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
