"""Where a log is, and the signs of life of the start that it tells of."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.engines.log import PHASES, SERVING

_ORDER = (*PHASES, SERVING)


@dataclass
class Pulse:
    """Counts of what was read, and where the server last showed that it lives; -1: never."""

    taken: int = 0  # lines
    at: int = 0  # those of them that count
    worked: int = 0  # batches
    worked_at: int = -1  # the last line that told of tokens, or that it is ready
    rested_at: int = -1  # or that nobody waits for any
    alive_at: int = -1  # of what a logger said calmly, or a request that was answered
    phase: str | None = None
    moved: int = 0  # phases that opened
    stopped_at: int | None = None  # where somebody asked it to stop
    stuck: int = 0  # lines in a row, to the last, that tell of requests which run, and of no token

    @property
    def answered_at(self) -> int:
        """The last line that tells of an answer, or that nobody waits for one."""
        return max(self.worked_at, self.rested_at)

    @property
    def lived_at(self) -> int:
        """The last line that tells of a server that goes on."""
        return max(self.answered_at, self.alive_at)

    def begin(self) -> None:
        """Another start: it has shown nothing yet."""
        self.phase, self.stopped_at, self.stuck = "process", None, 0
        self.worked_at = self.rested_at = self.alive_at = -1

    def serve(self, batches: int = 0) -> None:
        """It is ready, or tells of batches."""
        self.worked, self.stuck = self.worked + batches, 0
        self.worked_at, self.phase = self.at, SERVING

    def enter(self, phase: str | None) -> None:
        """A phase opens; a start only moves on."""
        if phase and (self.phase is None or _ORDER.index(phase) > _ORDER.index(self.phase)):
            self.phase, self.moved = phase, self.moved + 1
