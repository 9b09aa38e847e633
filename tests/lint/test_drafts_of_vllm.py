"""Speculation of vLLM: what resolves is let be, what does not is told, and none is lost on the way."""

from __future__ import annotations

import pytest

from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.lint.concerns import Verdict
from launcher.lint.lint import NOT_JUDGED, Entry, lint
from launcher.lint.rewrite import rewrite
from launcher.lint.translate import translate

MODEL = "vllm serve nvidia/GLM-5.2-NVFP4 --host 127.0.0.1 -tp 8 --max-model-len 131072"
NO_LAYER = MODEL.replace("nvidia/GLM-5.2-NVFP4", "lukealonso/GLM-5-NVFP4")
RELEASES = dialect("vllm").options.releases
RESOLVES = (
    '--speculative-config \'{"method": "mtp", "num_speculative_tokens": 3}\'',
    "-sc.method=mtp -sc.num_speculative_tokens=3",
    "--spec-method mtp --spec-tokens 3",
    '--spec-tokens 3 --speculative-config \'{"method": "mtp"}\'',
    '--speculative-config \'{"method": "ngram", "num_speculative_tokens": 3}\'',
    "--spec-method suffix",
    "--spec-model x/draft",  # its own config.json may say how, and how many
    '--speculative-config \'{"model": "x/draft", "num-speculative-tokens": 3}\'',
    '--speculative-config \'{"method": "eagle3", "model": "x/d", "num_speculative_tokens": 3}\'',
    "--speculative-config null",
    "--speculative-config ''",
    "--speculative-config None",
    "",
)
DOES_NOT = {
    "--spec-method mtp": "how many tokens",
    "--spec-tokens 3": "neither how to draft",
    "--spec-method eagle3 --spec-tokens 3": "a model of its own",
    "--spec-method nonsense --spec-tokens 3": "no choice nonsense",
    "--speculative-config '{}'": "neither how to draft",
    "--speculative-config 3": "wanted an object",
    "--speculative-config '[1]'": "wanted an object",
    '--speculative-config \'{"method": "ngram"}\'': "how many tokens",
    '--speculative-config \'{"method": "draft_model", "num_speculative_tokens": 3}\'': "a model of its",
    '--speculative-config \'{"method": "x", "num_speculative_tokens": 3}\'': "method wants one of",
    '--speculative-config \'{"method": "mtp", "num_speculative_tokens": 0}\'': "wants a whole",
    '--spec-tokens 3 --speculative-config \'{"method":"mtp","num_speculative_tokens":3}\'': "one of",
}


def entries(command: str, release: str = RELEASES[-1], arch: str = "sm120") -> list[Entry]:
    [launch] = read(command).launches
    return lint(launch, Target(release, arch, engine=launch.engine))


def refused(command: str) -> dict[str, str]:
    return {one.name: one.why for one in entries(command) if one.verdict.says_no}


@pytest.mark.parametrize("words", RESOLVES)
def test_a_speculation_that_resolves_is_let_be(words: str) -> None:
    assert not refused(f"{MODEL} {words}")


@pytest.mark.parametrize("words", DOES_NOT)
def test_a_speculation_that_does_not_resolve_is_told_once(words: str) -> None:
    [why] = refused(f"{MODEL} {words}").values()

    assert DOES_NOT[words] in why
    assert why.count("method") < 3


def test_a_checkpoint_that_tells_itself_how_it_drafts_may_be_told_less() -> None:
    named = "vllm serve RedHatAI/Llama-3.1-8B-Instruct-speculator.eagle3 --host 127.0.0.1"

    assert not refused(f"{named} --spec-tokens 3")


@pytest.mark.parametrize(
    "command",
    [
        f"{NO_LAYER} --spec-method mtp --spec-tokens 3",
        f"{NO_LAYER} {RESOLVES[0]}",
        f"{NO_LAYER} {RESOLVES[1]}",
        "python -m sglang.launch_server --model-path lukealonso/GLM-5-NVFP4 --tp 8"
        " --speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-eagle-topk 1"
        " --speculative-num-draft-tokens 4",
    ],
)
def test_no_rewrite_leaves_speculation_out_however_it_is_spelled(command: str) -> None:
    [launch] = read(command).launches
    target = Target(dialect(launch.engine).options.newest, "sm120", engine=launch.engine)
    assert any(one.verdict.says_no for one in lint(launch, target))

    made = rewrite(launch, target)

    assert "layer 78" in made.obstacle
    assert not made.edits


def test_short_options_are_translated_as_the_json_is() -> None:
    told = []
    for words in RESOLVES[:3]:
        [launch] = read(f"{MODEL} {words}").launches
        made = translate(launch, dialect("vllm").options.release(RELEASES[-1]), "sglang")
        told.append((made.argv, made.said))

    assert told[0] == told[1] == told[2]
    assert "--speculative-algorithm" in told[0][0]


@pytest.mark.parametrize("word", ["-tp8", "--tensor-parallel-size8", "-dp2"])
def test_a_number_that_is_glued_to_its_option_is_told_with_the_word_to_write(word: str) -> None:
    [told] = [one for one in entries(f"vllm serve m {word}") if one.name == word]
    apart = f"{word[:-1]} {word[-1]}"

    assert told.verdict is Verdict.UNKNOWN
    assert told.instead == apart
    [launch] = read(f"vllm serve m --host 127.0.0.1 {word}").launches
    made = rewrite(launch, Target(RELEASES[-1], "sm120", engine="vllm"))
    assert f"{word[:-1]}={word[-1]}" in made.launch.words


@pytest.mark.parametrize("word", ["-tpx", "-q8", "--enforce-eager8", "-tp8.5", "-O3"])
def test_another_word_is_no_option_with_its_number(word: str) -> None:
    for one in entries(f"vllm serve m {word}"):
        assert not (one.instead or "").startswith(word[:3] + " "), one


def test_room_is_not_judged_by_a_size_that_the_parser_does_not_read() -> None:
    assert not [one for one in entries(MODEL.replace("-tp 8", "-tp8")) if "GiB" in one.why]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("-cc.mode=3", ""),
        ('--compilation-config \'{"pass_config": {"fuse_norm_quant": true}}\'', ""),
        ("--hf-overrides '{\"a\": 1}'", "what is within"),
        ("--hf-overrides.a.b 1", "what is within"),
        ("-cc.inductor_compile_config.x=1", "what inductor_compile_config holds"),
        ("--allowed-origins '[\"*\"]'", ""),
        ("--hf-overrides '{}'", ""),
        ("--served-model-name '{glm}'", ""),
    ],
)
def test_what_is_within_json_is_judged_or_said_not_to_be(words: str, left: str) -> None:
    [told] = [
        one for one in entries(f"{MODEL} {words}") if one.name == words.split("=")[0].split()[0]
    ]

    assert told.verdict is Verdict.FINE
    assert told.unjudged == (f"{NOT_JUDGED}: {left}" if left else "")


@pytest.mark.parametrize(
    ("value", "release", "is_refused"),
    [
        ("0", "0.33.0", True),
        ("0", "0.23.0", True),
        ("-1", "0.33.0", False),
        ("auto", "0.33.0", False),
        ("1", "0.33.0", False),
        ("0", "0.19.1", False),  # it has no such check: nobody knows here what comes of it
    ],
)
def test_no_context_at_all_is_refused(value: str, release: str, *, is_refused: bool) -> None:
    [told] = [
        one
        for one in entries(f"vllm serve m --max-model-len={value}", release)
        if "len" in one.name
    ]

    assert told.verdict.says_no == is_refused


@pytest.mark.parametrize(
    ("model", "arch", "verdict"),
    [
        ("nvidia/GLM-5.2-NVFP4", "sm120", Verdict.INERT),
        ("nvidia/GLM-5.2-NVFP4", "sm100", Verdict.INERT),
        ("zai-org/GLM-5.2-FP8", "sm100", Verdict.RISKY),
        ("Qwen/Qwen3-4B", "sm120", Verdict.FINE),
        ("zai-org/GLM-4.6-FP8", "sm100", Verdict.FINE),
    ],
)
def test_deep_gemm_off_is_what_it_comes_to_for_the_model(
    model: str, arch: str, verdict: Verdict
) -> None:
    for value, expected in (("0", verdict), ("1", Verdict.FINE)):
        command = f"VLLM_USE_DEEP_GEMM={value} vllm serve {model} --host 127.0.0.1 -tp 8"
        [told] = [one for one in entries(command, arch=arch) if "DEEP_GEMM" in one.name]
        assert told.verdict is expected


FUSED = "-cc.pass_config.fuse_allreduce_rms=True"


@pytest.mark.parametrize(
    ("command", "release", "is_told"),
    [
        (f"vllm serve nvidia/DeepSeek-V3.1-NVFP4 -tp=4 {FUSED}", "0.16.0", True),
        (f"vllm serve nvidia/DeepSeek-V3.1-NVFP4 -tp=4 {FUSED}", "0.33.0", False),
        (f"vllm serve deepseek-ai/DeepSeek-V3.1 -tp=4 {FUSED}", "0.16.0", False),
        (f"vllm serve nvidia/GLM-5.2-NVFP4 -tp=4 {FUSED}", "0.16.0", False),
        (f"vllm serve nvidia/GLM-5.2-NVFP4 -tp=4 -dp=2 {FUSED}", "0.16.0", True),
        (f"vllm serve nvidia/GLM-5.2-NVFP4 -tp=4 -pp=2 {FUSED}", "0.23.0", True),
        ("vllm serve nvidia/DeepSeek-V3.1-NVFP4 -tp=4 -cc.pass_config.fuse_allreduce_rms=0", "0.16.0", False),
        ("vllm serve zai-org/GLM-5.2-FP8 -tp 4 -dp 2 --enable-expert-parallel", "0.33.0", True),
        ("vllm serve zai-org/GLM-5.2-FP8 -tp 8 --enable-expert-parallel", "0.33.0", False),
        ("vllm serve nvidia/GLM-5.2-NVFP4 -tp 4 -dp 2 --enable-expert-parallel", "0.33.0", False),
    ],
)  # fmt: skip
def test_reports_of_wrong_answers_and_of_hangs_are_told_of_what_they_are_about(
    command: str, release: str, *, is_told: bool
) -> None:
    ids = {
        concern.id or ""
        for one in entries(command, release, "sm100")
        for concern in one.concerns
        if (concern.id or "").startswith(("vllm-fused-norm", "vllm-experts-hang"))
    }

    assert bool(ids) == is_told
