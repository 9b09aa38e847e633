"""Options of vLLM older than all that are known: what to write, and when leaving them out is enough."""

from __future__ import annotations

import pytest

from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.lint.fix import fixed
from launcher.lint.run import judge

VLLM = dialect("vllm")
TARGET = Target("0.32.0", "sm100", "b200")
COMMAND = "vllm serve a/m --host 127.0.0.1 --reasoning-parser glm45"


def test_no_known_release_has_what_is_gone() -> None:
    assert not [name for name in VLLM.gone if VLLM.options.accepted_by(f"--{name}")]


@pytest.mark.parametrize("name", VLLM.gone)
def test_what_took_the_place_of_a_gone_option_is_told(name: str) -> None:
    [judged] = judge(f"{COMMAND} --{name} x", TARGET).launches
    [entries] = judged.releases.values()
    [entry] = [one for one in entries if one.name == f"--{name}"]

    assert entry.instead == VLLM.gone[name].advice


@pytest.mark.parametrize(
    "words",
    ["--enable-reasoning", "--task generate", "--task=auto", "--num-scheduler-steps 8", "--enable_reasoning --task generate"],
)  # fmt: skip
def test_fix_leaves_out_what_changes_nothing(words: str) -> None:
    found = fixed(f"{COMMAND} {words}\n", TARGET)

    assert not found.obstacles
    assert found.text.strip() == COMMAND


@pytest.mark.parametrize("words", ["--task embed", "--speculative-model a/b", "--worker-use-ray"])
def test_fix_leaves_nothing_out_that_matters(words: str) -> None:
    found = fixed(f"{COMMAND} {words}\n", TARGET)

    assert found.obstacles
    assert found.text == f"{COMMAND} {words}\n"


@pytest.mark.parametrize(
    "words",
    ["-O.mode 3", "-O.mode=3", "-O.pass_config.fuse_norm_quant=true", "-O '{\"mode\": 3}'", "-O"],
)  # fmt: skip
def test_what_o_was_for_is_another_option_now(words: str) -> None:
    [judged] = judge(f"{COMMAND} {words}", TARGET).launches
    [entries] = judged.releases.values()
    [entry] = [one for one in entries if one.name.startswith("-O")]

    assert entry.instead == VLLM.gone["O"].advice
    assert not [one for one in entries if "stands where an option was expected" in one.why]
    assert fixed(f"{COMMAND} {words}\n", TARGET).obstacles


@pytest.mark.parametrize("words", ["-O3", "-O=3", "-O 3", "-cc.mode 3", "-cc.mode=3", "-cc '{\"mode\": 3}'"])  # fmt: skip
def test_a_level_and_what_is_said_of_how_to_compile_are_fine(words: str) -> None:
    assert not fixed(f"{COMMAND} {words}\n", TARGET).obstacles


def test_an_option_of_sglang_is_not_gone() -> None:
    assert not dialect("sglang").gone
