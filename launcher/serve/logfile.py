"""The server's output on its way to disk: whole lines, without keys, bounded in size.

A disk that is full, or does not answer, loses lines, never the server; the log says how many.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.engines.log import RUN
from launcher.files import guarded
from launcher.files.rotation import rotate
from launcher.redact.keyspelling import FEWEST, HIDDEN, spellings
from launcher.redact.secrets import Lines

LONGEST_LINE = 1 << 20  # bytes; about what is kept of a longer one
LARGEST_FILE = 64 << 20  # bytes; then server.log becomes server.log.1, and so on
KEPT_FILES = 4  # older ones; the oldest is dropped
MOST_WAITING = 8 << 20  # bytes that wait for a disk
TAIL = (
    4000  # lines that stay in memory for a diagnosis: eight ranks that die at once say half of that
)
TAIL_LINE = 1000  # characters of each
LOST = "=== glm5-serve: lost "  # and how many lines: what the log lacks here
_END = re.compile(rb"[\r\n]+")


class ServerLog:
    """Takes pieces as they come, gives back scrubbed lines, and has them written to `path`.

    `put` has work done, under a name that takes the place of what waits under it; else it is done
    at once.
    """

    def __init__(
        self,
        path: Path,
        key: str | None,
        put: Callable[[Callable[[], None], str], object] | None = None,
    ) -> None:
        self.path = path
        self.key = key
        self._put = put or (lambda work, _: work())
        self._rest = bytearray()
        self._cut = False
        self._waiting, self._lost, self._lock = bytearray(), 0, threading.Lock()
        self._again = False  # a file that was removed is recreated
        self._held = ""  # a line that may end in half a key: it waits for the next one
        self._owed = ""  # the end of the last line, where the first characters of a key may stand
        self._size = 0
        self._file: int | None = None
        self._scrubber = Lines()
        self.tail: deque[str] = deque(maxlen=TAIL)

    def begin(self, run: int) -> None:
        """A line that says where a run begins; the tail forgets the one before.

        A removed file is recreated.
        """
        self.tail.clear()
        self._again = True
        self._write(f"{RUN}{run}, {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n".encode())

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that `piece` completes. tqdm ends its lines with a carriage return: those count
        too.
        """
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
        """The last line, if it had no end, and what was held back."""
        rest, cut = bytes(self._rest), self._cut
        self._rest, self._cut = bytearray(), False
        yield from self._keep(b"" if cut else rest, last=True)

    def _keep(self, raw: bytes, *, cut: bool = False, last: bool = False) -> Iterator[str]:
        """The lines that can go now, this one among them if it does not end in what may be half a
        key.
        """
        lines = filter(None, (self._held, raw.decode(errors="replace")))
        text = "\n".join(lines)
        text = spellings(self.key).hide(text, self._owed, goes_on=True) if self.key else text
        if text and self.key:
            text = self._hold_back(text, self.key, cut=cut, last=last)
        for line in filter(None, f"{text} [line cut]".split("\n") if cut else text.split("\n")):
            line = self._scrubber.hide(line)
            line = f" {line}" if line.startswith(RUN) else line  # that is ours to say
            self.tail.append(line[:TAIL_LINE])
            self._write(line.encode() + b"\n")
            yield line

    def _hold_back(self, text: str, key: str, *, cut: bool, last: bool) -> str:
        """What of a text can go: a line that may end in half a key waits for the next one, which
        tells.
        """
        whole = f"{self._owed}\n{text}" if self._owed else text
        begin, known = spellings(key).half(whole)
        at = max(0, begin + len(text) - len(whole))
        owed, self._owed, self._held = self._owed, "", ""
        if cut:
            return text[:at]
        if last:
            return text[:at] + HIDDEN if known >= FEWEST else text
        if known < FEWEST:
            self._owed = whole[begin:].rstrip(" \t")
            return text
        line = text.rfind("\n", 0, at) + 1
        self._owed, self._held = "" if line else owed, text[line:]
        return text[: max(line - 1, 0)]

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
            self._file = guarded.opened(self.path, guarded.APPEND)
            self._size = os.fstat(self._file).st_size
        self._again = False
