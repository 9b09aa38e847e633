"""What an engine's own log says about a start: which phase it is in, how far, and whether it is
ready.

The words are the engine's (`log.Log`); here is how lines are put together. They are hints:
readiness is decided by a generated token (`runtime.Runtime.first_token`), never by a line of text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from launcher.engines import witness
from launcher.engines.log import Log, Said
from launcher.statedir.starts import Waited

# A bar of tqdm on a line of its own:
# "Multi-thread loading shards:  12% Completed | 6/47 [00:10<01:10,  1.7s/it]"
_DONE = re.compile(r".{0,200}? (\d{1,9})/(\d{1,9}) \[[\d:]+<([\d:?]{1,20})")
# The line a Python traceback ends in, argparse's, or the interpreter's own.
_ERROR = re.compile(
    r"(?:[A-Za-z_][\w.]*)?(?:Error|Exception|Interrupt|OutOfResources|TimeoutExpired)(?:: .*|:?$)"
    r"|(?:\w+ serve|[\w.-]+\.py): error: .*"
    r"|\S*python[\d.]*: .*"
)
_RECENT = (
    30.0  # seconds; an error that was followed by more serving than that did not end the server
)


@dataclass(frozen=True)
class Progress:
    """How far a phase is: shards or graphs done, of how many, and the engine's own estimate of the
    rest (mm:ss).
    """

    done: int
    total: int
    left: str


@dataclass(frozen=True)
class Start:
    """One start of the server as far as its log tells; `began` maps each phase to its first
    second.
    """

    began: dict[str, float]
    progress: Progress | None = None
    listens: bool = False  # clients may have a say in what it logs, by now
    fired_up: bool = False
    doom: str | None = None
    error: str | None = None
    error_at: float = 0.0
    prefill: int | None = None  # tokens of prompts in a batch at most, as it says before it listens
    context: int | None = None  # tokens of a request at most
    # what its processes did in each phase, as far as they were looked at
    waits: Mapping[str, Waited] = field(default_factory=dict)
    # Where the log is in a traceback of a request; it tells nothing of the start.
    request: witness.Traceback = field(default=witness.Traceback.NONE, compare=False)

    @property
    def phase(self) -> str:
        """The phase it is in."""
        return next(reversed(self.began))

    def seconds(self, now: float) -> dict[str, float]:
        """How long each phase took; the present one up to `now`."""
        edges = [*self.began.values(), now]
        return {phase: round(edges[i + 1] - edges[i], 3) for i, phase in enumerate(self.began)}


def begin(now: float) -> Start:
    """A start whose process was just launched."""
    return Start({"process": now})


def waited(start: Start, meanwhile: Waited) -> Start:
    """The start whose processes did this since they were looked at before, in its present phase."""
    before = start.waits.get(start.phase, Waited())
    return replace(start, waits={**start.waits, start.phase: before + meanwhile})


def proving(start: Start, now: float) -> Start:
    """The start of a server that generates, and is being asked whether it is right."""
    return replace(start, began={**start.began, "smoke": now}, progress=None, listens=True)


def read(start: Start, line: str, now: float, log: Log) -> Start:
    """The start after one more line, of which only what the engine itself wrote counts.

    Phases only move on: eight ranks log each step at different times. Once it listens nothing but
    its last word, that it is ready, is of the start: what else looks like it was sent by somebody.
    """
    if witness.is_about_a_request(line):
        return start
    told = witness.said(line)
    start = replace(start, request=start.request.after(told)) if start.listens else start
    if start.request.is_one:
        return start
    if told.text.rstrip() == log.ready and told.speaker is not None:
        return replace(start, listens=True, fired_up=True, error=None)
    if not start.listens:
        start = _moved(start, told, now, log)
    if error := _ERROR.match(told.text):
        return _with_error(start, error[0].strip()[:500], now)
    return start


def _moved(start: Start, told: Said, now: float, log: Log) -> Start:
    """How far it is after a line from before it listens."""
    phase, bar = _opened(told, log)
    if phase and log.phases.index(phase) > log.phases.index(start.phase):
        began = {**start.began, phase: now}
        start = replace(start, began=began, progress=None, listens=phase == "warmup")
    if bar and (done := _DONE.match(told.text, bar.end())):
        return replace(start, progress=Progress(int(done[1]), int(done[2]), done[3]))
    if told.is_framed and (limits := log.limits(told.text)):
        prefill = start.prefill if limits.prefill is None else limits.prefill
        context = start.context if limits.context is None else limits.context
        return replace(start, prefill=prefill, context=context)
    if told.is_framed and (doom := log.doom.match(told.text)):
        return replace(start, doom=doom[0][:200])
    return start


def _opened(told: Said, log: Log) -> tuple[str | None, re.Match[str] | None]:
    """The phase that a line is of, where it tells, and the beginning of a bar, which has no
    frame.
    """
    if told.is_framed:
        phases = (phase for words, phase in log.opens if told.text.startswith(words))
        return next(phases, None), None
    bars = ((phase, bar) for begins, phase in log.bars if (bar := begins.match(told.text)))
    return next(bars, (None, None))


def _with_error(start: Start, error: str, now: float) -> Start:
    """Keep the first error of a row: it is nearest to the root cause, the others follow from it."""
    if start.error is not None and (not start.fired_up or now - start.error_at <= _RECENT):
        return start
    return replace(start, error=error, error_at=now)


def cause(start: Start, now: float) -> str | None:
    """The error that may have ended the server: while it started any, while it served only a recent
    one.
    """
    return start.error if not start.fired_up or now - start.error_at <= _RECENT else None
