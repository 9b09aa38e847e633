"""The pictures of the README and the pages: real runs of the commands in a terminal, drawn as SVG.

Each command runs in a pseudo-terminal of its own, on a stage of stages.py; what pyte, the terminal,
then shows becomes `docs/screens/NAME-COLUMNS-{light,dark}.svg`. `start` and `top` are cut off while
they are live; `start` and `bench` need the real SGLang (`make engine`).

usage: screens.py [NAME ...]      all of them, without names
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyte
import stages
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/screens"
COLUMNS = (80, 120)
ROWS = 200
LONGEST = 480.0  # seconds of any command
PALETTE = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
LIGHT = TerminalTheme(
    (255, 255, 255),
    (36, 41, 47),
    [
        (36, 41, 47),
        (207, 34, 46),
        (17, 99, 41),
        (128, 78, 0),
        (9, 105, 218),
        (130, 80, 223),
        (27, 124, 131),
        (87, 96, 106),
    ],
)
DARK = TerminalTheme(
    (16, 16, 20),
    (212, 212, 212),
    [
        (110, 118, 129),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
Stage = Callable[[Path, Mapping[str, str]], AbstractContextManager[Mapping[str, str]]]
# A font that every reader has: nothing is fetched for a picture.
SVG = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


@dataclass(frozen=True)
class Screen:
    """A command as it is shown, what it is run in, and when it is looked at: at its end, or once
    `live` stands on the screen.
    """

    command: str
    around: Stage = stages.nothing
    live: str = ""
    settled: float = 0.5  # seconds after which what is live is looked at
    lines: int = ROWS  # of the terminal
    rows: int = ROWS  # of these, from the top


SCREENS = {
    "doctor": Screen("doctor --facts host.json", stages.recorded),
    "fit": Screen("fit 8xpro6000 --gpu rtx-pro-6000"),
    "explain": Screen("render 8xpro6000 --gpu rtx-pro-6000 --explain", rows=44),
    "lint": Screen("lint card.sh --release 0.5.23 --gpu rtx-pro-6000", stages.recorded),
    "diagnose": Screen("diagnose server.log", stages.recorded),
    "start": Screen("up cpu-demo", live="tok/s"),
    "profiles": Screen("profiles", stages.driver, rows=28),
    "status": Screen("status", stages.served),
    "top": Screen("top", stages.served, live="tok/s", settled=4, lines=24),
    "bench": Screen("bench cpu-demo --concurrency 1,4 --rounds 3", stages.real),
}


def shown(screen: Screen, columns: int) -> pyte.Screen:
    """The terminal at the command's end, or when what is live stands on it."""
    terminal = pyte.Screen(columns, screen.lines)
    stream = pyte.ByteStream(terminal)
    stream.feed(f"\x1b[1m$ glm5-serve {screen.command}\x1b[0m\r\n".encode())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environ = stack.enter_context(screen.around(folder, stages.environ()))
        pid, end = pty.fork()
        if pid == 0:
            words = stages.words(folder, *screen.command.split())
            time.sleep(0.2)  # until the terminal has its size
            os.execvpe(words[0], words, environ)
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", screen.lines, columns, 0, 0))
        stack.callback(os.waitpid, pid, 0)
        stack.callback(os.close, end)
        until, seen = time.monotonic() + LONGEST, 0.0
        while time.monotonic() < until:
            if select.select([end], [], [], 0.1)[0]:
                try:
                    stream.feed(os.read(end, 1 << 16))  # no bound: select told that there is some
                except OSError:  # its end
                    return terminal
            if screen.live and any(screen.live in line for line in terminal.display):
                seen = seen or time.monotonic()
                if time.monotonic() - seen >= screen.settled:
                    break
        else:
            sys.exit(f"{screen.command}: not there after {LONGEST:g} s")
        os.kill(pid, 2)  # it takes its server down
        while time.monotonic() < until:
            if select.select([end], [], [], 0.1)[0]:
                try:
                    os.read(end, 1 << 16)  # no bound: select told that there is some
                except OSError:
                    return terminal
        os.kill(pid, 9)
        sys.exit(f"{screen.command}: did not end within {LONGEST:g} s")


def text(terminal: pyte.Screen, rows: int) -> list[Text]:
    """What stands on the terminal, line by line, without the empty ones at its end."""
    lines = []
    for row in range(min(rows, terminal.lines)):
        cells = (terminal.buffer[row][column] for column in range(terminal.columns))
        line = Text()
        for like, run in groupby(cells, key=style):
            line.append("".join(cell.data for cell in run), like)
        line.rstrip()
        lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    return lines


def style(cell: pyte.screens.Char) -> Style:
    """A cell's own: the sixteen colours of a terminal, which each theme has its own of."""
    name = cell.fg.removeprefix("bright")
    colour = f"color({PALETTE.index(name)})" if name in PALETTE else None
    if re.fullmatch("[0-9a-f]{6}", cell.fg):
        colour = f"#{cell.fg}"
    return Style(color=colour, bold=cell.bold, reverse=cell.reverse, dim=cell.fg == "brightblack")


def draw(name: str, lines: list[Text], columns: int) -> None:
    """The picture, light and dark."""
    for theme, colours in (("light", LIGHT), ("dark", DARK)):
        with Path(os.devnull).open("w") as nowhere:
            paper = Console(
                record=True,
                width=columns,
                file=nowhere,
                force_terminal=True,
                color_system="truecolor",
            )
            for line in lines:
                paper.print(line, overflow="ignore", no_wrap=True)
            paper.print()  # the picture ends in the middle of its last line
            svg = paper.export_svg(title="", theme=colours, unique_id=f"{name}-{theme}")
        path = DOCS / f"{name}-{columns}-{theme}.svg"
        path.write_text(SVG.sub("", svg).replace("Fira Code, monospace", "monospace"))
        print(path.relative_to(ROOT))


def main() -> None:
    DOCS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or SCREENS:
        for columns in COLUMNS:
            draw(name, text(shown(SCREENS[name], columns), SCREENS[name].rows), columns)


if __name__ == "__main__":
    main()
