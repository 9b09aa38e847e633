"""How events look to a person: a live picture on a terminal, one line each elsewhere, or JSON
lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from launcher import printable
from launcher.engines.log import PHASES
from launcher.serve import journald
from launcher.statedir.events import Event

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

# what an event raises that is not as it should be
ODD = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
)
Show = Callable[[Event], None]
MOST_WAITING = 1000  # events that nobody took yet
PROGRESS_EVERY = 10.0  # seconds between lines of progress where nothing can be redrawn


def screen(kind: str) -> Show:
    """Where events go: `live` or `plain` on stderr, `json` lines on stdout, `journal`, or
    `none`.
    """
    match kind:
        case "live":
            return LiveScreen().show
        case "json":
            return lambda event: _print(json.dumps(event.to_json()), sys.stdout)
        case "plain":
            return PlainScreen().show
        case "journal":
            return to_journal
        case _:
            return lambda event: None


class Unhurried:
    """Shows events in a thread of its own: a terminal or a pipe that takes nothing must not hold
    the launcher up.

    What is not taken in time is left out; the events file has it.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def show(self, event: Event) -> None:
        """Have an event shown, soon. Never waits."""
        if self._events.qsize() < MOST_WAITING:
            self._events.put(event)

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            self._show(event)

    def close(self, within: float = 2.0) -> bool:
        """Wait a moment for what is left to be shown; whether it was."""
        self._events.put(None)
        self._thread.join(within)
        return not self._thread.is_alive()


def kind_for(stream: TextIO, *, as_json: bool) -> str:
    """The screen that fits where the output goes."""
    if as_json:
        return "json"
    if journald.is_connected(stream, os.environ):
        return "journal"
    return "live" if stream.isatty() else "plain"


def in_words(event: Event) -> str | None:
    """One line for an event, or None for one that is not worth a line, or not as it should be."""
    try:
        said = _words(event)
    except ODD:
        return None
    return said and printable.line(said)


def _words(event: Event) -> str | None:
    clock = event.time[11:19]
    match event.kind, event.fields:
        case "state", {"state": "ready", "moved": True, "seconds": seconds, "url": url}:
            total = sum(seconds.values())
            return f"{clock}  ready      in {total:.1f} s: {url}"
        case "state", {"state": "starting", "reason": reason, "log": log}:
            return f"{clock}  starting   {event.profile}, {reason}; log in {log}"
        case "state", {"state": state, "reason": reason}:
            return f"{clock}  {state:<9}  {reason}"
        case "phase", {"phase": phase, "seconds": seconds}:
            *_, (last, took), _ = seconds.items()
            return f"{clock}  {PHASES[last]:<16}  {took:6.1f} s   next: {PHASES[phase]}"
        case "progress", {"phase": phase, "progress": {"done": done, "total": total, "left": left}}:
            return f"{clock}  {PHASES[phase]:<16}  {done}/{total}, {left} left"
        case "readahead", {"end": str()}:
            return f"{clock}  read ahead {reading(event.fields)}"
        case "death", {"run": run, "how": how, "cause": cause, "what": what, "fix": fix}:
            return f"{clock}  died       run {run} {how}; {cause}: {what}; fix: {fix}"
        case "smoke", {"ok": ok, "detail": detail, "seconds": seconds}:
            return (
                f"{clock}  smoke      {'passed' if ok else 'FAILED'} in {seconds:.1f} s: {detail}"
            )
        case "gpu", {"line": line}:
            return f"{clock}  gpu        {line}"
        case "warning", {"reason": reason}:
            return f"{clock}  warning    {reason}"
    return None


def reading(told: Mapping[str, Any]) -> str:
    """How far the checkpoint is in memory, at which rate, and why not further."""
    done, total, seconds = told["read"] + told["cached"], told["total"], told["seconds"]
    gib = f"{done / 2**30:.1f} of {total / 2**30:.1f} GiB" if done < total else _gib(total)
    rate = f" in {seconds:.1f} s ({told['read'] / seconds / 1e9:.1f} GB/s)" if told["read"] else ""
    cached = f", {_gib(told['cached'])} of it were in memory" if told["cached"] else ""
    where = f", from {told['where']}" if told["where"] else ""
    why = f": {told['end']}" if told["end"] else ""
    if told["cached"] >= total > 0:
        return f"{gib}: all of it is in memory already"
    return f"{gib}{rate}{cached}{where}{why}" if done else f"nothing{where}{why}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def dated(event: Event) -> str | None:
    """One line for an event of any day; what has no line of its own is shown as it is."""
    line = in_words(event)
    time = printable.line(event.time)
    return f"{time[:10]} {line or f'{time[11:19]}  {json.dumps(event.to_json())}'}"


def timeline(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    """The phases of a start in words, with the seconds each took."""
    return [(PHASES.get(phase, phase), took) for phase, took in seconds.items()]


SERIOUS = {"death", "gpu", "warning"}
FIELDS = (
    "event",
    "profile",
    "state",
    "phase",
    "run",
    "restarts",
    "reason",
    "cause",
    "fix",
    "how",
    "xid",
    "ok",
)


def to_journal(event: Event) -> None:
    """Log an event with its fields: `journalctl -t glm5-serve GLM5_CAUSE=no-memory-for-kv`."""
    line = in_words(event)
    if line is None or event.kind == "progress":
        return
    told = event.to_json()
    failed = told.get("state") == "failed" or told.get("ok") is False
    fields = {f"GLM5_{name.upper()}": told[name] for name in FIELDS if told.get(name) is not None}
    priority = 3 if failed else 4 if event.kind in SERIOUS else 6
    journald.send(line[10:], {"PRIORITY": priority, "SYSLOG_IDENTIFIER": "glm5-serve", **fields})


class PlainScreen:
    """A line for each event; progress now and then."""

    def __init__(self) -> None:
        self.told_progress = 0.0

    def show(self, event: Event) -> None:
        """Print one event."""
        if event.kind == "progress":
            now = time.monotonic()
            if now - self.told_progress < PROGRESS_EVERY:
                return
            self.told_progress = now
        if (line := in_words(event)) is not None:
            _print(line, sys.stderr)


class LiveScreen:
    """The start as it happens: finished phases with their times, the present one moving."""

    def __init__(self) -> None:
        from rich.spinner import Spinner

        from launcher.output import console as terminal

        self.console = terminal.console(sys.stderr)
        self.spinner = Spinner("dots", style="cyan")
        self.live: Live | None = None
        self.done: list[tuple[str, float]] = []
        self.phase = "process"
        self.since = time.monotonic()
        self.bar: Mapping[str, Any] | None = None
        self.reading: str | None = None

    def show(self, event: Event) -> None:
        """Draw one event; a terminal that was closed takes nothing, and an event of another shape
        is left out.
        """
        with contextlib.suppress(OSError, *ODD):
            self._show(event)

    def _show(self, event: Event) -> None:
        from launcher.output.console import words

        match event.kind, event.fields:
            case "phase", {"phase": phase, "seconds": seconds}:
                self.done = timeline(seconds)[:-1]
                self.phase, self.since, self.bar = str(phase), time.monotonic(), None
            case "progress", {"progress": {"done": int(), "total": int(), "left": _} as bar}:
                self.bar = bar
            case "readahead", {"end": None}:
                self.reading = reading(event.fields)
            case "readahead", {"end": str()}:
                self.reading = None
                self.console.print(
                    words("  ", ("✓", "green"), " read ahead ", reading(event.fields))
                )
            case "state", {"state": "starting", "reason": reason, "log": log}:
                self._begin()
                self.console.print(words((f"{event.profile}, {reason}; log in {log}", "dim")))
            case "state", {"state": "ready", "moved": True, "seconds": seconds, "url": url}:
                self._end(seconds)
                total = sum(seconds.values())
                self.console.print(
                    words(("ready", "bold green"), f" in {total:.1f} s  ", (url, "bold"))
                )
            case ("state" | "warning" | "death" | "gpu", _) | ("smoke", {"ok": False}):
                self._end(None)
                self.console.print(words(in_words(event) or ""))

    def _begin(self) -> None:
        from rich.live import Live

        self._end(None)
        self.done, self.phase, self.since, self.bar = [], "process", time.monotonic(), None
        self.live = Live(
            get_renderable=self._picture, console=self.console, refresh_per_second=8, transient=True
        )
        self.live.start()

    def _end(self, seconds: Mapping[str, float] | None) -> None:
        from launcher.output.console import words

        if self.live is not None:
            self.live.stop()
            self.live = None
            for name, took in timeline(seconds) if seconds else self.done:
                self.console.print(words("  ", ("✓", "green"), f" {name:<18} {took:6.1f} s"))

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        from launcher.output.console import words

        rows = Table.grid(padding=(0, 1))
        for done, took in self.done:
            rows.add_row(words(("  ✓", "green")), words(f"{done:<18}"), words(f"{took:6.1f} s"))
        now = time.monotonic() - self.since
        bar: RenderableType = words()
        left = words()
        if self.bar:
            bar = ProgressBar(total=self.bar["total"], completed=self.bar["done"], width=30)
            left = words(f"{self.bar['done']}/{self.bar['total']}, {self.bar['left']} left")
        name = words((f"{PHASES.get(self.phase, self.phase):<18}", "bold"))
        rows.add_row(Padding(self.spinner, (0, 0, 0, 2)), name, words(f"{now:6.1f} s"), bar, left)
        ahead = [words((f"    reads ahead {self.reading}", "dim"))] if self.reading else []
        return Group(rows, *ahead)


def _print(text: str, stream: TextIO) -> None:
    with contextlib.suppress(OSError):
        print(text, file=stream, flush=True)
