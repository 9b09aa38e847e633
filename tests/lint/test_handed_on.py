"""Why a variable that somebody set does not reach the server."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.lint.run import judge

IMAGE = "docker run --gpus all vllm/vllm-openai:v0.33.0 --model m -tp 8"


@pytest.mark.parametrize(
    ("text", "why", "instead"),
    [
        (f"export VLLM_X=1\n{IMAGE}", "`docker run` does not hand it on", "-e VLLM_X=1"),
        (f"VLLM_X=1\n{IMAGE}", "`docker run` does not hand it on", "-e VLLM_X=1"),
        ("VLLM_X=1\nvllm serve m -tp 8", "is not exported", "export VLLM_X=1"),
    ],
)
def test_a_variable_that_is_set_and_does_not_come_is_told_why(
    text: str, why: str, instead: str
) -> None:
    [judged] = judge(text, Target("0.33.0", "sm100")).launches
    [entries] = judged.releases.values()
    [told] = [one for one in entries if one.name == "VLLM_X"]

    assert why in told.why
    assert told.instead == instead


@pytest.mark.parametrize(
    "text",
    [f"export VLLM_X=1\n{IMAGE.replace('run', 'run -e VLLM_X')}", "export VLLM_X=1\nvllm serve m"],
)
def test_one_that_comes_is_not_said_to_be_missing(text: str) -> None:
    [judged] = judge(text, Target("0.33.0", "sm100")).launches
    [entries] = judged.releases.values()

    assert not [one for one in entries if "does not get it" in one.why]
