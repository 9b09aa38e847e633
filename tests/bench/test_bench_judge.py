"""What makes the figures of a round worth nothing, each seen in a real generator's result."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.bench import load
from launcher.bench.bounds import Asked
from launcher.bench.figures import round_of
from launcher.bench.judge import unsound, wrong
from launcher.bench.record import Objective
from launcher.engines.engine import NAMES, generator
from launcher.engines.figures import Figures
from launcher.engines.generator import Answer, Sample

GOOD = Answer("The capital of France is Paris.", "", 12, 8, 0.02, 0.014)
NONE = Figures()
ASK = "What is the capital of France?"


def asked(count: int, expected: tuple[str, ...] = ()) -> Asked:
    return Asked((ASK,) * count, 64, 1, 3.0, load.in_turn(expected, count))


def judged(*answers: Answer, counted: Figures = NONE, expected: tuple[str, ...] = ()) -> str:
    return "; ".join(wrong(Sample(1.0, answers), asked(len(answers), expected), counted))


def test_a_sound_round_is_trusted() -> None:
    assert judged(GOOD, GOOD, counted=Figures(answered=16 + 20), expected=("paris",)) == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (replace(GOOD, text=""), "1 of 2 answers are empty"),
        (replace(GOOD, text=" \n"), "1 of 2 answers are empty"),
        (replace(GOOD, text="", error="Bad Request"), "1 of 2 requests failed: Bad Request"),
        (replace(GOOD, error="Traceback (most\n x\nOSError: no"), "failed: OSError: no"),
        (replace(GOOD, first=0.0), "1 answers have no time to their first token"),
        (replace(GOOD, output_tokens=0), "no token for 1 answers"),
        (replace(GOOD, text="no " * 300), "the same words again and again"),
        (replace(GOOD, text="caf\ufffd"), "broken UTF-8"),
        (replace(GOOD, text="Berlin, I think."), "1 of 2 answers are wrong: 'Berlin"),
        (
            replace(GOOD, output_tokens=1_000_000),
            "1 answers have more tokens by its usage than the 64",
        ),
    ],
)
def test_one_bad_answer_is_named(answer: Answer, why: str) -> None:
    assert why in judged(GOOD, answer, expected=("paris",))


@given(order=st.permutations(range(4)))
def test_each_answer_is_held_against_its_own_question(order: list[int]) -> None:
    """A server that says what is right of another question, or the same of all, is wrong."""
    right = ("Paris", "four", "blue", "a CPU")
    told = tuple(replace(GOOD, text=f"It is {right[at]}.") for at in order)
    found = wrong(Sample(1.0, told), asked(4, right), NONE)

    assert bool(found) == (order != sorted(order)), found
    assert "3 of 4 answers are wrong" in judged(*(told[:1] * 4), expected=right)


BOUNDS = [
    ({"first": 100.0}, {}, "1 answers took up to 100.01 s, the whole round 1.00 s"),
    ({"rest": 1e7}, {}, "1 answers took up to 10,000,000.02 s"),
    ({"first": 0.9, "rest": 0.1}, {}, "took 2.00 s together, more than 1 at once"),
    ({}, {"seconds": 1e7}, "it measured 10,000,000.00 s, and ran for 3.00 s by our own clock"),
    ({}, {"seconds": 0.0}, "it took no time"),
    ({"input_tokens": 0}, {}, "prompts cannot have the tokens that were counted: 0 of 30 letters"),
    ({"input_tokens": 10**8}, {}, "prompts cannot have the tokens that were counted: 100000000 of"),
    ({"text": "Paris", "output_tokens": 32}, {}, "more tokens by its usage than letters"),
    ({"text": "Paris is it. " * 300}, {}, "answers are longer than their tokens can be"),
]


@pytest.mark.parametrize(("odd", "of_all", "why"), BOUNDS)
def test_what_cannot_be_is_not_trusted(
    odd: dict[str, Any], of_all: dict[str, float], why: str
) -> None:
    """Figures are held against each other, against what was asked, and against our own clock."""
    told = (replace(GOOD, **odd),) * (2 if "together" in why else 1)
    found = wrong(Sample(**{"seconds": 1.0, "answers": told} | of_all), asked(len(told)), NONE)

    assert any(why in one for one in found), found


def test_what_is_odd_and_can_be_is_trusted() -> None:
    """Tokens of letters, of one character of many bytes or of many spaces; answers in one piece."""
    texts = ("n o p", "\U0001f60a", f"def f():\n{' ' * 900}return", "yes.")
    told = [replace(GOOD, text=text, output_tokens=5, rest=0.0) for text in texts]

    assert judged(*told) == ""
    thinks = replace(asked(1), thinks=True)
    assert not wrong(Sample(1.0, (replace(GOOD, text="Paris", output_tokens=60),)), thinks, NONE)


@pytest.mark.timeout(20)  # short: what is far too long is not looked at
def test_an_answer_that_is_far_too_long_takes_no_time() -> None:
    told = (replace(GOOD, text="no such word is here, " * 1_000_000),) * 4
    failed = (replace(GOOD, text="", error="no such word is here\n" * 1_000_000),) * 4

    assert "longer than their tokens can be" in judged(*told)
    assert "4 of 4 requests failed: no such word" in judged(*failed)


def test_of_answers_in_one_piece_nobody_knows_the_time_of_a_token() -> None:
    """As a proxy that buffers hands them on: apart is only how fast the client took them."""
    whole = replace(GOOD, output_tokens=30, first=0.3, rest=29 * 2e-5)
    single = replace(GOOD, output_tokens=1, rest=0.0)
    told = round_of(Sample(1.0, (whole, single, GOOD)), NONE, Objective(2000, 50), 1, 1, None)

    assert (told.one_piece, told.good, told.output_tok_s) == (1, 2, 39.0)
    assert told.tpot_ms.p50 == 2.0
    alone = round_of(Sample(1.0, (whole,) * 3), NONE, Objective(2000, 50), 1, 1, None)
    assert alone.tpot_ms.p50 is None
    assert (alone.one_piece, alone.good, alone.output_tok_s) == (3, 0, 90.0)


NUMBERS = st.one_of(st.floats(), st.integers(), st.sampled_from(["1", None, True, [], "nan"]))


@given(made=NUMBERS, first=NUMBERS, gap=NUMBERS, seconds=NUMBERS)
@pytest.mark.parametrize("name", NAMES)
def test_what_no_clock_and_no_tokenizer_says_is_no_result(
    name: str, made: object, first: object, gap: object, seconds: object
) -> None:
    """Whatever a generator writes is read as numbers that can be reckoned with, or refused."""
    lists = {"input_lens": [4], "output_lens": [made], "ttfts": [first], "itls": [[gap]]}
    told = {**lists, "generated_texts": ["Paris."], "errors": [""], "duration": seconds}
    try:
        read = generator(name).read(json.dumps(told))
    except ValueError:
        return
    (answer,) = read.answers
    assert 0 <= answer.output_tokens <= 10**9
    assert all(0 <= one <= 1e7 for one in (read.seconds, answer.first, answer.rest))


def test_answers_that_are_missing_are_missed() -> None:
    assert wrong(Sample(1.0, (GOOD,)), asked(8, ("paris",)), NONE) == (
        "8 requests, and 1 answers in the result",
    )


def test_tokens_that_the_server_never_counted_were_never_made() -> None:
    told = replace(GOOD, output_tokens=38)

    assert "told of 76 tokens, the server's own counter grew by 16" in judged(
        told, told, counted=Figures(answered=16)
    )


def test_tokens_of_others_are_seen() -> None:
    assert "somebody else asked it, too" in judged(GOOD, GOOD, counted=Figures(answered=5000))


def test_questions_of_its_own_launcher_are_no_strangers() -> None:
    assert judged(GOOD, GOOD, counted=Figures(answered=16 + 2 * 64 + 500)) == ""


def test_a_server_that_counts_nothing_is_not_held_to_it() -> None:
    assert judged(GOOD, counted=NONE) == ""


def sentences(count: int) -> str:
    return " ".join(
        f"Point {number} of the plan concerns matter {number * 7} and the people of street {number}."
        for number in range(count)
    )


def test_a_loop_that_begins_late_is_found() -> None:
    loop = "and when the evening came he closed the door behind him and went out. "

    assert unsound(sentences(40)) is None
    assert unsound(f"{sentences(40)} {loop * 4}") is not None
    assert unsound(f"{sentences(40)} {'again ' * 90}") is not None


@pytest.mark.parametrize("text", [*load.paragraphs(), "# A\n\n| a | b |\n|---|---|\n" + "-" * 60])
def test_prose_and_the_rules_of_tables_are_no_gibberish(text: str) -> None:
    assert unsound(text) is None


def test_all_our_prose_together_is_no_loop() -> None:
    assert unsound("\n\n".join(load.paragraphs())) is None


@given(st.text(max_size=800))
def test_any_text_is_judged(text: str) -> None:
    assert unsound(text) is None or unsound(text)


SGLANG = {
    "duration": 1.25,
    "completed": 2,
    "server_info": {"api_key": "k", "launch_command": "--api-key k"},
    "input_lens": [12, 13],
    "output_lens": [3, 1],
    "ttfts": [0.1, 0.2],
    "itls": [[0.01, 0.03], []],
    "generated_texts": ["a b c", "d"],
    "errors": ["", ""],
}
VLLM = {
    "duration": 1.25,
    "completed": 2,
    "failed": 0,
    "input_lens": [12, 13],
    "output_lens": [3, 1],
    "start_times": [0.0, 0.0],
    "ttfts": [0.1, 0.2],
    "itls": [[0.01, 0.03], []],
    "generated_texts": ["a b c", "d"],
    "errors": ["", ""],
}
RESULTS = {
    "sglang": json.dumps({"tag": None}) + "\n" + json.dumps(SGLANG) + "\n",
    "vllm": json.dumps(VLLM),
}


@pytest.mark.parametrize("name", NAMES)
def test_both_results_are_read_to_one_sample(name: str) -> None:
    told = generator(name).read(RESULTS[name])

    assert told.seconds == 1.25
    assert told.answers == (
        Answer("a b c", "", 12, 3, 0.1, pytest.approx(0.04)),
        Answer("d", "", 13, 1, 0.2, 0),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"duration": 1}', "null", "[" * 9])
def test_what_is_no_result_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's words, or ours
        generator(name).read(text)


@pytest.mark.parametrize("name", NAMES)
@given(cut=st.integers(0, 400))
def test_a_result_that_was_cut_is_never_half_read(name: str, cut: int) -> None:
    whole = RESULTS[name].splitlines()[-1]
    if cut < len(whole):
        with pytest.raises(ValueError):  # noqa: PT011 - json's words
            generator(name).read(whole[:cut])
