"""The loop: nothing that goes wrong in what it calls ends it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from launcher.serve.loop import HARMLESS, Loop
from launcher.serve.wishes import WISHES

PATIENCE = 20.0  # seconds


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def loop(told: list[str]) -> Iterator[Loop]:
    made = Loop(lambda error: told.append(f"{type(error).__name__}: {error}"))
    yield made
    made.close()


def bad() -> None:
    raise OSError(24, "Too many open files")


def test_what_fails_is_told_and_something_else_done(loop: Loop, told: list[str]) -> None:
    loop.guard(bad, lambda: told.append("otherwise"))

    assert told == ["OSError: [Errno 24] Too many open files", "otherwise"]


def test_a_descriptor_that_can_be_read_has_its_work_done_until_it_is_let_go(
    loop: Loop, told: list[str]
) -> None:
    end, other = os.pipe()
    loop.on(end, lambda: told.append(os.read(end, 9).decode()))  # no bound: it can be read
    os.write(other, b"one")
    loop.turn(PATIENCE)
    loop.off(end)
    os.write(other, b"two")
    loop.turn(0.0)

    assert told == ["one"]
    os.close(end)
    os.close(other)


@pytest.mark.parametrize("again", [False, True])
def test_what_was_let_go_in_the_same_turn_has_no_work_done(
    loop: Loop, told: list[str], again: bool
) -> None:
    """A server that ends and what reads ahead for it are heard at once; whichever comes first lets
    go of the other, whose number may be another descriptor's by then.
    """
    pipes = [os.pipe(), os.pipe()]

    def hear(mine: int, other: int) -> None:
        told.append(os.read(mine, 9).decode())  # no bound: it can be read
        loop.off(other)
        if again:
            loop.on(other, lambda: None)

    for (mine, end), (other, _) in (pipes, pipes[::-1]):
        loop.on(mine, partial(hear, mine, other))
        os.write(end, b"heard")
    loop.turn(PATIENCE)

    assert told == ["heard"]
    for end in (end for pipe in pipes for end in pipe):
        os.close(end)


def test_work_aside_hands_back_what_the_loop_does(loop: Loop, told: list[str]) -> None:
    here = threading.get_ident()
    loop.aside(lambda: lambda: told.append(f"in the loop: {threading.get_ident() == here}"))
    loop.turn(PATIENCE)

    assert told == ["in the loop: True"]


@pytest.mark.parametrize("where", ["aside", "handed back", "no thread"])
def test_work_aside_that_fails_has_something_else_done(
    loop: Loop, told: list[str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    if where == "no thread":
        monkeypatch.setattr(threading.Thread, "start", no_thread)
    loop.aside(bad if where != "handed back" else lambda: bad, lambda: told.append("otherwise"))
    loop.turn(PATIENCE)

    assert told[1:] == ["otherwise"]
    assert told[0].startswith(("OSError", "RuntimeError"))


def test_signals_that_were_held_back_come_at_once(loop: Loop, told: list[str]) -> None:
    before = signal.getsignal(signal.SIGUSR2)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    # to this thread: others do not hold it back
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
    try:
        loop.on_signals([signal.SIGUSR2], lambda number: told.append(number.name))
        loop.turn(PATIENCE)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR2, before)

    assert told == ["SIGUSR2"]


def test_every_signal_that_would_end_it_is_a_wish_or_means_nothing() -> None:
    """But what nobody can handle, what a fault of its own raises, and what the kernel ignores."""
    faults = "SEGV BUS FPE ILL ABRT TRAP SYS"
    harms_nobody = "CHLD URG WINCH CONT STOP TSTP TTIN TTOU"
    left = {signal.Signals[f"SIG{name}"] for name in f"KILL {faults} {harms_nobody}".split()}

    assert set(signal.valid_signals()) - {*WISHES} - {*HARMLESS} == left
    assert not left & {*WISHES, *HARMLESS}
