"""What is asked: long enough, and known to no cache."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.bench import load
from launcher.bench.figures import percentile

SMALL = [one for one in load.SCENARIOS.values() if one.words < 10_000]


@pytest.mark.parametrize("scenario", SMALL, ids=lambda one: one.name)
def test_prompts_have_their_words_and_begin_alike_only_where_it_is_meant(
    scenario: load.Scenario,
) -> None:
    told = load.prompts(scenario, 4, "m1") + load.prompts(scenario, 4, "m2")
    heads = {text[:40] for text in told}
    words = [len(text.split()) for text in told]

    assert len(set(told)) == 8
    assert len(heads) == (2 if scenario.shared else 8)
    wanted = scenario.words + scenario.shared
    assert all(wanted <= count <= wanted * 1.1 + 40 for count in words), words


def test_a_mark_gives_the_same_prompts_again() -> None:
    scenario = load.SCENARIOS["latency"]

    assert load.prompts(scenario, 3, "m") == load.prompts(scenario, 3, "m")


def test_questions_come_in_turn() -> None:
    assert load.in_turn(["a", "b"], 3) == ("a", "b", "a")
    assert load.in_turn([], 3) == ()


def test_the_prose_is_ours_and_long_enough() -> None:
    assert len(load.paragraphs()) == 20
    assert all(50 <= len(text.split()) <= 110 for text in load.paragraphs())


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_lies_between_the_values(values: list[float], share: float) -> None:
    told = percentile(values, share)

    assert told is not None
    assert min(values) <= told <= max(values)
    assert percentile([], share) is None
