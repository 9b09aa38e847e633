"""Reads a checkpoint into the page cache while its engine imports: a program of its own, because a
disk may hang.

    python -P -m launcher.serve.readahead_child REQUEST

REQUEST is `readahead.Request` as JSON. It ends when its stdin is closed, which the kernel does when
the launcher is gone. On stdout a line of JSON (`readahead.Told`) every half second, and a last one
with `end`.

Four threads of preadv take pieces of one file after the other, each into a buffer of its own that
it uses again: the pages stay, and nothing else of it. What is cached is not read: one page in each
window is asked for without waiting (RWF_NOWAIT), which is right for anybody, unlike cachestat(2)
and mincore(2), and is asked once, as the question itself starts a little reading. It stops where
memory ends (`host/collectors/room.py`): beyond that it would push out what it has read. It is no
nicer than others: what it reads is what the start waits for.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from launcher.files.reading import reason
from launcher.host.collectors.room import Room, room
from launcher.serve.readahead import NOT_ALL, Request, Told
from launcher.serve.readahead_files import IN_MEMORY, Shard, broken, file_system, files, is_far

THREADS = 4
PIECE = 4 << 20  # bytes read at once
WINDOW = 16 << 20  # bytes that one page is asked for
ASKED = WINDOW * 3 // 4  # where: behind what reading a header reads ahead
PAGE = mmap.PAGESIZE
WORTH = 64 << 20  # bytes; less is read in no time
TELL_EVERY = 0.5  # seconds
SPARED = 0.1  # of what is available, as vLLM's own rule of its prefetching has it
NAMED = 3  # files of those that are missing or not whole
A_RANK = 2 << 30  # bytes of the host's memory that a rank takes: pinned buffers, CUDA


@dataclass
class Opened:
    """A file that is read: from where on, how many of its pieces are not back, and whether more are
    given out.
    """

    shard: Shard
    descriptor: int
    offset: int
    out: int = 0
    is_over: bool = False

    def close(self) -> None:
        """Let go of it once nobody reads it any more."""
        if self.is_over and not self.out:
            os.close(self.descriptor)


@dataclass
class Reader:
    """What is to be read, and how far it is; bytes."""

    todo: deque[Shard]
    limit: int
    read: int = 0
    cached: int = 0
    passed: int = 0  # that are in memory now, or will be soon
    is_full: bool = False
    failed: dict[str, str] = field(default_factory=dict)  # files that could not be read, and why
    now: Opened | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        """Read piece after piece, in a thread of its own."""
        buffer = memoryview(mmap.mmap(-1, PIECE))
        while piece := self.take():
            opened, offset, size = piece
            try:
                got = os.preadv(opened.descriptor, [buffer[:size]], offset)
            except OSError as error:
                self.give_back(opened, 0, f"cannot be read: {reason(error)}")
            else:
                self.give_back(opened, got, "" if got == size else _shorter(opened))

    def take(self) -> tuple[Opened, int, int] | None:
        """The next piece: its file, offset and size; None once there is none, or no room."""
        with self.lock:
            while self.now or self.todo:
                if self.passed >= self.limit:
                    self.is_full = True
                    return None
                self.now = self.now or self.open(self.todo.popleft())
                if self.now and (piece := self.piece_of(self.now)):
                    return piece
            return None

    def piece_of(self, opened: Opened) -> tuple[Opened, int, int] | None:
        """The next piece of a file; None, and the next file's turn, behind its end."""
        left = opened.shard.size - opened.offset
        if left <= 0 or opened.is_over:
            opened.is_over, self.now = True, None
            opened.close()
            return None
        offset, size = opened.offset, min(PIECE, left)
        opened.offset += size
        opened.out += 1
        self.passed += size
        return opened, offset, size

    def open(self, shard: Shard) -> Opened | None:
        """Open a file and pass what is cached of its beginning; None where it cannot be opened."""
        try:
            # it may be a FIFO by now
            descriptor = os.open(shard.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self.fail(shard, f"cannot be read: {reason(error)}")
            return None
        passed = cached(descriptor, shard.size)
        self.cached += passed
        self.passed += passed
        return Opened(shard, descriptor, passed)

    def give_back(self, opened: Opened, got: int, why: str = "") -> None:
        """A piece is back. After an error, or at an end that is nearer than it was, the rest of the
        file is left alone.
        """
        with self.lock:
            self.read += got
            opened.out -= 1
            if why:
                self.fail(opened.shard, why)
            if not got:
                opened.is_over = True
            if self.now is not opened:
                opened.close()

    def fail(self, shard: Shard, why: str) -> None:
        self.failed.setdefault(shard.path.name, why)


def _shorter(opened: Opened) -> str:
    """Why less came than was asked for; "" where its end is where it was."""
    is_cut = os.fstat(opened.descriptor).st_size < opened.shard.size
    return "became shorter while it was read" if is_cut else ""


def cached(descriptor: int, size: int) -> int:
    """Bytes of a file's beginning whose windows are all cached, as far as one page tells."""
    page = [bytearray(PAGE)]
    for begin in range(0, size, WINDOW):
        asked = begin + min(ASKED, (size - begin) * 3 // 4)
        try:
            got = os.preadv(descriptor, page, asked // PAGE * PAGE, os.RWF_NOWAIT)
        except OSError:  # EAGAIN: it is not; EOPNOTSUPP: this file system does not tell
            return begin
        if not got:
            return begin
    return size


def spared(request: Request, total: int) -> int:
    """Bytes that the server itself will take of the host's memory."""
    return A_RANK * max(1, request.ranks) + (total if request.copies else 0)


def limit_of(left: Room, needed: int) -> int:
    """Bytes of files that may be in memory, with so much left for the server."""
    return max(0, int(left.size * (1 - SPARED)) - needed)


def read(wanted: Sequence[Shard], needed: int, where: str, lacking: Mapping[str, str]) -> Told:
    """Read them, telling how far it is; what there is to say at the end."""
    began, total = time.monotonic(), sum(shard.size for shard in wanted)
    left = room()
    reader = Reader(deque(wanted), limit_of(left, needed))

    def told(end: str | None) -> Told:
        seconds = round(time.monotonic() - began, 3)
        return Told(reader.read, reader.cached, total, seconds, where, end)

    def tick() -> None:
        nonlocal left
        left = room()
        reader.limit = limit_of(left, needed)
        say(told(None))

    threads(reader.work, THREADS, tick)
    last = told("")
    if not (end := faults(wanted, {**lacking, **reader.failed})) and reader.is_full:
        most = in_gib(reader.limit)
        end = f"there is room for {most}: {left.of}, less {in_gib(needed)} for the server"
    return replace(last, end=end)


def checked(wanted: Sequence[Shard], lacking: Mapping[str, str]) -> str:
    """Which files are missing or not whole by now, and why, in words; "" for none."""
    found = {**broken(wanted), **lacking}
    told = [f"{name} {why}" for name, why in sorted(found.items())]
    more = f"; {len(told) - NAMED} more" if told[NAMED:] else ""
    return f"{NOT_ALL}{'; '.join(told[:NAMED])}{more}" if told else ""


def faults(wanted: Sequence[Shard], lacking: Mapping[str, str]) -> str:
    """The same, by a thread of its own."""
    told: list[str] = []
    threads(lambda: told.append(checked(wanted, lacking)), 1)
    return told[0] if told else f"{NOT_ALL}its headers"


def threads(work: Callable[[], None], count: int, tick: Callable[[], None] | None = None) -> None:
    """Have it done by so many threads, and wait for them: whatever hangs in a disk holds nobody up
    when the launcher is gone.
    """
    bell, rope = os.pipe()

    def rings() -> None:
        try:
            work()
        finally:
            os.write(rope, b".")

    for _ in range(count):
        threading.Thread(target=rings, daemon=True).start()
    while count:
        ready, _, _ = select.select([0, bell], [], [], TELL_EVERY)
        if 0 in ready and not os.read(0, 1):
            os._exit(0)
        count -= len(os.read(bell, count)) if bell in ready else 0
        if tick and not ready:
            tick()


def in_gib(size: int) -> str:
    """Bytes as they are told."""
    return f"{size / 2**30:.1f} GiB"


def say(told: Told) -> None:
    """One line. A closed stdout ends the program."""
    os.write(1, json.dumps(asdict(told)).encode() + b"\n")


def answer(request: Request) -> Told:
    """Read what is wanted, where it helps."""
    try:
        found = files(request.models, request.patterns, os.environ, natural=request.natural)
    except OSError as error:
        return Told(end=f"the checkpoint cannot be read: {reason(error)}")
    wanted, total = found.shards, sum(shard.size for shard in found.shards)
    if not (wanted or found.lacking.keys() - set(request.models)):
        return Told(end="no weight files are here")
    if total < WORTH:
        return Told(end=faults(wanted, found.lacking))
    where = file_system(wanted[0].path)
    if where in IN_MEMORY:
        end = faults(wanted, found.lacking)
        return Told(cached=total, total=total, where=where, end=end)
    try:
        needed = spared(request, total)
        return read(wanted, needed, where if is_far(where) else "", found.lacking)
    except (OSError, KeyError):  # of a kernel, or a sandbox, without /proc/meminfo's word
        return Told(total=total, end="how much memory is available is not known")


def main() -> None:
    """Read, and say how it went. Whatever hangs is left behind."""
    Path("/proc/self/comm").write_text("glm5-readahead")
    say(answer(Request.from_json(json.loads(sys.argv[1]))))
    os._exit(0)


if __name__ == "__main__":
    main()
