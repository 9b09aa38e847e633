"""Asking a program within a deadline: one that hangs costs that time, and never its caller."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from launcher.files import programs

MOST_SAID = 1 << 20  # bytes; an answer has some ten thousand


@dataclass(frozen=True)
class Answer:
    """What a program said on both its streams, and how it ended: None where it was not seen to
    end.
    """

    said: bytes
    in_time: bool
    status: int | None

    def last_line(self) -> str:
        """The last thing it said: of a program that failed, why."""
        lines = self.said.decode(errors="replace").strip().splitlines()
        return lines[-1].strip()[:200] if lines else "nothing"


def ask(command: Sequence[str], deadline: float, env: Mapping[str, str] | None = None) -> Answer:
    """Run a program and read what it says for at most `deadline` seconds; nothing of it is left.

    It runs in /, so that a Python imports nothing from the current folder, which may be anybody's.
    Raises OSError or ValueError where it cannot be started.
    """
    child = subprocess.Popen(
        list(command),
        env=None if env is None else dict(env),
        cwd=programs.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout is not None
    with child.stdout as stream:
        said, in_time = _read(stream, deadline)
    status = _wait(child) if in_time else None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    return Answer(said, in_time, _wait(child) if status is None else status)


def _read(stream: IO[bytes], deadline: float) -> tuple[bytes, bool]:
    """What the stream says until its end or too much, and whether that came in time."""
    end = time.monotonic() + deadline
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            piece = os.read(stream.fileno(), 65536)
            said += piece
            if not piece or len(said) > MOST_SAID:
                return said, True
    return said, False


def _wait(child: subprocess.Popen[bytes]) -> int | None:
    try:
        return child.wait(1.0)
    except subprocess.TimeoutExpired:
        return (
            None  # in the kernel's hands not even SIGKILL is heard: nothing is left to do but go on
        )
