"""Failures that a log told of, how much each counts, and which of them the server survived."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from launcher.diagnose.deaths import LastWords
from launcher.diagnose.matching import Found
from launcher.diagnose.pulse import Pulse
from launcher.diagnose.tracebacks import Frames
from launcher.engines.failures import WEIGHTS, Failure, cases
from launcher.knowledge import families

EVIDENCE = 4  # lines that are shown for a cause
WORKED = 50  # batches (of forty tokens, from each replica) after a complaint: nothing died of it
MOVED = 2  # phases that opened after an exception: it was caught
_FRAME = re.compile(r"^\[[^\]]*\]:? ?")  # rank and time, in which lines of ranks differ


@dataclass
class Hit:
    """A failure that was recognized: where first, how much it counts, and the lines that say so."""

    failure: Failure
    at: int  # among those that count
    line: int  # among all
    weight: str
    words: dict[str, str]
    is_kernels: bool
    is_logged: bool  # by a logger, which goes on; else raised or printed
    phase: str | None
    worked: int = 0  # batches that had been told of by then
    moved: int = 0  # phases that had opened by then
    is_fatal: bool = False  # within the last lines of a process
    last: int = 0  # where it was said last
    is_old: bool = False  # of the start before
    lines: dict[str, str] = field(default_factory=dict)  # by what is in them besides rank and time

    def show(self, lines: list[str]) -> None:
        """Keep the lines that say so, each once."""
        for text in lines:
            self.lines.setdefault(_FRAME.sub("", text), text.strip())


def _weaker(weight: str) -> str:
    """The weight of what was told of the start before."""
    return "generic" if weight in WEIGHTS[: WEIGHTS.index("generic")] else weight


class Hits:
    """The failures that the last start of a log tells of."""

    def __init__(self, pulse: Pulse, ends: LastWords, frames: Frames) -> None:
        self._pulse, self._ends, self._frames = pulse, ends, frames
        self._hits: dict[str, Hit] = {}
        self.shown: set[str] = set()  # failures that no further line could say more of

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits.values())

    def begin(self, since: int | None) -> None:
        """Another start: the server's words of the last one do not count any more.

        The kernel's do where they stand before the only start: that is a kernel log and then a
        server's. Of more starts, those since the start before tell of another death: they explain
        this one if it does not itself.
        """
        stay = [hit for hit in self if hit.is_kernels and hit.at >= (since or 0)]
        if since is not None:
            stay = [replace(hit, weight=_weaker(hit.weight), is_old=True) for hit in stay]
        self._hits = {hit.failure.id: hit for hit in stay}
        self.shown.clear()

    def forgive(self) -> None:
        """It serves: what it said before did not kill it.

        The kernel's words may be of later, put in front.
        """
        stay = [hit for hit in self if hit.is_kernels or hit.weight == "note"]
        self._hits = {hit.failure.id: hit for hit in stay}
        self.shown.clear()

    def take(self, found: Found, line: str, *, is_logged: bool) -> Hit | None:
        """One more line that tells of a failure: the hit, if it is a new one."""
        failure, phase = found.failure, self._frames.phase(self._pulse.at) or self._pulse.phase
        is_case = partial(self._is_case, words=found.words, line=line, phase=phase)
        failure = next(filter(is_case, cases(failure.id)), failure)
        shown = self.needed(failure, line)
        if failure.id in self.shown or not shown:
            return None
        if failure.of and failure.pattern:  # the line tells what the phase was only guessed to be
            for id in (failure.of, *(case.id for case in cases(failure.of) if case.phases)):
                self._hits.pop(id, None)
        known = self._hits.get(failure.id)
        is_new = known is None or known.is_old or self.was_survived(known)
        if known is None or is_new:
            known = self._made(failure, found.words, phase, is_logged=is_logged)
            self._hits.pop(failure.id, None)  # in the order of their lines
            self._hits[failure.id] = known
        known.last = self._pulse.at
        if known.weight == "consequence" and not self._ends.begins_at(self._pulse.at):
            self._ends.is_told = True
        if len(known.lines) < EVIDENCE:
            known.show(shown)
        else:
            self.shown.add(failure.id)
        return known if is_new else None

    def _is_case(
        self, case: Failure, *, words: Mapping[str, str], line: str, phase: str | None
    ) -> bool:
        """Whether what a line tells of is said as this case of it, by where the server was."""
        within = words.get("seconds", "")
        is_reading = within.isdecimal() and self._pulse.read_within(int(within), line)
        return phase in case.phases or (case.reading and is_reading)

    def needed(self, failure: Failure, line: str) -> list[str]:
        """The lines that show it: with the frame, or the code, that it needs; none where that is
        missing.
        """
        if not failure.needs:
            return [line]
        at = self._pulse.at
        around = (*self._frames.near(at), *self._frames.code(at), line)
        needed = [text for text in around if failure.needs.search(text)][-1:]
        return [line, *needed] if needed else []

    def _made(
        self, failure: Failure, words: dict[str, str], phase: str | None, *, is_logged: bool
    ) -> Hit:
        is_kernels = failure.origin == "kernel"
        # Who outlived another one says so, and goes: SGLang's parent kills itself then.
        follows = failure.follows and (self._ends.is_told or self.tell_of_a_death())
        is_of_it = failure.weight == "note" or failure.family == families.STOPPED
        stopped = self._pulse.stopped_at is not None and not (is_kernels or is_of_it)
        death = self._ends.death
        return Hit(
            failure,
            self._pulse.at,
            self._pulse.taken,
            "consequence" if follows or stopped else failure.weight,
            dict(words),
            is_kernels,
            is_logged,
            phase,
            self._pulse.worked,
            self._pulse.moved,
            is_fatal=bool(death and death.is_open and death.is_exception),
        )

    def finish(self, text: str) -> None:
        """Drop the steps that a line ends."""
        for hit in self._steps():
            if hit.failure.until and hit.failure.until.search(text):
                del self._hits[hit.failure.id]

    def _steps(self) -> list[Hit]:
        return [hit for hit in self if hit.failure.weight == "unfinished"]

    def settled(self) -> list[Hit]:
        """Every hit at the end: what the server went on after is a note."""
        hits = [hit for hit in self if hit.failure.weight != "unfinished"]
        return [replace(hit, weight="note") if self.was_survived(hit) else hit for hit in hits]

    def stands(self) -> list[Hit]:
        """The steps that the log ends in: no other phase opened since, and nobody died or served,
        the last one first.
        """
        told = self._ends.error.at if self._ends.error else -1
        since = max(self._pulse.answered_at, told)
        steps = reversed(self._steps())
        return [hit for hit in steps if hit.last > since and hit.moved == self._pulse.moved]

    def waits(self) -> Hit | None:
        """What said that an answer takes long, of which there was no sign since."""
        waits = (hit for hit in self if hit.failure.family == "hang" and hit.weight == "note")
        return next((hit for hit in waits if hit.last > self._pulse.answered_at), None)

    def passed(self) -> Hit | None:
        """What it said of itself and went on after, where a batch came since."""
        passed = (hit for hit in self if hit.failure.passes and self.was_survived(hit))
        return max(passed, key=lambda hit: hit.last, default=None)

    def was_survived(self, hit: Hit) -> bool:
        """Whether the server went on for long after it."""
        if hit.is_kernels:
            return False
        if hit.failure.passes and self._pulse.moved_at > hit.last:
            return True
        moved = self._pulse.moved - hit.moved
        is_past = not hit.is_fatal and moved >= (1 if hit.is_logged else MOVED)
        return is_past or self._pulse.worked - hit.worked >= WORKED

    def tell_of_a_death(self) -> bool:
        """Whether something that is no mere consequence came before: another's exception, or a
        known complaint.
        """
        if self._ends.came_before(self._pulse.at):
            return True
        return any(hit.weight in WEIGHTS and not hit.failure.follows for hit in self.settled())
