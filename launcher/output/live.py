"""`up` on a terminal: the start as it happens, then what the server does."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from launcher.engines.log import PHASES
from launcher.gateway.instances import plan_of
from launcher.output import nextstep, starts
from launcher.output.console import below, console, hung, words
from launcher.output.events import ODD, in_words, reading_ahead, timeline
from launcher.serve.readahead import NOT_ALL
from launcher.statedir.events import Event
from launcher.statedir.starts import Usual

if TYPE_CHECKING:
    from launcher.statedir.folder import StateDir

WIDE = 76  # columns that a phase, its bar and how long it will take stand beside each other in
HANGS = 40  # columns that leave room for lines that hang
EVERY = 1.0  # seconds between two looks at a server that is ready


class LiveScreen:
    """The start as it happens: finished phases with their times, the present one moving; then, of
    an `instance`, what `top` shows of it.
    """

    def __init__(self, instance: StateDir | None = None) -> None:
        self.console = console(sys.stderr)
        self.spinner = Spinner("dots", style="cyan")
        self.instance = instance
        self.live: Live | None = None
        self.panel: Panel | None = None
        self.done: list[tuple[str, float]] = []
        self.phase = "process"
        self.since = time.monotonic()
        self.bar: Mapping[str, Any] | None = None
        self.usual: Usual | None = None
        self.reading: str | None = None

    def show(self, event: Event) -> None:
        """Draw one event; a terminal that was closed takes nothing, and an event of another shape
        is left out.
        """
        with contextlib.suppress(OSError, *ODD):
            self._show(event)

    def _show(self, event: Event) -> None:
        match event.kind, event.fields:
            case "phase", {"phase": phase, "seconds": seconds}:
                self.done = timeline(seconds)[:-1]
                self.phase, self.since, self.bar = str(phase), time.monotonic(), None
            case "progress", {"progress": {"done": int(), "total": int(), "left": _} as bar}:
                self.bar = bar
            case "readahead", {"end": None}:
                self.reading = reading_ahead(event.fields)
            case "readahead", {"end": str()}:
                self.reading = None
                is_short = event.fields["end"].startswith(NOT_ALL)
                sign = ("!", "yellow") if is_short else ("✓", "green")
                told = words("  ", sign, " read ahead ", reading_ahead(event.fields))
                self.console.print(told)
            case "state", {"state": "starting", "reason": reason, "log": log}:
                self._begin(event.fields.get("usual"))
                self.console.print(words((f"{event.profile}, {reason}; log in {log}", "dim")))
            case "state", {"state": "ready", "moved": True, "seconds": seconds, "url": url}:
                self._end(seconds)
                total = sum(seconds.values())
                self.console.print(
                    words(("ready", "bold green"), f" in {total:.1f} s  ", (url, "bold"))
                )
                if self.instance:
                    if plan := plan_of(self.instance):
                        nextstep.ask(plan)
                    self.panel = Panel(self.instance, self.console)
            case ("state", {"state": "ready"}) | ("warning" | "canary" | "gpu", _):
                self.console.print(words(in_words(event) or ""))
            case ("state" | "death", _) | ("smoke", {"ok": False}):
                self._end(None)
                self.console.print(words(in_words(event) or ""))

    def _begin(self, usual: object) -> None:
        self._end(None)
        self.done, self.phase, self.since, self.bar = [], "process", time.monotonic(), None
        self.usual = Usual.from_json(usual) if usual else None
        self.live = Live(
            get_renderable=self._picture, console=self.console, refresh_per_second=8, transient=True
        )
        self.live.start()

    def _end(self, seconds: Mapping[str, float] | None) -> None:
        if self.panel is not None:
            self.panel.stop()
            self.panel = None
        if self.live is not None:
            self.live.stop()
            self.live = None
            for name, took in timeline(seconds) if seconds else self.done:
                wide = words("  ", ("✓", "green"), f" {name:<18} {took:6.1f} s")
                line = wide if self.console.width >= HANGS else _over(name, took)
                for part in self._folded(line):
                    self.console.print(part)

    def _picture(self) -> RenderableType:
        """The present phase and what is known of it; above it as many of those that are over, the
        last ones, as the terminal has lines for.
        """
        now = time.monotonic() - self.since
        told = []
        if self.reading:
            told.append(f"reads ahead {self.reading}")
        if self.usual:
            told.append(starts.left(self.usual, self.phase, now))
        bar = self.bar
        left = f"{bar['done']}/{bar['total']}, {bar['left']} left" if bar else ""
        is_wide = self.console.width >= WIDE
        told = told if is_wide else [left, *told]
        beneath = [
            line
            for text in filter(None, told)
            for line in self._folded(words((f"    {text}", "dim")))
        ]
        name = PHASES.get(self.phase, self.phase)
        room = max(1, self.console.height - 1)
        rows = Table.grid(padding=(0, 1))
        if is_wide:
            drawn: RenderableType = words()
            if bar:
                drawn = ProgressBar(total=bar["total"], completed=bar["done"], width=30)
            spun = Padding(self.spinner, (0, 0, 0, 2))
            beneath = beneath[: room - 1]
            for done, took in self._last(room - 1 - len(beneath)):
                rows.add_row(words(("  ✓", "green")), words(f"{done:<18}"), words(f"{took:6.1f} s"))
            title, spent = words((f"{name:<18}", "bold")), words(f"{now:6.1f} s")
            rows.add_row(spun, title, spent, drawn, words(left))
            return Group(rows, *beneath)
        present = words("  ", ("*", "cyan"), " ", (name, "bold"), f" {now:.1f} s")
        lines = [*self._folded(present), *beneath][:room]
        above = [line for one in self.done for line in self._folded(_over(*one))]
        spare = room - len(lines)
        return Group(*(above[-spare:] if spare else ()), *lines)

    def _folded(self, text: Text) -> list[Text]:
        """Its lines; on the narrowest terminals nothing hangs."""
        return hung(self.console, text, 4 if self.console.width >= HANGS else 0)

    def _last(self, most: int) -> list[tuple[str, float]]:
        return self.done[-most:] if most > 0 else []


def _over(name: str, took: float) -> Text:
    """A phase that is over, on a narrow terminal."""
    return words("  ", ("✓", "green"), f" {name} {took:.1f} s")


class Panel:
    """What `top` shows of one instance, below whatever is printed, from a thread of its own: a
    server that does not answer, and a terminal that takes nothing, hold nobody up.
    """

    def __init__(self, instance: StateDir, screen: Console) -> None:
        self._instance = instance
        self._live = Live(console=screen, auto_refresh=False, transient=True)
        self._stopped = threading.Event()
        self._drawing = threading.Lock()
        self._live.start()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        from launcher.operate.top import Top
        from launcher.output.top import drawn

        top, screen = Top(lambda: [self._instance]), self._live.console
        with contextlib.suppress(OSError):  # the terminal was closed
            while not self._stopped.is_set():
                shown = replace(top.look(), events=())  # they are printed above
                made = below(drawn(shown, screen)[: screen.height - 1])
                with self._drawing:
                    if not self._stopped.is_set():
                        self._live.update(made, refresh=True)
                self._stopped.wait(EVERY)
        top.close()

    def stop(self) -> None:
        """Take it away."""
        with self._drawing:
            self._stopped.set()
            self._live.stop()
