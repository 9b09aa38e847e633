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
from typing import TYPE_CHECKING, TextIO

from launcher import printable
from launcher.engines.log import PHASES
from launcher.serve import journald
from launcher.statedir.events import Event

if TYPE_CHECKING:
    from launcher.statedir.folder import StateDir

# what an event raises that is not as it should be
ODD = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
)
Show = Callable[[Event], None]
# of states; else red
COLOURS = {
    "ready": "green",
    "starting": "cyan",
    "stopping": "yellow",
    "backoff": "yellow",
}
MOST_WAITING = 1000  # events that nobody took yet
PROGRESS_EVERY = 10.0  # seconds between lines of progress where nothing can be redrawn


def screen(kind: str, instance: StateDir | None = None) -> Show:
    """Where events go: `live` or `plain` on stderr, `json` lines on stdout, `journal`, or `none`.

    `instance`: whose figures are shown for as long as it is ready, where that can be drawn.
    """
    match kind:
        case "live":
            from launcher.output.live import LiveScreen

            return LiveScreen(instance).show
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


def _print(text: str, stream: TextIO) -> None:
    with contextlib.suppress(OSError):
        print(text, file=stream, flush=True)
