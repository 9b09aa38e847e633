"""What makes the figures of a round worth nothing, each seen in a real generator's result."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.bench import load
from launcher.bench.judge import unsound, wrong
from launcher.engines.engine import NAMES, generator
from launcher.engines.figures import Figures
from launcher.engines.generator import Answer, Sample

GOOD = Answer("The capital of France is Paris.", "", 12, 8, 0.02, 0.014)
NONE = Figures()


def judged(*answers: Answer, counted: Figures = NONE, expected: tuple[str, ...] = ()) -> str:
    told = wrong(Sample(1.0, answers), len(answers), 64, 2, counted, expected)
    return "; ".join(told)


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
    assert wrong(Sample(1.0, (GOOD,)), 8, 64, 2, NONE) == (
        "8 requests, and 1 answers in the result",
    )


def test_tokens_that_the_server_never_counted_were_never_made() -> None:
    asked = replace(GOOD, output_tokens=48)

    assert "told of 96 tokens, the server's own counter grew by 16" in judged(
        asked, asked, counted=Figures(answered=16)
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
