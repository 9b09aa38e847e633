"""Asking a program within a deadline: one that hangs costs that time, and never its caller."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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

    Raises OSError or ValueError where it cannot be started.
    """
    with asking(command, deadline, env) as answer:
        return answer()


@contextlib.contextmanager
def asking(
    command: Sequence[str], deadline: float, env: Mapping[str, str] | None = None
) -> Iterator[Callable[[], Answer]]:
    """Have a program run while something else is done; called once, it waits for what that says,
    until `deadline` seconds from its start. Nothing of it is left, be it called or not.

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
        try:
            yield partial(_answer, child, stream, time.monotonic() + deadline)
        finally:
            if child.returncode is None:  # else its number may be another one's by now
                _end(child)


def _answer(child: subprocess.Popen[bytes], stream: IO[bytes], end: float) -> Answer:
    said, in_time = _read(stream, end)
    status = _wait(child) if in_time else None
    _end(child)
    return Answer(said, in_time, child.returncode if status is None else status)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of it: the others of its session, too, where it has ended itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    _wait(child)


def _read(stream: IO[bytes], end: float) -> tuple[bytes, bool]:
    """What the stream says until its end or too much, and whether that came in time."""
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
