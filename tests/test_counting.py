"""How many of something there are agrees with the word behind it, on every screen."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, World

from launcher import counting

# "1 GPUs", "0 replica"; not "0.5.1 runs", nor "v1 answers".
ODD = re.compile(
    r"(?<![\w.,:/-])(?:1 (?:GPUs|CPUs|ranks|hosts|nodes|files|replicas|requests|answers|checks|deaths"
    r"|errors|servers|launches|rounds|layers|rows|tokens|drafts|shards|processes|times)\b"
    r"|(?!1 )\d+ (?:GPU|rank|replica|request|check|death|server|launch)\b(?! (?:a|each|of)\b))"
)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 GPUs"), (1, "1 GPU"), (8, "8 GPUs"), (12000, "12,000 GPUs")]
)
def test_a_count_agrees_with_its_noun(count: int, said: str) -> None:
    assert counting.of(count, "GPU") == said
    assert counting.of(count, "launch", "launches").startswith(f"{count:,} launch")


@pytest.mark.parametrize(
    "text", ["1 GPUs, sm120", "wanted for 1 ranks", "0 replica", "2 GPU", "1 checks fail"]
)
def test_what_does_not_agree_is_found(text: str) -> None:
    assert ODD.search(text)


@pytest.mark.parametrize("text", ["1 GPU", "0.5.1 ranks", "8 GPUs", "0 replicas", "8,192 tokens"])
def test_what_agrees_is_not(text: str) -> None:
    assert not ODD.search(text)


SMALL = '[flags]\nmodel-path = "zai-org/GLM-5"\ntp-size = 1\nhost = "127.0.0.1"\n'


ONES = ("one", "card", "cpu-demo", "8xpro6000", "2x8xb200", "4xb200-vllm", "8xb300-glm51")


@pytest.mark.parametrize("name", ONES)
def test_no_screen_of_a_profile_counts_wrongly(world: World, name: str) -> None:
    """`one` wants a single GPU, which no packaged profile does."""
    (world.profile.parent / "one.toml").write_text(SMALL)
    facts = ROOT / "tests/hosts/asus8x.json"
    for words in (
        ("render", name, "--explain"),
        ("fit", name, "--model", "nvidia/GLM-5-NVFP4"),
        ("profiles", "validate", name),
        ("doctor", "-p", name, "--facts", facts, "--all"),
        ("status", name),
    ):
        done = world.run(*map(str, words))
        said = done.stdout + done.stderr

        assert not [line for line in said.splitlines() if ODD.search(line)], words
    listed = world.run("profiles", "--all")
    assert not ODD.search(listed.stdout + listed.stderr)


@pytest.mark.parametrize(
    ("value", "said"),
    [(12_600.4, "12,600"), (1790.2, "1,790"), (99.97, "100"), (87.94, "87.9"), (0.0123, "0.0123")],
)
def test_a_rate_has_three_digits_and_no_power_of_ten(value: float, said: str) -> None:
    assert counting.rate(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1.0, "1 s"),
        (1.5, "1.5 s"),
        (60.0, "60 s"),
        (90.0, "90 s"),
        (300.0, "5 min"),
        (7200.0, "2 h"),
        (2592000.0, "30 d"),
        (2591999.0, "2,591,999 s"),
    ],
)
def test_a_time_that_somebody_chose_is_told_exactly(seconds: float, said: str) -> None:
    assert counting.span(seconds) == said
