"""Comparisons of numbers, as rows write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.relation import Relation


def holds(text: str, **numbers: float) -> bool:
    return Relation.of(text).words(lambda name: numbers.get(name.replace("-", "_"))) is not None


def test_a_comparison_holds_of_some_numbers_and_not_of_others() -> None:
    assert holds("tp_size * pp_size % nnodes != 0", tp_size=8, pp_size=1, nnodes=3)
    assert not holds("tp_size * pp_size % nnodes != 0", tp_size=8, pp_size=1, nnodes=2)
    assert holds("a not in (1, b) and not a > 9 or -a == 0", a=4, b=8)
    assert not holds("a not in (1, b)", a=8, b=8)


def test_nothing_holds_of_what_is_unknown_or_cannot_be_divided() -> None:
    assert not holds("a > 0 or b > 0", a=1)
    assert not holds("a % b != 0", a=1, b=0)


def test_its_numbers_are_words_and_its_names_options() -> None:
    made = Relation.of("dp_size < tp_size")

    assert made.names == ("dp-size", "tp-size")
    assert made.words(lambda name: {"dp-size": 2, "tp-size": 1048576}[name]) == {
        "dp_size": "2",
        "tp_size": "1048576",
    }


@pytest.mark.parametrize(
    "text",
    ["a.b > 1", "f(1)", "a >", "'x' == a", "[1][0]", "a if b else c", "1 < a < 2", "", "a**9"],
)
def test_what_is_no_comparison_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no comparison"):
        Relation.of(text)


WORDS = st.sampled_from(["a", "b", "1", "(", ")", "+", "%", "/", "<", "and", "not", "in", ",", "="])


@given(st.lists(WORDS, max_size=12))
def test_no_text_is_a_traceback(words: list[str]) -> None:
    try:
        made = Relation.of(" ".join(words))
    except ValueError:
        return
    made.words(lambda name: 0.0)
