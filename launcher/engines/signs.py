"""What two looks at an engine's figures say of its decoding meanwhile: how long a step takes, and
how many tokens speculation lets through in one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from launcher.engines.figures import STEP, Figures, Steps, accept_length, sane

LEAST = 4  # steps of a request that tell a pace
ALONE = 1.25  # requests in a step, on the average, that are one and a health check now and then
PROMPTS = 32.0  # tokens of prompts in a step, on the average, that do not make it longer


@dataclass(frozen=True)
class Signs:
    """How an engine decoded for a while; None for what cannot be told.

    `load` is for what may be compared: how many requests were in a step and how much of the cache
    each of them has, in powers of two.
    """

    load: tuple[int, int]
    step: float | None  # seconds
    accepted: float | None  # tokens of a request in a step; told of one that was alone


def between(before: Figures, after: Figures) -> Signs | None:
    """What happened between two looks; None where it was too little, or it was started anew."""
    if not after.steps:
        return _uncounted(before, after)
    began, ended = before.steps or Steps(0, 0, 0), after.steps
    count, rows = ended.count - began.count, ended.rows - began.rows
    seconds, prompts = ended.row_seconds - began.row_seconds, ended.prompts - began.prompts
    if min(count, seconds) <= 0 or prompts < 0 or rows < LEAST:
        return None
    batch = rows / count
    is_alone = batch <= ALONE
    is_clean = is_alone or prompts <= PROMPTS * count
    return Signs(
        load=(0, 0) if is_alone else _load(batch, (after.kv or 0.0) / (after.running or 1)),
        step=sane(seconds / rows, STEP) if is_clean else None,
        accepted=accept_length(before, after, LEAST) if is_alone else None,
    )


def _uncounted(before: Figures, after: Figures) -> Signs | None:
    """Of an engine that counts no steps: whether anybody else was served, at both ends.

    Where it counts no drafts either, its own gauge tells, if it was set meanwhile.
    """
    if before.running is None or after.running is None:
        return None
    if others := max(before.running, after.running):
        return Signs(_load(1 + others, after.kv or 0.0), None, None)
    told = after.accept if after.accept != before.accept else None
    return Signs((0, 0), None, accept_length(before, after, LEAST) or told)


def _load(*sizes: float) -> tuple[int, int]:
    """The powers of two that two sizes are nearest to."""
    first, second = (round(math.log2(size)) if size > 0 else 0 for size in sizes)
    return first, second
