"""What an engine counts of its own decoding, and what two such counts say of the time between them:
how long a step takes, and how many tokens speculation lets through in one.

Pure, and of the engine's own making: nothing that a client writes is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

LEAST = 4  # steps of a request that tell a pace
ALONE = 1.25  # requests in a step, on the average, that are one and a health check now and then
PROMPTS = 32.0  # tokens of prompts in a step, on the average, that do not make it longer


@dataclass(frozen=True)
class Counted:
    """Counters since the engine was started, of all its replicas together, and how it is now."""

    running: int  # requests, now
    waiting: int  # in its queue, now
    used: float = 0.0  # of the KV cache by them, in a unit of the engine's own
    steps: float = 0.0  # of decoding
    rows: float = 0.0  # requests in each of them, summed
    row_seconds: float = 0.0  # that each took, once for each request in it, summed
    passes: float = 0.0  # of speculation over a request; 0: it does not speculate, or does not say
    passed: float = 0.0  # tokens that these let through, the one that is certain included
    prompts: float = 0.0  # tokens of prompts that were read within these steps


@dataclass(frozen=True)
class Signs:
    """How an engine decoded for a while; None for what cannot be told.

    `load` is for what may be compared: how many requests were in a step and how long they are, in
    powers of two.
    """

    load: tuple[int, int]
    step: float | None  # seconds
    accepted: float | None  # tokens of a request in a step; told of one that was alone


def total(counts: Sequence[Counted]) -> Counted:
    """The counts of several replicas in one."""
    sums = (sum(each) for each in zip(*map(astuple, counts), strict=True))
    return Counted(*sums)


def between(before: Counted, after: Counted) -> Signs | None:
    """What happened between two counts; None where it was too little, or it was started anew."""
    if not after.steps:
        return _uncounted(before, after)
    steps, rows = after.steps - before.steps, after.rows - before.rows
    seconds, passes = after.row_seconds - before.row_seconds, after.passes - before.passes
    passed = after.passed - before.passed
    if min(steps, seconds) <= 0 or min(passes, passed) < 0 or rows < LEAST:
        return None
    batch = rows / steps
    is_alone = batch <= ALONE
    is_clean = is_alone or after.prompts - before.prompts <= PROMPTS * steps
    return Signs(
        load=(0, 0) if is_alone else (_power(batch), _power(after.used / max(1, after.running))),
        step=seconds / rows if is_clean else None,
        accepted=passed / passes if passes >= LEAST and is_alone else None,
    )


def _uncounted(before: Counted, after: Counted) -> Signs:
    """Of an engine that counts no steps: whether anybody else was served, at both ends."""
    others = max(before.running, after.running)
    return Signs((_power(1 + others), _power(after.used)) if others else (0, 0), None, None)


def _power(size: float) -> int:
    """The power of two that it is nearest to."""
    return round(math.log2(size)) if size > 0 else 0
