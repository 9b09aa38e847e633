"""`up`'s live screen on a terminal with few columns or lines, as the terminal itself shows it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl

import pyte
import pytest

from launcher.output.live import WIDE

WITHIN = 60.0  # seconds for a screen to show what it shall
# A start that goes on, on standard error; it ends when its terminal does.
START = """
import sys, time
from launcher.output.live import LiveScreen
from launcher.statedir.events import parsed
import json
screen = LiveScreen()
common = {"schema": 1, "time": "2026-11-27T00:00:00.000Z", "profile": "stub"}
for one in (
    {"event": "state", "state": "starting", "reason": "first start", "log": "/x/server.log", "run": 1},
    {"event": "phase", "phase": "weights", "seconds": {"process": 12.3, "distributed": 3.0, "weights": 0.0}},
    {"event": "readahead", "end": None, "read": 12 << 30, "cached": 0, "total": 400 << 30,
     "seconds": 4.0, "where": "/models/glm"},
    {"event": "progress", "progress": {"done": 120, "total": 182, "left": "2 min 3 s"}},
):
    for event in parsed([json.dumps({**common, **one})]):
        screen.show(event)
time.sleep(600)
"""


class Terminal:
    """A process on a terminal of a size, and what that shows."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.fd, ours = pty.openpty()
        ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environ = {
            name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=ours,
            stdout=ours,
            stderr=ours,
            env={**environ, "TERM": "xterm", "NO_COLOR": "1"},
            start_new_session=True,
        )
        os.close(ours)

    def resize(self, columns: int, lines: int) -> None:
        """As a window manager does it."""
        self.screen.resize(lines, columns)
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def until(self, *patterns: str) -> str:
        """What is shown, once it holds all of that: half of it may be drawn."""
        end, shown = time.monotonic() + WITHIN, ""
        while time.monotonic() < end and self.process.poll() is None:
            if select.select([self.fd], [], [], 0.1)[0]:
                self.stream.feed(os.read(self.fd, 65536))  # no bound: there is something to read
            shown = "\n".join(line.rstrip() for line in self.screen.display)
            if all(re.search(pattern, " ".join(shown.split())) for pattern in patterns):
                return shown
        raise AssertionError(f"not shown: {patterns}; but\n{shown}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WITHIN)
        with contextlib.suppress(OSError):
            os.close(self.fd)


@pytest.mark.parametrize("columns", [20, 40, 60, WIDE - 1, WIDE, 120])
@pytest.mark.parametrize("lines", [5, 24])
def test_a_start_shows_where_it_is_whatever_the_terminals_size(columns: int, lines: int) -> None:
    terminal = Terminal(columns, lines)
    try:
        below = "reads ahead 12.0 of 400.0 GiB in 4.0 s (3.0 GiB/s), from /models/glm"
        wanted = [re.escape(below)] if lines > 5 or columns >= WIDE else []
        shown = terminal.until(r"weights.* \d+\.\d s.*120/182, 2 min 3 s left", *wanted)
        whole = " ".join(shown.split())
        if lines > 5:
            assert "12.3 s" in whole, "what is over"
            assert "first start" in whole
        assert "…" not in shown, "nothing is cut so that it says something else"
        assert "Traceback" not in shown
    finally:
        terminal.close()


def test_a_terminal_that_changes_its_size_meanwhile() -> None:
    terminal = Terminal(120, 24)
    try:
        terminal.until(r"weights.* 120/182, 2 min 3 s left")
        for columns, lines in ((20, 5), (60, 24), (40, 5), (120, 24)):
            terminal.resize(columns, lines)
            terminal.screen.reset()
            shown = terminal.until(r"weights.* \d+\.\d s.*120/182, 2 min 3 s left")
            assert "…" not in shown
            assert terminal.process.poll() is None
    finally:
        terminal.close()
