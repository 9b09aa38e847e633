"""Where the events of a launcher are shown: live on a terminal, one line each elsewhere, as JSON
lines, or in the journal.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from launcher.output.events import in_words, what
from launcher.output.terminal import is_drawn_on
from launcher.serve import journald
from launcher.statedir.events import Event

if TYPE_CHECKING:
    from launcher.statedir.folder import StateDir

Show = Callable[[Event], None]
MOST_WAITING = 1000  # events that nobody took yet
PROGRESS_EVERY = 10.0  # seconds between lines of progress where nothing can be redrawn
SERIOUS = {"death", "canary", "gpu", "warning"}
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
    return "live" if is_drawn_on(stream) else "plain"


def to_journal(event: Event) -> None:
    """Log an event with its fields: `journalctl -t glm5-serve GLM5_CAUSE=no-memory-for-kv`."""
    line = what(event)
    if line is None or event.kind == "progress":
        return
    told = event.to_json()
    failed = told.get("state") == "failed" or told.get("ok") is False
    fields = {f"GLM5_{name.upper()}": told[name] for name in FIELDS if told.get(name) is not None}
    priority = 3 if failed else 4 if event.kind in SERIOUS else 6
    journald.send(line, {"PRIORITY": priority, "SYSLOG_IDENTIFIER": "glm5-serve", **fields})


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
