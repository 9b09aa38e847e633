"""Whether two measurements differ, beyond what rounds of one differ among themselves. Pure.

An exact permutation test over the logarithms of output tokens a second: were both the same, any way
to hand the rounds out to A and B were as likely, and a difference this large came up by chance in a
share p of them. Rounds that were measured in pairs may only change places within their pair. Below
ALPHA they are told apart; two equal ones are in at most that share of comparisons.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

ALPHA = 0.05
MOST = 50_000  # ways that are counted; of more, so many are drawn
DRAWN = 500  # resamples for the interval of the ratio
SEED = 20


@dataclass(frozen=True)
class Compared:
    """B by A at one concurrency: medians (tokens a second), their ratio with an interval of 95 %
    (bootstrap over rounds), how far the rounds of each are apart, p.
    """

    concurrency: int
    a: float
    b: float
    ratio: float
    low: float
    high: float
    spread_a: float
    spread_b: float
    rounds: tuple[int, int]
    p: float
    verdict: Literal["better", "worse", "not told apart"]
    remark: str = ""


def compared(concurrency: int, a: Sequence[float], b: Sequence[float], *, paired: bool) -> Compared:
    """Whether B is better than A; `paired`: the rounds of one number were measured together.

    Raises ValueError where one has no round, or a round without a token.
    """
    if not a or not b or min(*a, *b) <= 0 or (paired and len(a) != len(b)):
        raise ValueError("nothing to compare")
    x, y = [math.log(one) for one in a], [math.log(one) for one in b]
    p, least = chance(x, y, paired=paired)
    low, high = _interval(x, y, paired=paired)
    shift = fmean(y) - fmean(x)
    told = p <= ALPHA
    few = f"{len(a)} and {len(b)} rounds cannot tell: p is {least:.2f} at best"
    return Compared(
        concurrency=concurrency,
        a=median(a),
        b=median(b),
        ratio=math.exp(shift),
        low=low,
        high=high,
        spread_a=max(a) / min(a) - 1,
        spread_b=max(b) / min(b) - 1,
        rounds=(len(a), len(b)),
        p=p,
        verdict=("better" if shift > 0 else "worse") if told else "not told apart",
        remark=few if least > ALPHA else "",
    )


def chance(x: Sequence[float], y: Sequence[float], *, paired: bool) -> tuple[float, float]:
    """The p of the gap between means of logarithms, and the smallest that so many rounds can
    give.
    """
    return _of_pairs(x, y) if paired else _of_groups(x, y)


def _of_pairs(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    gaps = [b - a for a, b in zip(x, y, strict=True)]
    seen = abs(sum(gaps))
    count = 2 ** len(gaps)
    ways: Iterator[Sequence[int]] = itertools.product((1, -1), repeat=len(gaps))
    if count > MOST:
        drawn = random.Random(SEED)
        ways = ([drawn.choice((1, -1)) for _ in gaps] for _ in range(MOST))
    sums = (abs(sum(s * g for s, g in zip(way, gaps, strict=True))) for way in ways)
    return _share(sums, seen, min(count, MOST)), 2 / count


def _of_groups(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    every = [*x, *y]
    whole, size = sum(every), len(x)
    gap: Callable[[float], float] = lambda first: abs(first / size - (whole - first) / len(y))
    count = math.comb(len(every), size)
    ways: Iterator[Sequence[float]] = itertools.combinations(every, size)
    if count > MOST:
        drawn = random.Random(SEED)
        ways = (drawn.sample(every, size) for _ in range(MOST))
    least = (2 if len(x) == len(y) else 1) / count
    return _share((gap(sum(way)) for way in ways), gap(sum(x)), min(count, MOST)), least


def _share(gaps: Iterator[float], seen: float, count: int) -> float:
    """How many are as large; what rounding alone makes smaller counts."""
    return max(1, sum(gap >= seen - 1e-12 for gap in gaps)) / count


def _interval(x: Sequence[float], y: Sequence[float], *, paired: bool) -> tuple[float, float]:
    drawn = random.Random(SEED)
    if paired:
        gaps = [b - a for a, b in zip(x, y, strict=True)]
        shifts = [fmean(drawn.choices(gaps, k=len(gaps))) for _ in range(DRAWN)]
    else:
        shifts = [
            fmean(drawn.choices(y, k=len(y))) - fmean(drawn.choices(x, k=len(x)))
            for _ in range(DRAWN)
        ]
    shifts.sort()
    return math.exp(shifts[DRAWN // 40]), math.exp(shifts[-DRAWN // 40 - 1])
