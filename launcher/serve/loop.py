"""One thread that decides, and others beside it that take their time and hand back what it shall
do.

Nothing that goes wrong in what the loop calls ends it: whoever made the loop is told, and on it
goes.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from launcher.serve.clock import Clock

Work = Callable[[], object]

# ignored from the start by nohup and a shell's background jobs
DETACHED = (
    signal.SIGHUP,
    signal.SIGINT,
)
# Signals that would end a program that does not know them, and say nothing to this one: log
# rotation sends USR2, timers and tools of a parent the others. Those that a fault of its own raises
# stay as they are.
HARMLESS = (
    *(
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGVTALRM,
        signal.SIGPROF,
        signal.SIGIO,
        signal.SIGPWR,
    ),
    *(signal.SIGXCPU, signal.SIGXFSZ, signal.SIGPIPE, signal.SIGSTKFLT, signal.SIGRTMAX),
    *range(signal.SIGRTMIN + 1, signal.SIGRTMAX),
)
MOST_ASIDE = (
    32  # pieces of work beside the loop at once; each may wait for a driver that never answers
)


def nothing() -> None:
    """What is done where nothing is left to do."""


class Loop:
    """Waits for descriptors, signals and answers, and calls what was asked for, one at a time."""

    def __init__(self, complain: Callable[[Exception], None]) -> None:
        self._complain = complain
        self.clock = Clock()
        self._beside = 0
        self._awake = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._answers: deque[tuple[Work, Work]] = deque()
        self._ends: list[socket.socket] = []
        self._bell = self._doorbell(self._on_answer)

    def on(self, descriptor: Any, work: Work) -> None:
        """Have `work` done whenever `descriptor` has something to read."""
        self._selector.register(descriptor, selectors.EVENT_READ, work)

    def off(self, descriptor: Any) -> None:
        """Look at `descriptor` no more."""
        self._selector.unregister(descriptor)

    def on_signals(
        self, numbers: Iterable[signal.Signals], work: Callable[[signal.Signals], None]
    ) -> None:
        """Have `work` done for each of these signals; those that were held back come at once."""

        def sent(pending: bytes) -> None:
            for number in wanted.intersection(pending):
                work(signal.Signals(number))

        wanted = set(numbers)
        signal.set_wakeup_fd(self._doorbell(sent).fileno(), warn_on_full_buffer=False)
        for number in numbers:
            if number in DETACHED and signal.getsignal(number) is signal.SIG_IGN:
                continue
            signal.signal(number, lambda *_: None)
        for harmless in set(HARMLESS) - wanted:
            signal.signal(harmless, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _doorbell(self, work: Callable[[bytes], object]) -> socket.socket:
        """The end of a socket: bytes into it have `work` done with them, in the loop."""
        inside, outside = socket.socketpair()
        for end in (inside, outside):
            end.setblocking(False)
            self._ends.append(end)
        self.on(inside, lambda: work(inside.recv(64)))
        return outside

    def close(self) -> None:
        """Let go of everything."""
        self._selector.close()
        for end in self._ends:
            end.close()

    def turn(self, patience: float) -> None:
        """Wait for something to happen, `patience` seconds at most, and do what is to be done
        then.
        """
        ready = self._selector.select(patience)
        now = time.monotonic()
        self.clock.slept(patience, now - self._awake)
        self._awake = now
        for each, _ in ready:
            # what was done for one of them may have let go of another
            if self._selector.get_map().get(each.fd) is each:
                self.guard(each.data)

    def guard(self, work: Work, otherwise: Work = nothing) -> None:
        """Do it; where it fails, complain, and do `otherwise`."""
        try:
            work()
        except Exception as error:
            self._complain(error)
            self.guard(otherwise)

    def aside(self, work: Callable[[], Work], otherwise: Work = nothing) -> None:
        """Have `work` done beside the loop, which then does what it gives back, or `otherwise`
        where it fails.
        """
        try:
            if self._beside >= MOST_ASIDE:
                raise RuntimeError(f"{MOST_ASIDE} pieces of work beside the loop do not come back")
            threading.Thread(target=self._aside, args=(work, otherwise), daemon=True).start()
        except RuntimeError as error:  # or there are no more threads
            return self.later(partial(_fail, error), otherwise)
        self._beside += 1

    def _aside(self, work: Callable[[], Work], otherwise: Work) -> None:
        try:
            self.later(partial(self._back, work()), otherwise)
        except Exception as error:
            self.later(partial(self._back, partial(_fail, error)), otherwise)

    def _back(self, work: Work) -> None:
        self._beside -= 1
        work()

    def later(self, work: Work, otherwise: Work = nothing) -> None:
        """Have `work` done in the loop, by whichever thread asks."""
        self._answers.append((work, otherwise))
        with contextlib.suppress(OSError):
            self._bell.send(b".")

    def _on_answer(self, _: bytes) -> None:
        for _there in range(len(self._answers)):  # those that come meanwhile have rung, too
            self.guard(*self._answers.popleft())


def _fail(error: Exception) -> None:
    raise error
