"""What a terminal can be drawn on, and how it is left: for all that is live."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO, NoReturn

NOT_DRAWN_ON = ("", "dumb", "unknown")  # values of TERM
# Those that end a program unless it says otherwise, and that others send.
ENDING = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def is_drawn_on(stream: IO[str]) -> bool:
    """Whether a stream is a terminal that moves its cursor where it is told."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in NOT_DRAWN_ON


class _EndedError(BaseException):
    """A signal ends the program: what was begun is undone on the way."""


@contextmanager
def restored() -> Iterator[None]:
    """Have a signal that ends this program first undo what was begun inside: a hidden cursor, keys
    that are not echoed. It ends by that signal then. What is ignored, or answered otherwise, stays
    so. For the main thread.
    """
    caught = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    came: list[int] = []

    def let_go() -> None:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)

    def end(number: int, _: FrameType | None) -> NoReturn:
        let_go()  # a second one ends it whatever hangs
        came.append(number)
        raise _EndedError

    for number in caught:
        signal.signal(number, end)
    try:
        yield
    finally:
        let_go()
        if came:
            signal.raise_signal(came[0])
