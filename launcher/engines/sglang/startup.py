"""What SGLang's own log says about a start: which phase it is in, how far, and whether it is ready.

The markers were read off the logs of 0.5.8 to 0.5.23; `tests/logs` holds whole starts, recorded
here and by others. They are hints: readiness is decided by a generated token (`api.py`), never
by a line of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from launcher.engines import witness

READY = "The server is fired up and ready to roll!"
PHASES = {
    "process": "process up",
    "distributed": "distributed init",
    "weights": "weights",
    "kv": "KV pool",
    "graphs": "CUDA graphs",
    "warmup": "warm-up",
    "smoke": "smoke test",
}
_ORDER = list(PHASES)

# Each text opens its phase, as the first words of a line. "Init torch distributed" is the wording
# up to 0.5.16 or so, "Init parallel" later. Nobody can send a request before "Uvicorn running on";
# after it no phase is opened.
_OPENS = (
    ("Init torch distributed begin", "distributed"),
    ("Init parallel begin", "distributed"),
    ("Load weight begin", "weights"),
    ("KV Cache is allocated", "kv"),
    ("Capture cuda graph begin", "graphs"),
    ("Capture target decode CUDA graph begin", "graphs"),
    ("Uvicorn running on", "warmup"),
    ("Starting embedded Granian HTTP/2 server on", "warmup"),
)
# tqdm as SGLang uses it, on lines of its own:
# "Multi-thread loading shards:  12% Completed | 6/47 [00:10<01:10,  1.7s/it]"
_BAR = re.compile(r"(?:Loading|Multi-thread) [\w -]{0,40}\bshards:|Capturing batches\b")
_DONE = re.compile(r".{0,200}? (\d+)/(\d+) \[[\d:]+<([\d:?]+)")
_BARS = {"L": "weights", "M": "weights", "C": "graphs"}  # by how the line begins
# What the scheduler will take, said once before the server listens.
_LIMITS = re.compile(
    r"max_total_num_tokens=\d+, chunked_prefill_size=(\S+), max_prefill_tokens=(\d+),"
    r" .{0,200}?context_len=(\d+)"
)
# The line a Python traceback ends in, argparse's, or the interpreter's own.
_ERROR = re.compile(
    r"(?:[A-Za-z_][\w.]*)?(?:Error|Exception|Interrupt|OutOfResources|TimeoutExpired)(?:: .*|:?$)"
    r"|(?:sglang serve|[\w.-]+\.py): error: .*"
    r"|\S*python[\d.]*: .*"
)
# After this SGLang goes on for as long as anybody watched, and never serves (seen on 0.5.23).
_DOOM = re.compile(r"\[Errno \d+\] error while attempting to bind on address .*")
_RECENT = (
    30.0  # seconds; an error that was followed by more serving than that did not end the server
)


@dataclass(frozen=True)
class Progress:
    """How far a phase is: shards or graphs done, of how many, and SGLang's own estimate of the rest
    (mm:ss).
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
    fired_up: bool = False
    doom: str | None = None
    error: str | None = None
    error_at: float = 0.0
    prefill: int | None = None  # tokens of prompts in a batch at most, as it says before it listens
    context: int | None = None  # tokens of a request at most
    # Where the log is in a traceback of a request; it tells nothing of the start.
    request: witness.Traceback = field(default=witness.Traceback.NONE, compare=False)

    @property
    def phase(self) -> str:
        """The phase it is in."""
        return next(reversed(self.began))

    @property
    def listens(self) -> bool:
        """Whether clients may have a say in what it logs, by now."""
        return self.fired_up or _ORDER.index(self.phase) >= _ORDER.index("warmup")

    def seconds(self, now: float) -> dict[str, float]:
        """How long each phase took; the present one up to `now`."""
        edges = [*self.began.values(), now]
        return {phase: round(edges[i + 1] - edges[i], 3) for i, phase in enumerate(self.began)}


def begin(now: float) -> Start:
    """A start whose process was just launched."""
    return Start({"process": now})


def proving(start: Start, now: float) -> Start:
    """The start of a server that generates, and is being asked whether it is right."""
    return replace(start, began={**start.began, "smoke": now}, progress=None)


def read(start: Start, line: str, now: float) -> Start:
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
    if told.text.rstrip() == READY and told.speaker is not None:
        return replace(start, fired_up=True, error=None)
    if not start.listens:
        start = _moved(start, told, now)
    if error := _ERROR.match(told.text):
        return _with_error(start, error[0].strip()[:500], now)
    return start


def _moved(start: Start, told: witness.Said, now: float) -> Start:
    """How far it is after a line from before it listens."""
    text, bar = told.text, None if told.is_framed else _BAR.match(told.text)
    phase = next(
        (phase for words, phase in _OPENS if told.is_framed and text.startswith(words)), start.phase
    )
    phase = _BARS[text[0]] if bar else phase
    if _ORDER.index(phase) > _ORDER.index(start.phase):
        start = replace(start, began={**start.began, phase: now}, progress=None)
    if bar and (done := _DONE.match(text, bar.end())):
        return replace(start, progress=Progress(int(done[1]), int(done[2]), done[3]))
    if told.is_framed and (limits := _LIMITS.match(text)):
        return _limited(start, *limits.groups())
    if told.is_framed and (doom := _DOOM.match(text)):
        return replace(start, doom=doom[0][:200])
    return start


def _limited(start: Start, chunk: str, prefill: str, context: str) -> Start:
    """With what its scheduler will take: unchunked, one prompt is a batch however long it is."""
    chunked = chunk.isdecimal() and int(chunk) > 0
    most = min(int(chunk), int(prefill)) if chunked else max(int(prefill), int(context))
    return replace(start, prefill=most, context=int(context))


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
