"""Two equal measurements are not told apart, and a change is, by simulated noise."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.bench.compare import ALPHA, chance, compared

SPEEDS = st.lists(st.floats(1, 1e5), min_size=1, max_size=5)


def rounds(drawn: random.Random, count: int, mean: float, noise: float) -> list[float]:
    return [mean * drawn.lognormvariate(0, noise) for _ in range(count)]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("noise", [0.001, 0.02, 0.3])
def test_equal_ones_are_told_apart_as_rarely_as_is_said(*, paired: bool, noise: float) -> None:
    """400 comparisons: 5 % of them are 20, and three standard deviations 13."""
    drawn, count = random.Random(7), 6 if paired else 4
    told = 0
    for _ in range(400):
        drift = [drawn.lognormvariate(0, 0.2) for _ in range(count)]
        a, b = (rounds(drawn, count, 100, noise) for _ in "ab")
        if paired:  # what drifts meets both
            a, b = ([x * y for x, y in zip(one, drift, strict=True)] for one in (a, b))
        logs = ([math.log(speed) for speed in one] for one in (a, b))
        told += chance(*logs, paired=paired)[0] <= ALPHA

    assert told <= 400 * ALPHA + 13


@pytest.mark.parametrize(("paired", "count"), [(True, 6), (False, 4)])
def test_a_change_above_the_noise_is_seen_with_its_direction(*, paired: bool, count: int) -> None:
    drawn = random.Random(7)
    a, faster, slower = (rounds(drawn, count, mean, 0.01) for mean in (100, 110, 90))

    assert compared(8, a, faster, paired=paired).verdict == "better"
    assert compared(8, a, slower, paired=paired).verdict == "worse"


def test_the_same_figures_are_not_told_apart() -> None:
    told = compared(1, [5.0] * 6, [5.0] * 6, paired=False)

    assert (told.verdict, told.p, told.ratio) == ("not told apart", 1.0, 1.0)


def test_too_few_rounds_say_so() -> None:
    told = compared(1, [1.0, 1.0, 1.1], [9.0, 9.0, 9.1], paired=False)

    assert told.verdict == "not told apart"
    assert "3 and 3 rounds cannot tell: p is 0.10 at best" in told.remark
    assert not compared(1, [1.0] * 4, [9.0] * 4, paired=False).remark


@settings(max_examples=30)
@given(SPEEDS, SPEEDS)
def test_exchanging_them_turns_the_verdict_round(a: list[float], b: list[float]) -> None:
    there, back = compared(1, a, b, paired=False), compared(1, b, a, paired=False)
    turned = {"better": "worse", "worse": "better"}

    assert back.verdict == turned.get(there.verdict, there.verdict)
    assert there.p == pytest.approx(back.p)
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert 0 < there.p <= 1


@settings(max_examples=30)
@given(SPEEDS)
def test_nothing_is_better_than_itself(a: list[float]) -> None:
    for paired in (True, False):
        assert compared(1, a, a, paired=paired).verdict == "not told apart"


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([0.0], [1.0])])
def test_nothing_is_compared_with_nothing(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compared(1, a, b, paired=False)


def test_many_rounds_are_compared_by_drawing() -> None:
    drawn = random.Random(7)
    a, b = rounds(drawn, 20, 100, 0.02), rounds(drawn, 20, 110, 0.02)

    assert compared(1, a, b, paired=False).verdict == "better"
    assert compared(1, a, b, paired=True).verdict == "better"
