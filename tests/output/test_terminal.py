"""What is live leaves the terminal as it was, is drawn where that is possible alone, and at no size
that no terminal has.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT
from rig.terminal import Stream

from launcher import folding
from launcher.output.console import MOST_LINES, console
from launcher.output.screens import kind_for
from launcher.output.terminal import ENDING, NOT_DRAWN_ON, is_drawn_on
from launcher.output.top import QUIT, _keys

ENDED = """
import os, signal, sys
from launcher.output.terminal import restored
number, ignored = map(int, sys.argv[1:])
if ignored:
    signal.signal(ignored, signal.SIG_IGN)
with restored():
    try:
        os.kill(os.getpid(), number)
        print("goes on")
    finally:
        print("undone", flush=True)
"""
# Modules that draw what is live, and who answers the signals that would end them.
LIVE = {
    "top.py": "restored()",
    "checkpoint.py": "restored()",
    "demo.py": "restored()",
    "live.py": "the loop of the launcher, and `up --detach`",
    "bench.py": "cli/bench.py",
}


def ended(number: int, ignored: int = 0) -> tuple[int, str]:
    words = (sys.executable, "-c", ENDED, str(int(number)), str(int(ignored)))
    done = subprocess.run(words, timeout=PATIENCE, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize("number", ENDING)
def test_what_was_begun_is_undone_before_a_signal_ends_it(number: signal.Signals) -> None:
    assert ended(number) == (-number, "undone\n")


def test_what_is_ignored_stays_so() -> None:
    assert ended(signal.SIGHUP, ignored=signal.SIGHUP) == (0, "goes on\nundone\n")


def test_every_live_screen_answers_signals() -> None:
    """A module that draws one is named here, and wears what it says."""
    draws = re.compile(r"rich\.(live|progress) |termios|console(\(.*\))?\.status\(")
    found = set()
    for path in (ROOT / "launcher").rglob("*.py"):
        text = path.read_text()
        if draws.search(text) and path.parent.name == "output":
            found.add(path.name)
            assert LIVE[path.name] != "restored()" or "restored()" in text, path
    assert found == {*LIVE}


@pytest.mark.parametrize("term", [*NOT_DRAWN_ON, None, "DUMB"])
def test_a_terminal_without_a_cursor_is_not_drawn_on(
    monkeypatch: pytest.MonkeyPatch, term: str | None
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    stream = Stream(is_terminal=True)

    assert not is_drawn_on(stream)
    assert kind_for(stream, as_json=False) == "plain"


def test_another_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    assert is_drawn_on(Stream(is_terminal=True))
    assert not is_drawn_on(Stream(is_terminal=False))
    assert kind_for(Stream(is_terminal=True), as_json=False) == "live"


def test_no_terminal_is_taken_for_larger_than_any_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(10**9))
    monkeypatch.setenv("LINES", str(10**9))
    monkeypatch.setenv("TERM", "xterm")
    stream = Stream(is_terminal=True)

    assert console(stream).size == (folding.MOST, MOST_LINES)
    assert folding.columns(stream) == folding.MOST
    monkeypatch.setenv("COLUMNS", "40")
    assert console(stream).width == folding.columns(stream) == 40
    assert console(Stream(is_terminal=False)).width > folding.MOST, "lines are for grep there"


def test_all_keys_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outside, inside = os.openpty()
    with os.fdopen(inside) as keyboard:
        monkeypatch.setattr(sys, "stdin", keyboard)
        with _keys() as pressed:
            os.write(outside, b"x" * 2000 + b"q")
            keys = pressed(PATIENCE)
            while keys and not QUIT.intersection(keys):
                more = pressed(PATIENCE)
                assert more
                assert len(more) > 100, "not one by one"
                keys = more
        assert keys
    os.close(outside)
