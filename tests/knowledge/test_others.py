"""Options of other engines are called theirs, and what SGLang calls them is an option of it."""

from __future__ import annotations

import re

import pytest

from launcher.engines.engine import dialect
from launcher.engines.options import nearest_name
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.knowledge import forks, others
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, lint
from launcher.lint.rewrite import rewrite

SGLANG = dialect("sglang").options
NEWEST = SGLANG.release(SGLANG.newest)
NAMED = [(one, name) for one in others.table().rows for name in one.instead]


def launch(word: str, *values: str) -> Launch:
    return Launch.of(["--model-path", "m", word, *values], {})


def entry(word: str, *values: str) -> Entry:
    return lint(launch(word, *values), Target(SGLANG.newest, "sm100"))[1]


def test_every_row_can_be_read() -> None:
    assert others.table().complaints == ()
    assert {one.name for one in others.table().rows} >= {"vLLM", "llama.cpp", "TensorRT-LLM"}


@pytest.mark.parametrize(("other", "name"), NAMED)
def test_what_is_theirs_is_nobodys_else_and_its_counterpart_is_there(
    other: others.Other, name: str
) -> None:
    assert not SGLANG.accepted_by(f"--{name}")
    assert forks.of_option(name) is None
    assert others.of_option(name) is other
    for word in re.findall(r"--[a-z0-9-]+", other.instead[name]):
        assert NEWEST.accepts(word)


@pytest.mark.parametrize(
    ("word", "value", "whose", "ours"),
    [
        ("--max-model-len", "4096", "vLLM's", "SGLang calls it --context-length"),
        ("--max_model_len", "4096", "vLLM's", "SGLang calls it --context-length"),
        ("--gpu-memory-utilization", "0.9", "vLLM's", "a fraction of another thing"),
        ("--enable-prefix-caching", "", "vLLM's", "leave it out: SGLang shares prefixes"),
        ("--ctx-size", "4096", "llama.cpp's", "SGLang calls it --context-length"),
        ("--max_batch_size", "8", "TensorRT-LLM's", "SGLang calls it --max-running-requests"),
    ],
)
def test_an_option_of_another_engine_is_told_with_its_counterpart(
    word: str, value: str, whose: str, ours: str
) -> None:
    said = entry(word, *filter(None, [value]))

    assert said.verdict is Verdict.UNKNOWN
    assert f"it is {whose}" in said.why
    assert ours in (said.instead or "")
    assert nearest_name(word, NEWEST) is None
    assert rewrite(launch(word, value), Target(SGLANG.newest, "sm100")).obstacle


def test_what_could_be_several_of_sglangs_is_told_with_the_counterpart_too() -> None:
    said = entry("--tokenizer", "m")

    assert said.verdict is Verdict.AMBIGUOUS
    assert "SGLang calls it --tokenizer-path" in (said.instead or "")


@pytest.mark.parametrize("word", ["--bogus", "--tensor-parallel-size", "--context-length"])
def test_what_is_nobodys_or_sglangs_is_no_other_engines(word: str) -> None:
    assert others.of_option(word) is None
    if word == "--bogus":
        assert entry(word).instead == "correct it, or leave it out"


def test_a_word_in_an_options_place_is_told_once() -> None:
    said = lint(Launch.of(["stray", "--model-path", "m"], {}), Target(SGLANG.newest, "sm100"))[0]

    assert said.why == "stands where an option was expected"
