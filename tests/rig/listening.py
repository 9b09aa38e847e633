"""Listeners that are processes of their own, for as long as a test wants them (see
`listener.py`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import next_line, running

from launcher.host.peer import Verdict

PROGRAM = Path(__file__).with_name("listener.py")
NOBODY = "65534"
PATIENCE = 60.0  # seconds before a test gives up on something; never a measurement


@dataclass
class Listener:
    """One that listens on `port`; `said` is what anybody sent to it."""

    port: int
    pid: int
    heard: Path

    @property
    def said(self) -> bytes:
        return self.heard.read_bytes()


@contextlib.contextmanager
def listening(
    folder: Path,
    kind: str = "sane",
    host: str = "127.0.0.1",
    port: int = 0,
    who: tuple[str, ...] = (),
) -> Iterator[Listener]:
    """Somebody listens; `who`: words for `listener.py` that say as which user."""
    heard = folder / f"heard-{kind}-{len(list(folder.iterdir()))}"
    words = [sys.executable, PROGRAM, host, str(port), kind, heard, *who]
    with running(*words, stdout=subprocess.PIPE) as process:
        yield Listener(int(next_line(process)), process.pid, heard)


@contextlib.contextmanager
def no_descriptors(pid: int = 0) -> Iterator[None]:
    """Meanwhile a process, this one if none is named, has no descriptor left."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (first_free(pid or os.getpid()), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def first_free(pid: int) -> int:
    """The lowest number that is no descriptor of a process."""
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    return min(set(range(len(taken) + 1)) - taken)


def bounded(work: Callable[[], Any]) -> Any:
    """What `work` gives, or a failed test where it goes on for ever."""
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(work()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert got, "it failed, or goes on for ever"
    return got[0]


class Told:
    """A peer that says what it is told to say, one verdict after the other."""

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = iter(verdicts)

    def check(self, host: str, port: int) -> Verdict:
        return next(self.verdicts)
