"""The server's output on its way to disk: whole lines, without keys, bounded in size.

A full disk loses lines, never the server.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from launcher.keys import scrub

LONGEST_LINE = 1 << 20  # bytes; what is beyond is dropped, so that a key cannot hide across a cut
LARGEST_FILE = 64 << 20  # bytes; then server.log becomes server.log.1
_END = re.compile(rb"[\r\n]+")


class ServerLog:
    """Takes pieces as they come, gives back scrubbed lines, and writes them to `path`."""

    def __init__(self, path: Path, key: str | None) -> None:
        self.path = path
        self.key = key
        self._rest = b""
        self._cut = False
        self._size = 0
        self._file: int | None = None

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that `piece` completes. tqdm ends its lines with a carriage return: those count too."""
        *lines, rest = _END.split(self._rest + piece)
        for line in lines:
            if not self._cut:
                yield from self._keep(line)
            self._cut = False
        if len(rest) > LONGEST_LINE:
            if not self._cut:
                yield from self._keep(rest[:LONGEST_LINE] + b" [line cut]")
            self._cut, rest = True, b""
        self._rest = rest

    def flush(self) -> Iterator[str]:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        if not self._cut:
            yield from self._keep(rest)

    def _keep(self, raw: bytes) -> Iterator[str]:
        if raw:
            line = scrub(raw.decode(errors="replace"), self.key)
            self._write(line.encode() + b"\n")
            yield line

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._file is None or self._size > LARGEST_FILE:
                self._open()
            assert self._file is not None
            self._size += os.write(self._file, line)

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)

    def _open(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self.path.replace(self.path.with_suffix(".log.1"))
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size
