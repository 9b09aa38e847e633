"""What the kernel says of the server's processes: whether a start moves, and who must not die or be
killed.

A start that says nothing may be compiling, reading a slow disk, waiting for a processor, or hung.
The difference is in /proc: bytes read or written (compiled kernels are kept on disk), memory that
changes, processor time that anybody but a rank uses. Ranks that only spin show none of these. How
much it is does not matter: on a busy host everything is slow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from launcher.host import sockets

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
COMPILERS = {  # of CUDA kernels, whichever engine has them compiled
    "nvcc",
    "cicc",
    "ptxas",
    "ninja",
    "cc1plus",
    "cc1",
    "gcc",
    "g++",
    "ld",
    "fatbinary",
    "cudafe++",
}
# bytes of memory that count as loading; an idle interpreter's own come and go below that
GROWN = 1 << 20
# the second: closed by the client's side alone
_WAITING = (
    sockets.ESTABLISHED,
    sockets.CLOSE_WAIT,
)
BUSY = 0.5  # of one processor: a rank that uses so much while nothing moves spins
STARVED = 0.5  # of the time spent in line for a processor


@dataclass(frozen=True)
class Member:
    """One process: `cpu` seconds used, bytes `resident`, and those `read` and `written`; `state` as
    ps has it.

    `waited`: seconds that its first thread stood in line for a processor, 0 where the kernel does
    not count them.
    """

    pid: int
    name: str
    state: str
    cpu: float
    resident: int
    read: int
    traced_by: int
    written: int = 0
    waited: float = 0.0
    is_rank: bool = False  # the engine dies with it


@dataclass(frozen=True)
class Vitals:
    """All of them at one moment (`at`: monotonic seconds)."""

    at: float
    members: tuple[Member, ...]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    fields = _stat(pid)
    return fields is not None and fields[1] != "Z"


def name_of(pid: int, ranks: str) -> str:
    """What a process calls itself: engines write a title (`sglang::scheduler_TP3`) that begins with
    `ranks` over the command line of those that they cannot live without; else its name.
    """
    fields = _stat(pid)
    return _name(pid, fields, ranks) if fields else ""


def is_rank(pid: int, ranks: str) -> bool:
    """Whether the engine dies with it.

    What a rank has just forked has its title until it runs something else.
    """
    fields = _stat(pid)
    if fields is None:
        return False
    name = _name(pid, fields, ranks)
    return name.startswith(ranks) and name != name_of(int(fields[2]), ranks)


def clients(host: str, port: int) -> int | None:
    """How many connections to a server that listens there are open to somebody who may still wait
    for an answer.

    A proxy may have the same port of another address of this host: its clients are not counted.
    None where it could not be looked up: no descriptor or memory left, no /proc, a resolver that
    fails. That is not nobody.
    """
    try:
        ours = sockets.bound(host)
        open_ = (
            row
            for table in sockets.TABLES
            for row in sockets.rows(table, port)
            if row.state in _WAITING
        )
        # The table moves while it is read, and may show one socket twice.
        return len(
            {(row.address, row.peer) for row in open_ if ours is None or row.address in ours}
        )
    except (OSError, ValueError, LookupError, MemoryError):
        return None


def look(pids: Iterable[int], at: float, ranks: str) -> Vitals:
    """Those of `pids` that live; `ranks` is how the titles of some begin. Never raises."""
    return Vitals(at, tuple(member for pid in pids if (member := _member(pid, ranks))))


def _stat(pid: int) -> list[str] | None:
    """A process's name, and what `stat` says after it: its state, its parent."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    return [head.partition("(")[2], *tail.split()]


def _name(pid: int, fields: list[str], ranks: str) -> str:
    comm, started = fields[0], fields[20]
    return _title(pid, started, comm) if comm.startswith(ranks) else comm


@lru_cache(maxsize=256)
def _title(pid: int, started: str, comm: str) -> str:
    """The whole of a name of which the kernel keeps 15 letters.

    Read once: a command line lies in the process's own memory, and whoever reads it waits as long
    as a driver holds that.
    """
    with contextlib.suppress(OSError):
        title = (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .split(b"\0")[0]
            .decode(errors="replace")
            .strip()
        )
        return title if title.startswith(comm) else comm
    return comm


def _member(pid: int, ranks: str) -> Member | None:
    fields = _stat(pid)
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    if fields is None:
        return None
    tracer = next(
        (int(line.split()[1]) for line in status.splitlines() if line.startswith("TracerPid")), 0
    )
    cpu = (int(fields[12]) + int(fields[13])) / TICK
    read, written = _disk(pid)
    resident = int(fields[22]) * PAGE
    name, waited = _name(pid, fields, ranks), _waited(pid)
    is_rank = name.startswith(ranks)
    return Member(
        pid, name, fields[1], cpu, resident, read, tracer, written, waited, is_rank=is_rank
    )


def _waited(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _disk(pid: int) -> tuple[int, int]:
    """Bytes read from and written to disks, so far; 0 when it may not be known."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0, 0
    counts = dict(line.split(": ") for line in lines)
    return int(counts.get("read_bytes", 0)), int(counts.get("write_bytes", 0))


def signs(before: Vitals, after: Vitals, phase: str) -> str | None:
    """What shows that the start moved between two looks; None if nothing does."""
    old = {member.pid: member for member in before.members}
    pairs = [(old[member.pid], member) for member in after.members if member.pid in old]
    if len(pairs) != len(after.members) or len(pairs) != len(before.members):
        return "processes came or went"
    if any(new.read > was.read for was, new in pairs):
        return "reads from disk"
    if any(new.written > was.written for was, new in pairs):
        return "writes to disk"
    if sum(abs(new.resident - was.resident) for was, new in pairs) >= GROWN:
        return "its memory changes"
    works = [
        new for was, new in pairs if new.cpu > was.cpu and (phase == "process" or not new.is_rank)
    ]
    if compiler := next((member.name for member in works if member.name in COMPILERS), None):
        return f"compiles ({compiler})"
    if works:
        return "uses the processor" if phase == "process" else "a helper process works"
    return starved(before, after)


def starved(before: Vitals, after: Vitals) -> str | None:
    """The process that stood in line for a processor most of the time between two looks; None if
    none did.
    """
    old, spent = {member.pid: member for member in before.members}, after.at - before.at
    for member in after.members:
        share = (
            (member.waited - old[member.pid].waited) / spent
            if member.pid in old and spent > 0
            else 0.0
        )
        if share >= STARVED:
            return (
                f"the host is short of processors: {member.name} waited for one {100 * share:.0f} %"
                " of the time"
            )
    return None


@dataclass(frozen=True)
class InLine:
    """Seconds that the first thread of each rank has stood in line for a processor by the moment
    `at`; nothing where the kernel does not count them.
    """

    at: float
    waited: Mapping[int, float] = field(default_factory=dict)

    def until(self, after: InLine) -> float:
        """Seconds between both in which the rank that had to wait longest wanted a processor and
        had none.

        A rank at work, and one that spins in a hang, wants its processor all the time; one that
        waits for somebody, or was stopped, stands in no line.
        """
        both = self.waited.keys() & after.waited.keys()
        longest = max((after.waited[pid] - self.waited[pid] for pid in both), default=0.0)
        return max(0.0, min(longest, after.at - self.at))

    def share(self, after: InLine) -> float:
        """The share of the time between both that this was."""
        return self.until(after) / max(after.at - self.at, 0.001)


def in_line(pids: Iterable[int], at: float, ranks: str) -> InLine:
    """How long those of `pids` that are ranks have stood in line. Never raises."""
    return InLine(at, {pid: _waited(pid) for pid in pids if is_rank(pid, ranks)})


def finding(before: Vitals, after: Vitals) -> str:
    """What processes did between two looks, for whoever must find out why they do not move."""
    old = {member.pid: member for member in before.members}
    pairs = [(old[member.pid], member) for member in after.members if member.pid in old]
    ranks = [member for member in after.members if member.is_rank]
    kind, ranks = ("ranks", ranks) if ranks else ("processes", list(after.members))
    spent = max(after.at - before.at, 0.001)
    shares = [(member.cpu - old[member.pid].cpu) / spent for member in ranks if member.pid in old]
    parts = []
    if stopped := [member.name for member in after.members if member.state == "T"]:
        parts.append(f"{', '.join(stopped)} stopped by a signal")
    if asleep := [member.name for member in after.members if member.state == "D"]:
        parts.append(
            f"{', '.join(asleep)} in uninterruptible sleep: a driver or a disk does not answer"
        )
    spinning = [share for share in shares if share >= BUSY]
    if spinning:
        parts.append(
            f"{len(spinning)} of {len(ranks)} {kind} spin at"
            f" {100 * sum(spinning) / len(spinning):.0f} % CPU"
        )
    elif short := starved(before, after):
        parts.append(short)
    elif shares and not parts:
        parts.append(f"{len(ranks)} {kind} wait, none uses the processor")
    read = sum(new.read - was.read for was, new in pairs)
    written = sum(new.written - was.written for was, new in pairs)
    disk = (
        f"{read / 2**20:.1f} MiB read, {written / 2**20:.1f} MiB written"
        if read or written
        else None
    )
    compilers = sorted({member.name for member in after.members if member.name in COMPILERS})
    at_work = f"{', '.join(compilers)} at work" if compilers else "no compiler at work"
    parts.append(f"{disk or 'no disk read or written'}, {at_work}")
    return f"{'; '.join(parts)} (seen for {spent:.0f} s)"


def debugger(seen: Vitals) -> str | None:
    """Who holds one of the processes from outside, in words.

    A server that traces itself waits for nobody.
    """
    pids = {member.pid for member in seen.members}
    for member in seen.members:
        if member.traced_by and member.traced_by not in pids and is_alive(member.traced_by):
            name, *_ = _stat(member.traced_by) or [""]
            tracer = f"{name}, {member.traced_by}"
            return f"{member.name} ({member.pid}) is under a debugger: {tracer}"
    return None


def compiler(before: Vitals, after: Vitals) -> str | None:
    """The compiler that used the processor between two looks, or came and did; not one that is only
    called so.
    """
    used = {(member.pid, member.name): member.cpu for member in before.members}
    return next(
        (
            member.name
            for member in after.members
            if member.name in COMPILERS and member.cpu > used.get((member.pid, member.name), 0.0)
        ),
        None,
    )
