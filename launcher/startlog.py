"""What SGLang's own log says about a start: which phase it is in, how far, and whether it is ready.

The markers were read off the logs of 0.5.8 to 0.5.23; `tests/logs` holds whole starts, recorded here and by
others. They are hints: readiness is decided by a generated token (`health.py`), never by a line of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

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

# Each text opens its phase. "Init torch distributed" is the wording up to 0.5.16 or so, "Init parallel" later.
_OPENS = (
    ("Init torch distributed begin", "distributed"),
    ("Init parallel begin", "distributed"),
    ("Load weight begin", "weights"),
    ("checkpoint shards:", "weights"),
    ("loading shards:", "weights"),
    ("KV Cache is allocated", "kv"),
    ("Capture cuda graph begin", "graphs"),
    ("Capture target decode CUDA graph begin", "graphs"),
    ("Capturing batches", "graphs"),
    ("Uvicorn running on", "warmup"),
)
READY = "The server is fired up and ready to roll!"
# tqdm as SGLang uses it: "Multi-thread loading shards:  12% Completed | 6/47 [00:10<01:10,  1.7s/it]"
_BAR = re.compile(r"(?:shards|Capturing)\b.*?(\d+)/(\d+) \[[\d:]+<([\d:?]+)")
# The line a Python traceback ends in, argparse's, or the interpreter's own.
_ERROR = re.compile(
    r"^(?:\[[^]]*\]:? )?("
    r"(?:[A-Za-z_][\w.]*)?(?:Error|Exception|Interrupt|OutOfResources|TimeoutExpired)(?:: .*|:?$)"
    r"|(?:sglang serve|[\w.-]+\.py): error: .*"
    r"|\S*python[\d.]*: .*)"
)
# After this SGLang goes on for as long as anybody watched, and never serves (seen on 0.5.23).
_DOOM = re.compile(r"error while attempting to bind on address .*")
_RECENT = 30.0  # seconds; an error that was followed by more serving than that did not end the server


@dataclass(frozen=True)
class Progress:
    """How far a phase is: shards or graphs done, of how many, and SGLang's own estimate of the rest (mm:ss)."""

    done: int
    total: int
    left: str


@dataclass(frozen=True)
class Start:
    """One start of the server as far as its log tells; `began` maps each phase to its first second."""

    began: dict[str, float]
    progress: Progress | None = None
    fired_up: bool = False
    doom: str | None = None
    error: str | None = None
    error_at: float = 0.0

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


def proving(start: Start, now: float) -> Start:
    """The start of a server that generates, and is being asked whether it is right."""
    return replace(start, began={**start.began, "smoke": now}, progress=None)


def read(start: Start, line: str, now: float) -> Start:
    """The start after one more line. Phases only move on: eight ranks log each step at different times."""
    phase = next((phase for text, phase in _OPENS if text in line), start.phase)
    if _ORDER.index(phase) > _ORDER.index(start.phase):
        start = replace(start, began={**start.began, phase: now}, progress=None)
    if READY in line:
        return replace(start, fired_up=True, error=None)
    if bar := _BAR.search(line):
        done, total, left = bar.groups()
        return replace(start, progress=Progress(int(done), int(total), left))
    if doom := _DOOM.search(line):
        return replace(start, doom=doom[0][:200])
    if error := _ERROR.match(line):
        return _with_error(start, error[1].strip()[:500], now)
    return start


def _with_error(start: Start, error: str, now: float) -> Start:
    """Keep the first error of a row: it is nearest to the root cause, the others follow from it."""
    if start.error is not None and (not start.fired_up or now - start.error_at <= _RECENT):
        return start
    return replace(start, error=error, error_at=now)


def cause(start: Start, now: float) -> str | None:
    """The error that may have ended the server: while it started any, while it served only a recent one."""
    return start.error if not start.fired_up or now - start.error_at <= _RECENT else None
