"""Whether tokens flow: what a serving engine says of its own work, and since when it has said
nothing new.

Two voices: the log (a line for each batch, or for some) and the load that each replica publishes,
where the engine has such. A loop that hangs falls silent in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.engines.log import Log, Said

# The slowest prefill that anybody reported for GLM-5 on 8x RTX PRO 6000 is 4,000 tokens a second:
# ten times slower is still no hang.
PREFILL_RATE = 400.0
# tokens of a prefill where nobody says what it may take: SGLang's own default
LARGEST_BATCH = 16384
# seconds that nothing but the log says that it works, or that it was paused: somebody may write it
ALONE = 900.0


@dataclass(frozen=True)
class Allowed:
    """What a plan lets the log and the processes of its server excuse."""

    batch: int | None = None  # tokens of prompts in a batch at most; None: the plan leaves it open
    pauses: bool = True  # a pause may be read off the log: this release cannot be asked
    compiling: float = ALONE  # seconds in a row that a compiler may keep it from answering
    is_quiet: bool = False  # its log does not say when it begins to listen


@dataclass(frozen=True)
class Load:
    """What a data-parallel replica published of its work; `shown` is all of it, to see whether it
    changes.
    """

    replica: int
    running: int  # requests
    shown: Mapping[str, Any]


@dataclass(frozen=True)
class Activity:
    """What each data-parallel replica last said, and when it last said something else."""

    said: dict[int, Load] = field(default_factory=dict)
    since: dict[int, float] = field(default_factory=dict)

    def stuck(self, now: float, stall_timeout: float) -> str | None:
        """The replica that has requests and has published nothing new for so long, in words; at
        once it has only where it did so before.
        """
        for load in self.said.values():
            silent = now - self.since[load.replica]
            if load.running and silent >= stall_timeout and silent:
                return (
                    f"{load.running} requests run on replica {load.replica}, and nothing moved for"
                    f" {silent:.0f} s"
                )
        return None


def update(flow: Activity, loads: Sequence[Load], now: float) -> Activity:
    """The flow after one more look at what the replicas publish; no answer says nothing, and is no
    stillness either.
    """
    if not loads:
        return Activity()
    said, since = dict(flow.said), dict(flow.since)
    for load in loads:
        if said.get(load.replica) != load:
            said[load.replica], since[load.replica] = load, now
    return Activity(said, since)


def expected_silence(told: Said, log: Log, largest: int = LARGEST_BATCH) -> float | None:
    """How many seconds of silence a line of the log excuses: None for one that tells of no work.

    `largest`: tokens of the largest batch that the server may take; a line that tells of more was
    written by somebody else.
    """
    tokens = log.busy(told.text) if told.speaker is not None else None
    return None if tokens is None else min(tokens, largest) / PREFILL_RATE


def patience(context: int | None) -> float:
    """Seconds that the log alone may say that it works: for as long as the slowest would read one
    request.
    """
    return max(ALONE, (context or 0) / PREFILL_RATE)


def is_draining(told: Said, log: Log) -> bool:
    """Whether the line says that the server was drained and now takes itself apart."""
    return told.speaker is not None and bool(log.drained.match(told.text))
