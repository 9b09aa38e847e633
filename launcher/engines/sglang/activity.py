"""Whether tokens flow: what a serving SGLang says of its own work, and since when it has said
nothing new.

Two voices: the log (a line for each prefill, and one for every forty decode steps) and the load
snapshot that each scheduler's loop publishes (`/v1/loads`). A loop that hangs falls silent in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.engines.witness import STAMP, said
from launcher.plan.plan import Plan

# The slowest prefill that anybody reported for GLM-5 on 8x RTX PRO 6000 is 4,000 tokens a second:
# ten times slower is still no hang.
PREFILL_RATE = 400.0
HAS_READY = [0, 5, 20]  # the first release with /ready
LARGEST_BATCH = (
    16384  # tokens of a prefill where nobody says what it may take: SGLang's own default
)
# seconds that nothing but the log says that it works, or that it was paused: somebody may write it
ALONE = 900.0
_BATCH = re.compile(
    r"(Prefill|Decode) batch(?: \[\d+\])?[.,] #(?:new-seq: \d+, #new-token: (\d+)|running-req:"
    r" \d+)\b"
)
# 0.5.9 to 0.5.23
_LEAVES = re.compile(r"Gracefully exiting\.\.\. Remaining number of requests 0\b")
_PAUSE = re.compile(
    rf"(?:{STAMP}\] )?INFO: +\S+ - "
    r'"POST /(pause_generation|continue_generation)(?:\?\S*)? HTTP/[\d.]+" 200(?: OK)?'
)


@dataclass(frozen=True)
class Allowed:
    """What a plan lets the log and the processes of its server excuse."""

    batch: int | None = None  # tokens of prompts in a batch at most; None: the plan leaves it open
    # a pause may be read off the log: this release cannot be asked (/ready came with 0.5.20)
    pauses: bool = True
    compiling: float = ALONE  # seconds in a row that a compiler may keep it from answering
    is_quiet: bool = False  # its log does not say when it begins to listen


def allowed(plan: Plan) -> Allowed:
    """What this plan allows. Unchunked (-1) one prompt is a batch, however long it is."""
    chunk, prefill = plan.flag("chunked-prefill-size"), plan.flag("max-prefill-tokens")
    known = [int(size) for size in (chunk, prefill) if size and size.isdecimal()]
    is_whole = chunk is not None and not chunk.isdecimal()
    release = [int(part) for part in re.findall(r"\d+", plan.release or "")[:3]]
    return Allowed(
        min(known) if known and not is_whole else None,
        not release or release < HAS_READY,
        plan.policy.stall_timeouts.warmup,
        plan.flag("log-level-http", "log-level") not in (None, "info", "debug", "trace"),
    )


@dataclass(frozen=True)
class Activity:
    """What each data-parallel replica last said, and when it last said something else."""

    said: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    since: dict[int, float] = field(default_factory=dict)

    def stuck(self, now: float, stall_timeout: float) -> str | None:
        """The replica that has requests and has published nothing new for so long, in words."""
        for rank, load in self.said.items():
            running, silent = load.get("num_running_reqs", 0), now - self.since[rank]
            if running and silent >= stall_timeout:
                return (
                    f"{running} requests run on replica {rank}, and nothing moved for"
                    f" {silent:.0f} s"
                )
        return None


def update(flow: Activity, loads: Sequence[Mapping[str, Any]], now: float) -> Activity:
    """The flow after one more answer of `/v1/loads`; no answer says nothing, and is no stillness
    either.
    """
    if not loads:
        return Activity()
    said, since = dict(flow.said), dict(flow.since)
    for index, load in enumerate(loads):
        rank = load["dp_rank"] if isinstance(load.get("dp_rank"), int) else index
        if said.get(rank) != load:
            said[rank], since[rank] = load, now
    return Activity(said, since)


def expected_silence(line: str, largest: int = LARGEST_BATCH) -> float | None:
    """How many seconds of silence a line of the log excuses: None for one that tells of no work.

    A chunk of a prompt that was just begun may take its time; each has a line of its own.
    `largest`: tokens of the largest batch that the server may take; a line that tells of more was
    written by somebody else.
    """
    told = said(line)
    found = _BATCH.match(told.text) if told.speaker is not None else None
    return min(int((found[2] or "0")[:9]), largest) / PREFILL_RATE if found else None


def patience(context: int | None) -> float:
    """Seconds that the log alone may say that it works: for as long as the slowest would read one
    request.
    """
    return max(ALONE, (context or 0) / PREFILL_RATE)


def pause(line: str) -> bool | None:
    """True when the line says that generation was paused, False when it goes on, None for any other
    line.

    It is all of a line of uvicorn's, so what stands in the path of another request is none.
    """
    found = _PAUSE.fullmatch(line)
    return found[1] == "pause_generation" if found else None


def is_draining(line: str) -> bool:
    """Whether the line says that the server was drained and now takes itself apart."""
    told = said(line)
    return told.speaker is not None and bool(_LEAVES.match(told.text))
