"""Where a log is, and the signs of life of the start that it tells of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.engines.log import PHASES, SERVING

_ORDER = (*PHASES, SERVING)
# The stamp of an engine's own logger; who carried the line may have a clock of another zone.
_STAMP = re.compile(r"(?:\[\d{4}-|\b[A-Z]{4,8} )(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:[ \].,]|$)")
_DAY = 24 * 60 * 60
_MONTH = 31  # days: a little more at the end of some does no harm


def told_at(line: str | bytes) -> int | None:
    """The seconds at which a line was written, from a time that does not matter; None: untold."""
    found = _STAMP.search(line.decode(errors="replace") if isinstance(line, bytes) else line)
    if found is None:
        return None
    month, day, hour, minute, second = map(int, found.groups())
    return (month * _MONTH + day) * _DAY + (hour * 60 + minute) * 60 + second


def between(first: str | bytes, last: str | bytes) -> int:
    """Seconds from one line to another; 0 where they do not tell, or the year ended meanwhile."""
    since, until = told_at(first), told_at(last)
    return 0 if since is None or until is None else max(0, until - since)


@dataclass
class Pulse:
    """Counts of what was read, and where the server last showed that it lives; -1: never.

    Of lines that come again and again the last one is kept as it stands: its numbers are read at
    the end alone.
    """

    taken: int = 0  # lines
    at: int = 0  # those of them that count
    worked: int = 0  # batches
    worked_at: int = -1  # the last line that told of tokens, or that it is ready
    rested_at: int = -1  # or that nobody waits for any
    moved_at: int = -1  # the last batch, be it of prompts alone
    alive_at: int = -1  # of what a logger said calmly, or a request that was answered
    phase: str | None = None
    moved: int = 0  # phases that opened
    stopped_at: int | None = None  # where somebody asked it to stop
    stuck: int = 0  # lines in a row, to the last, that tell of requests which run, and of no token
    stuck_from: str | bytes = ""  # the first of them, and the last
    stuck_to: str | bytes = ""
    batch: str | bytes = ""  # the last line that told of a batch, or of what there is to do
    reads: bool = False  # it was one of prompts
    probes: int = 0  # questions since then that only asked how it is, and were answered well
    probe: str | bytes = ""  # the last one
    probed_at: int = -1

    @property
    def answered_at(self) -> int:
        """The last line that tells of an answer, or that nobody waits for one."""
        return max(self.worked_at, self.rested_at)

    @property
    def lived_at(self) -> int:
        """The last line that tells of a server that goes on."""
        return max(self.answered_at, self.alive_at)

    @property
    def stuck_for(self) -> int:
        """Seconds for which it told of requests, and of no token."""
        return between(self.stuck_from, self.stuck_to) if self.stuck else 0

    @property
    def probed_for(self) -> int:
        """Seconds in which nothing came but questions how it is."""
        return between(self.batch, self.probe) if self.probes else 0

    def begin(self) -> None:
        """Another start: it has shown nothing yet."""
        self.phase, self.stopped_at, self.stuck = "process", None, 0
        self.worked_at = self.rested_at = self.alive_at = self.moved_at = -1
        self.probed_at = -1
        self.tell("")

    def serve(self, batches: int = 0) -> None:
        """It is ready, or tells of batches."""
        self.worked, self.stuck = self.worked + batches, 0
        self.worked_at, self.phase = self.at, SERVING
        self.moved_at = self.at if batches else self.moved_at

    def rest(self, line: str | bytes, *, is_stuck: bool) -> None:
        """It tells of no token: because nobody waits, or though somebody does."""
        self.stuck = self.stuck + 1 if is_stuck else 0
        if is_stuck:
            self.stuck_from = self.stuck_from if self.stuck > 1 else line
            self.stuck_to = line
        else:
            self.rested_at = self.at
        self.tell(line)

    def tell(self, line: str | bytes, *, reads: bool = False) -> None:
        """A line about batches: what was asked before does not count any more."""
        self.batch, self.reads, self.probes, self.probe = line, reads, 0, ""
        self.moved_at = self.at if reads else self.moved_at

    def asked(self, line: str | bytes, *, is_for_work: bool) -> None:
        """A request was answered well: one for tokens shows that it works; how it is asks a probe,
        which the front of a server may answer whose engine does nothing.
        """
        if is_for_work:
            self.alive_at = self.at
            self.tell("")
        else:
            self.probes, self.probe, self.probed_at = self.probes + 1, line, self.at + 1

    def read_within(self, seconds: int, line: str) -> bool:
        """Whether it read prompts in the last so many seconds before a line."""
        told = told_at(self.batch), told_at(line)
        return self.reads and None not in told and between(self.batch, line) <= seconds

    def enter(self, phase: str | None) -> None:
        """A phase opens; a start only moves on."""
        if phase and (self.phase is None or _ORDER.index(phase) > _ORDER.index(self.phase)):
            self.phase, self.moved = phase, self.moved + 1
