"""Options of vLLM older than all that are known: what to write, and when leaving them out is enough."""

from __future__ import annotations

from collections.abc import Callable

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


JSON = "--attention-config '{{\"{}\": {}}}'"
PARTS = {
    "use_fp4_indexer_cache": ("any more: 0.29.0 was the last", "write indexer_kv_dtype"),
    "indexer_kv_dtyp": ("did you mean indexer_kv_dtype?", "a value that it takes"),
    "moon": ("--attention-config has no moon", "leave it out"),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("form", [JSON.format, "--attention-config.{} {}".format])
def test_which_releases_had_a_part_of_an_option_is_told(
    part: str, form: Callable[..., str]
) -> None:
    [judged] = judge(f"{COMMAND} {form(part, 'true')}", TARGET).launches
    [entry] = [one for one in judged.releases["0.32.0"] if one.verdict.says_no]

    assert PARTS[part][0] in entry.why
    assert (entry.instead or "").startswith(PARTS[part][1])


def test_a_part_that_comes_later_is_told_by_the_first_release_that_has_it() -> None:
    words = JSON.format("indexer_kv_dtype", '"fp8"')
    [judged] = judge(f"{COMMAND} {words}", Target("0.23.0", "sm100", "b200")).launches
    [entry] = [one for one in judged.releases["0.23.0"] if one.verdict.says_no]

    assert "has no indexer_kv_dtype before 0.24.0" in entry.why


@pytest.mark.parametrize(
    ("part", "is_refused"),
    [("moon", False), ("use_fp4_indexer_cache", True), ("indexer_kv_dtyp", True)],
)
def test_of_a_build_that_is_none_of_the_releases_a_part_that_none_had_may_be_its_own(
    part: str, is_refused: bool
) -> None:
    image = "docker run vllm/vllm-openai:nightly --model m"
    [judged] = judge(f"{image} {JSON.format(part, 'true')}", Target(None, "sm100")).launches
    [entries] = judged.releases.values()

    assert any(one.verdict.says_no for one in entries) is is_refused


def test_no_newest_release_has_a_part_that_is_gone() -> None:
    newest = VLLM.options.release(VLLM.options.newest)
    for name in VLLM.gone_parts:
        option, _, part = name.partition(".")
        assert part not in newest.options[f"--{option}"].parts
