"""`top` on a terminal: drawn again and again, until `q` or Ctrl-C; elsewhere once."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from launcher.operate.top import Shown, Top
from launcher.output import panel
from launcher.output.bars import signs_for
from launcher.output.starts import put
from launcher.output.terminal import restored

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH = 100  # columns off a terminal
MOST_KEYS = 1 << 16  # bytes, or signals, that are taken at once
QUIT = frozenset(b"qQ\x03\x04")
STOP = b"\x1a"  # Ctrl-Z, or SIGTSTP


def once(top: Top, pause: float, *, as_json: bool) -> None:
    """What two looks tell, so many seconds apart: a rate needs both."""
    top.look(whole=True)
    time.sleep(pause)
    shown = top.look(whole=True)
    if as_json:
        print(json.dumps(shown.to_json(), indent=1))
        return
    from launcher.output.console import console

    screen = console(sys.stdout)
    for line in drawn(shown, screen):
        put(screen, line)


def drawn(shown: Shown, screen: Console) -> list[Text]:
    """Its lines as rich draws them; on a terminal folded where that ends."""
    from launcher.output.console import hung, words

    width = screen.width if screen.is_terminal else WIDTH
    made = panel.lines(shown, width, signs_for(screen.encoding))
    return [part for line in made for part in hung(screen, words(*line))]


def live(top: Top, interval: float) -> None:
    """Draw it anew every so many seconds, and as soon as the terminal has another size; Ctrl-Z
    gives the terminal back until it goes on.
    """
    from launcher.output.console import console

    screen = console(sys.stdout)
    while _is_stopped(top, interval, screen):
        signal.raise_signal(signal.SIGTSTP)


def _is_stopped(top: Top, interval: float, screen: Console) -> bool:
    """Draw it until a key leaves it: whether to stop, and not to end."""
    from rich.live import Live

    with (
        restored(),
        _keys() as pressed,
        Live(console=screen, screen=True, auto_refresh=False) as drawing,
    ):
        while True:
            shown, due = top.look(), time.monotonic() + interval
            is_drawn = False
            while time.monotonic() < due or not is_drawn:
                if not is_drawn:
                    drawing.update(_page(shown, screen), refresh=True)
                keys = pressed(due - time.monotonic())
                if keys and QUIT.intersection(keys):
                    return False
                if keys == STOP:
                    return True
                is_drawn = keys is not None


def _page(shown: Shown, screen: Console) -> Text:
    """As much of it as the terminal holds, and how to leave."""
    from launcher.output.console import below, words

    made = drawn(shown, screen)[: screen.height - 1]
    blank = [words()] * (screen.height - 1 - len(made))
    return below([*made, *blank, words(("q leaves", "dim"))])


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bytes | None]]:
    """Waits so many seconds for keys, and gives all that were pressed, however many; STOP where it
    is to stop, None where the terminal has another size now.
    """
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    caught = [signal.SIGWINCH]
    if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:  # ignored where no shell continues it
        caught.append(signal.SIGTSTP)
    for number in caught:
        signal.signal(number, lambda *_: None)  # so that it wakes who waits
    wakes = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = termios.tcgetattr(keyboard) if keyboard is not None else None

    def pressed(within: float) -> bytes | None:
        watched = [reads] if keyboard is None else [reads, keyboard]
        ready, _, _ = select.select(watched, [], [], max(0.0, within))
        if reads in ready:
            came = os.read(reads, MOST_KEYS)  # the numbers of signals
            return STOP if signal.SIGTSTP in came else None
        if keyboard is not None and keyboard in ready:
            return os.read(keyboard, MOST_KEYS) or b"q"
        return b""

    try:
        if keyboard is not None:
            tty.setcbreak(keyboard)
        yield pressed
    finally:
        if keyboard is not None and before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        signal.set_wakeup_fd(wakes)
        for number in caught:
            signal.signal(number, signal.SIG_DFL)
        os.close(reads)
        os.close(writes)
