"""The server's output on its way to disk: whole lines, without keys, bounded in size.

A disk that is full, or does not answer, loses lines, never the server; the log says how many.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.deathlog import RUN
from launcher.keys import scrub

LONGEST_LINE = 1 << 20  # bytes; about what is kept of a longer one
LARGEST_FILE = 64 << 20  # bytes; then server.log becomes server.log.1, and so on
KEPT_FILES = 4  # older ones; the oldest is dropped
MOST_WAITING = 8 << 20  # bytes that wait for a disk
TAIL = 4000  # lines that stay in memory for a diagnosis: eight ranks that die at once say half of that
TAIL_LINE = 1000  # characters of each
LOST = "=== glm5-serve: lost "  # and how many lines: what the log lacks here
_END = re.compile(rb"[\r\n]+")


class ServerLog:
    """Takes pieces as they come, gives back scrubbed lines, and has them written to `path`.

    `put` has work done, under a name that takes the place of what waits under it; else it is done at once.
    """

    def __init__(
        self, path: Path, key: str | None, put: Callable[[Callable[[], None], str], object] | None = None
    ) -> None:
        self.path = path
        self.key = key
        self._put = put or (lambda work, _: work())
        self._rest = bytearray()
        self._cut = False
        self._waiting, self._lost, self._lock = bytearray(), 0, threading.Lock()
        self._again = False  # a file that was removed is made anew
        self._size = 0
        self._file: int | None = None
        self.tail: deque[str] = deque(maxlen=TAIL)

    def begin(self, run: int) -> None:
        """A line that says where a run begins; the tail forgets the one before. A removed file is made anew."""
        self.tail.clear()
        self._again = True
        self._write(f"{RUN}{run}, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode())

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that `piece` completes. tqdm ends its lines with a carriage return: those count too."""
        if not _END.search(piece) and len(self._rest) + len(piece) <= LONGEST_LINE:
            self._rest += piece
            return
        *lines, rest = _END.split(bytes(self._rest) + piece)
        for line in lines:
            if not self._cut:
                yield from self._keep(line)
            self._cut = False
        if len(rest) > LONGEST_LINE:
            if not self._cut:
                yield from self._keep(rest, cut=True)
            self._cut, rest = True, b""
        self._rest = bytearray(rest)

    def flush(self) -> Iterator[str]:
        """The last line, if it had no end."""
        rest, cut = bytes(self._rest), self._cut
        self._rest, self._cut = bytearray(), False
        if not cut:
            yield from self._keep(rest)

    def _keep(self, raw: bytes, *, cut: bool = False) -> Iterator[str]:
        if raw:
            line = scrub(raw.decode(errors="replace"), self.key)
            if cut:
                line = _without_half_a_key(line, self.key or "") + " [line cut]"
            self.tail.append(line[:TAIL_LINE])
            self._write(line.encode() + b"\n")
            yield line

    def _write(self, line: bytes) -> None:
        with self._lock:
            if len(self._waiting) + len(line) > MOST_WAITING:
                self._lost += 1
                return
            self._waiting += line
        self._put(self._write_waiting, "server log")

    def _write_waiting(self) -> None:
        with self._lock:
            data, lost = bytes(self._waiting), self._lost
            self._waiting.clear()
            self._lost = 0
        try:
            self._open()
            if lost:
                data += f"{LOST}{lost} lines: the disk did not take them\n".encode()
            self._append(data)
        except OSError:
            with self._lock:
                self._lost += lost + data.count(b"\n")

    def _append(self, data: bytes) -> None:
        assert self._file is not None
        while data:
            written = os.write(self._file, data)
            self._size += written
            data = data[written:]

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        if self._file is not None and (self._again or self._size > LARGEST_FILE):
            self._close()
            if self._size > LARGEST_FILE:
                rotate(self.path, KEPT_FILES)
        if self._file is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._file = os.open(self.path, flags, 0o600)
            self._size = os.fstat(self._file).st_size
        self._again = False


def rotate(path: Path, kept: int) -> None:
    """`path` becomes `path`.1, that becomes .2, and so on up to `kept`. Raises OSError."""
    for number in range(kept, 0, -1):
        older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        with contextlib.suppress(FileNotFoundError):
            older.replace(path.with_name(f"{path.name}.{number}"))


def _without_half_a_key(line: str, key: str) -> str:
    """A line that was cut may end in the beginning of a key."""
    half = next((n for n in range(len(key) - 1, 0, -1) if line.endswith(key[:n])), 0)
    return line[: len(line) - half]
