"""Whether tokens flow: what a serving SGLang says of its own work, and since when it has said nothing new.

Two voices: the log (a line for each prefill, and one for every forty decode steps) and the
load snapshot that each scheduler's loop publishes (`/v1/loads`). A loop that hangs falls silent in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The slowest prefill that anybody reported for GLM-5 on 8x RTX PRO 6000 is 4,000 tokens a second: ten times slower
# is still no hang.
PREFILL_RATE = 400.0
_BATCH = re.compile(r"\b(Prefill|Decode) batch\b(?:.*?#new-token: (\d+))?")
_ACCESS = re.compile(r'"[A-Z]+ /\S* HTTP/[\d.]+"')
_LEAVES = re.compile(r"Gracefully exiting\.\.\. Remaining number of requests 0\b")  # 0.5.9 to 0.5.23
_PAUSE = re.compile(r'"POST /(pause_generation|continue_generation)[ ?].*" 200')


@dataclass(frozen=True)
class Flow:
    """What each data-parallel replica last said, and when it last said something else."""

    said: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    since: dict[int, float] = field(default_factory=dict)

    def stuck(self, now: float, silent_after: float) -> str | None:
        """The replica that has requests and has published nothing new for so long, in words."""
        for rank, load in self.said.items():
            running, silent = load.get("num_running_reqs", 0), now - self.since[rank]
            if running and silent >= silent_after:
                return f"{running} requests run on replica {rank}, and nothing moved for {silent:.0f} s"
        return None


def heard(flow: Flow, loads: Sequence[Mapping[str, Any]], now: float) -> Flow:
    """The flow after one more answer of `/v1/loads`; no answer says nothing, and is no stillness either."""
    if not loads:
        return Flow()
    said, since = dict(flow.said), dict(flow.since)
    for index, load in enumerate(loads):
        rank = load["dp_rank"] if isinstance(load.get("dp_rank"), int) else index
        if said.get(rank) != load:
            said[rank], since[rank] = load, now
    return Flow(said, since)


def work(line: str) -> float | None:
    """How many seconds of silence a line of the log excuses: None for one that tells of no work.

    A chunk of a prompt that was just begun may take its time; each has a line of its own.
    """
    found = _BATCH.search(line)
    return int(found[2] or 0) / PREFILL_RATE if found else None


def is_access(line: str) -> bool:
    """Whether the line only says that somebody asked something: we do that ourselves, of a server that hangs."""
    return bool(_ACCESS.search(line))


def pause(line: str) -> bool | None:
    """True when the line says that generation was paused, False when it goes on, None for any other line."""
    found = _PAUSE.search(line)
    return found[1] == "pause_generation" if found else None


def leaves(line: str) -> bool:
    """Whether the line says that the server was drained and now takes itself apart."""
    return bool(_LEAVES.search(line))
