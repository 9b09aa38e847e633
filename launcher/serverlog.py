"""The server's output on its way to disk: whole lines, without keys, bounded in size.

A full disk loses lines, never the server.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from launcher.deathlog import RUN
from launcher.keys import scrub

LONGEST_LINE = 1 << 20  # bytes; about what is kept of a longer one
LARGEST_FILE = 64 << 20  # bytes; then server.log becomes server.log.1, and so on
KEPT_FILES = 4  # older ones; the oldest is dropped
TAIL = 4000  # lines that stay in memory for a diagnosis: eight ranks that die at once say half of that
TAIL_LINE = 1000  # characters of each
_END = re.compile(rb"[\r\n]+")


class ServerLog:
    """Takes pieces as they come, gives back scrubbed lines, and writes them to `path`."""

    def __init__(self, path: Path, key: str | None) -> None:
        self.path = path
        self.key = key
        self._rest = bytearray()
        self._cut = False
        self._size = 0
        self._file: int | None = None
        self.tail: deque[str] = deque(maxlen=TAIL)

    def begin(self, run: int) -> None:
        """A line that says where a run begins; the tail forgets the one before. A removed file is made anew."""
        self.tail.clear()
        self._close()
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
        with contextlib.suppress(OSError):
            if self._file is None or self._size > LARGEST_FILE:
                self._open()
            assert self._file is not None
            self._size += os.write(self._file, line)

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        if self._file is not None:
            self._close()
            rotate(self.path, KEPT_FILES)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size


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
