"""What the kernel says of the server's processes: whether a start moves, and who must not die or be killed.

A start that says nothing may be compiling, reading a slow disk, or hung. The difference is in /proc: bytes read
or written (compiled kernels are kept on disk), memory that grows, helpers that use the processor. Ranks that only
spin show none of these.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
TITLE = "sglang::"  # how SGLang names the processes that it cannot live without
COMPILERS = {"nvcc", "cicc", "ptxas", "ninja", "cc1plus", "cc1", "gcc", "g++", "ld", "fatbinary", "cudafe++"}
READ = 1 << 20  # bytes between two looks that count as reading
GROWN = 8 << 20  # bytes of memory that count as loading
_WAITING = ("01", "08")  # established; closed by the client's side alone (linux/net/tcp_states.h)
BUSY = 0.5  # of one processor that counts as working


@dataclass(frozen=True)
class Member:
    """One process: `cpu` seconds used, bytes `resident`, and those `read` and `written`; `state` as ps has it."""

    pid: int
    name: str
    state: str
    cpu: float
    resident: int
    read: int
    traced_by: int
    written: int = 0

    @property
    def is_rank(self) -> bool:
        """Whether SGLang dies with it: a scheduler, the detokenizer, a controller."""
        return self.name.startswith(TITLE)


@dataclass(frozen=True)
class Vitals:
    """All of them at one moment (`at`: monotonic seconds)."""

    at: float
    members: tuple[Member, ...]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    found = _member(pid)
    return found is not None and found.state != "Z"


def name_of(pid: int) -> str:
    """What a process calls itself: SGLang writes `sglang::scheduler_TP3` over its command line; else its name."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        comm = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""
    return title.strip() if title.startswith(TITLE) else comm


def clients(port: int) -> int:
    """How many connections to `port` of this host are open to somebody who may still wait for an answer."""
    found = 0
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                local, _, state = line.split()[1:4]
                found += state in _WAITING and int(local.rpartition(":")[2], 16) == port
    return found


def look(pids: Iterable[int], at: float) -> Vitals:
    """Those of `pids` that live. Never raises."""
    return Vitals(at, tuple(member for pid in pids if (member := _member(pid))))


def _member(pid: int) -> Member | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    tracer = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("TracerPid")), 0)
    cpu = (int(fields[11]) + int(fields[12])) / TICK
    read, written = _disk(pid)
    state, resident = fields[0].decode(), int(fields[21]) * PAGE
    return Member(pid, name_of(pid), state, cpu, resident, read, tracer, written)


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
    if sum(new.read - was.read for was, new in pairs) >= READ:
        return "reads from disk"
    if any(new.written > was.written for was, new in pairs):
        return "writes to disk"
    if sum(abs(new.resident - was.resident) for was, new in pairs) >= GROWN:
        return "its memory changes"
    spent = max(after.at - before.at, 0.001)
    works = [new for was, new in pairs if (new.cpu - was.cpu) / spent >= BUSY]
    if compiler := next((member.name for member in works if member.name in COMPILERS), None):
        return f"compiles ({compiler})"
    if any(not member.is_rank for member in works) and phase != "process":
        return "a helper process works"
    if works and phase == "process":
        return "uses the processor"
    return None


def finding(before: Vitals, after: Vitals) -> str:
    """What processes did that do not move, for whoever must find out why."""
    old = {member.pid: member for member in before.members}
    ranks = [member for member in after.members if member.is_rank] or list(after.members)
    spent = max(after.at - before.at, 0.001)
    shares = [(member.cpu - old[member.pid].cpu) / spent for member in ranks if member.pid in old]
    parts = []
    if stopped := [member.name for member in after.members if member.state == "T"]:
        parts.append(f"{', '.join(stopped)} stopped by a signal")
    if asleep := [member.name for member in after.members if member.state == "D"]:
        parts.append(f"{', '.join(asleep)} in uninterruptible sleep: a driver or a disk does not answer")
    spinning = [share for share in shares if share >= BUSY]
    if spinning:
        parts.append(
            f"{len(spinning)} of {len(ranks)} ranks spin at {100 * sum(spinning) / len(spinning):.0f} % CPU"
        )
    elif shares and not parts:
        parts.append(f"{len(ranks)} ranks wait, none uses the processor")
    parts.append("no disk read or written, no compiler at work")
    return "; ".join(parts)


def excuse(seen: Vitals) -> str | None:
    """Why a server that does not answer is not to be killed; None if there is no reason."""
    for member in seen.members:
        if member.traced_by:
            tracer = f"{name_of(member.traced_by)}, {member.traced_by}"
            return f"{member.name} ({member.pid}) is under a debugger: {tracer}"
    if compiler := next((member.name for member in seen.members if member.name in COMPILERS), None):
        return f"it compiles ({compiler})"
    return None
