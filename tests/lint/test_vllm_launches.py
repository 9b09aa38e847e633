"""A launch of vLLM is judged as one in every form, by its own options and releases."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.formats.reading import read
from launcher.lint.as_plan import as_plan
from launcher.lint.concerns import Verdict
from launcher.lint.run import Judged, judge

VLLM = {
    "command": "vllm serve zai-org/GLM-5 --tensor-parallel-size 8",
    "module": "python3 -m vllm.entrypoints.openai.api_server --model m --max-model-len 8",
    "image": "docker run --gpus all vllm/vllm-openai:v0.32.0 --model m --tensor-parallel-size 8",
    "image with a program": "docker run --entrypoint vllm vllm/vllm-openai serve m --port 1",
    "dynamo": "python -m dynamo.vllm --model m",
    "wrapped": "numactl -N 0 nohup vllm serve m --port 1 > log 2>&1 &",
    "shell in tmux": "tmux new -d -s x 'vllm serve m --port 1'",
    "compose": "services: {a: {image: 'vllm/vllm-openai:v0.32.0', command: [--model, m, --port, '1']}}",
    "compose with a program": "services: {a: {command: vllm serve m --port 1}}",
    "pod": "apiVersion: v1\nspec: {containers: [{name: a, image: vllm/vllm-openai, args: [--model, m]}]}",
    "pod with a script": "spec: {containers: [{command: [bash, -c, 'vllm serve m --port 1']}]}",
    "quadlet": "[Container]\nImage=docker.io/vllm/vllm-openai:v0.32.0\nExec=--model m --port 1",
    "unit": "[Service]\nExecStart=/opt/venv/bin/vllm serve m --port 1",
    "supervisord": "[program:a]\ncommand=vllm serve m --port 1",
    "Dockerfile": 'FROM vllm/vllm-openai:v0.32.0\nCMD ["--model", "m", "--port", "1"]',
    "chart": "image: {repository: vllm/vllm-openai, tag: v0.32.0}\nextraArgs: [--model, m, --port, '1']",
    "chart as a table": "image: vllm/vllm-openai\nextraArgs: {model: m, port: 1}",
    "image with a model": "docker run vllm/vllm-openai:v0.32.0 zai-org/GLM-5 --port 1",
    "pod with a model": "spec: {containers: [{image: 'vllm/vllm-openai:v0.32.0', args: [a/m, --port, '1']}]}",
    "Dockerfile with a model": 'FROM vllm/vllm-openai:v0.32.0\nCMD ["a/m", "--port", "1"]',
    "config": "tensor-parallel-size: 8\nmax-model-len: 8k\ngpu-memory-utilization: 0.9\nmodel: m",
    "options": "--model m --tensor-parallel-size 8 --gpu-memory-utilization 0.9",
    "list of words": 'cmd = ["vllm", "serve", "m", "--port", "1"]',
    "Markdown": "```\nvllm serve m --port 1\n```",
    "ansible": "- name: a\n  shell: vllm serve m --port 1",
}  # fmt: skip


@pytest.mark.parametrize("form", VLLM)
def test_a_launch_of_vllm_is_judged_as_one_whatever_release_of_another_was_asked_for(
    form: str,
) -> None:
    [judged] = judge(VLLM[form], Target("0.5.23", "sm120")).launches

    release = "0.32.0" if "v0.32.0" in VLLM[form] else "0.33.0"
    assert (judged.launch.engine, judged.target.release) == ("vllm", release)
    assert not [entry for entry in judged.releases[release] if entry.verdict.is_refused]


def test_no_program_that_an_image_starts_is_taken_for_its_model() -> None:
    for text in (
        "docker run vllm/vllm-openai /bin/bash",
        "docker run --entrypoint /start.sh vllm/vllm-openai a/m --port 1",
        "docker run rocm/vllm a/m --port 1",
        "services: {a: {image: vllm/vllm-openai, entrypoint: /start.sh, command: [a/m]}}",
    ):
        assert not read(text).launches


def judged_of(words: str, release: str) -> Judged:
    [judged] = judge(f"vllm serve zai-org/GLM-5 {words}", Target(release, "sm100")).launches
    return judged


@pytest.mark.parametrize(
    "words",
    [
        "-tp 8",
        "-tp=8",
        "--tensor_parallel_size 8",
        "--max-model-len 8K --max-num-batched-tokens 8k --max-model-len auto",
        "-O3",
        "--speculative-config.method mtp --speculative-config.num_speculative_tokens 3",
        """--speculative-config '{"method": "mtp", "num_speculative_tokens": 3}'""",
        "--no-enable-prefix-caching --moe-backend FlashInfer-Cutlass",
        "--tool-call-parser mine --tool-parser-plugin mine.py",
    ],
)
def test_what_vllm_takes_is_refused_in_none_of_its_spellings(words: str) -> None:
    for release in ("0.23.0", "0.32.0", "0.33.0"):
        [entries] = judged_of(words, release).releases.values()
        assert not [entry for entry in entries if entry.verdict.is_refused]


@pytest.mark.parametrize(
    ("words", "release", "verdict", "why"),
    [
        ("--disable-prefix-caching", "0.32.0", Verdict.UNKNOWN, "it comes with 0.33.0"),
        ("--shutdown-timeout 60", "0.16.0", Verdict.UNKNOWN, "it comes with 0.19.1"),
        ("--kv-cache-dtype fp9", "0.32.0", Verdict.WRONG, "no choice fp9"),
        ("--tool-call-parser glm46", "0.33.0", Verdict.WRONG, "no choice glm46"),
        (
            "--attention-backend FLASHINFER_MLA_SPARSE_SM120",
            "0.23.0",
            Verdict.WRONG,
            "no choice FLASHINFER_MLA_SPARSE_SM120",
        ),
        ("--max-model-len 8Ki", "0.33.0", Verdict.WRONG, "wants auto, a whole number"),
        ("-O7", "0.33.0", Verdict.WRONG, "no choice 7"),
        ("--max-num-se 8", "0.33.0", Verdict.ABBREVIATED, "--max-num-seqs"),
        ("--max-num 8", "0.33.0", Verdict.AMBIGUOUS, "could be"),
        ("--speculative-config mtp", "0.33.0", Verdict.WRONG, "wants JSON"),
        ("--context-length 8192", "0.33.0", Verdict.UNKNOWN, "it is SGLang's, no release of vLLM"),
        ("--mem-fraction-static 0.9", "0.33.0", Verdict.UNKNOWN, "it is SGLang's"),
        ("--ctx-size 8192", "0.33.0", Verdict.UNKNOWN, "no release from 0.16.0 on has it"),
    ],
)
def test_what_a_release_of_vllm_refuses_is_told(
    words: str, release: str, verdict: Verdict, why: str
) -> None:
    [entries] = judged_of(words, release).releases.values()
    told = [entry for entry in entries if entry.verdict is verdict]

    assert why in told[0].why


@pytest.mark.parametrize(
    ("release", "verdict", "why"),
    [
        ("0.16.0", Verdict.DEPRECATED, "a coming release refuses it"),
        ("0.19.1", Verdict.REMOVED, "removed after 0.16.0, and back with 0.33.0"),
        ("0.32.0", Verdict.REMOVED, "removed after 0.16.0, and back with 0.33.0"),
        ("0.33.0", Verdict.FINE, "accepted"),  # its parser pairs --enable-x with --disable-x
    ],
)
def test_an_option_that_went_and_came_back_is_told_by_the_release(
    release: str, verdict: Verdict, why: str
) -> None:
    [entries] = judged_of("--disable-log-requests", release).releases.values()
    [entry] = [one for one in entries if one.name == "--disable-log-requests"]

    assert entry.verdict is verdict
    assert why in entry.why


@pytest.mark.parametrize(
    ("release", "before", "after"),
    [
        ("0.17.0", "0.16.0", "0.19.1"),
        ("0.20.0", "0.19.1", "0.23.0"),
        ("0.27.0", "0.26.0", "0.27.1"),
    ],
)
def test_a_release_between_known_ones_is_judged_as_the_one_before_it(
    release: str, before: str, after: str
) -> None:
    notes = judged_of("-tp 8", release).notes

    assert (
        f"vLLM {release} is between those known, {before} and {after}: resolved as for {before}"
        in notes
    )
    assert not [note for note in notes if "differ in this" in note]


def test_what_came_or_went_around_a_release_between_known_ones_is_unknown() -> None:
    said = "what vLLM 0.17.0 does is unknown"

    assert any(
        "--disable-log-requests, --shutdown-timeout: 0.16.0 and 0.19.1" in note and said in note
        for note in judged_of("--disable-log-requests --shutdown-timeout 9", "0.17.0").notes
    )


@pytest.mark.parametrize(("release", "side"), [("0.34.0", "newer"), ("0.9.0", "older")])
def test_a_release_beyond_those_known_is_told_as_such(release: str, side: str) -> None:
    notes = judged_of("-tp 8", release).notes

    assert any(f"vLLM {release} is {side} than those known" in note for note in notes)


@pytest.mark.parametrize(
    ("words", "is_set"),
    [
        ("--enable-expert-parallel", True),
        ("--no-enable-expert-parallel", False),
        ("--disable-expert-parallel", False),
        ("--no-enable-expert", False),
        ("--enable-expert-parallel --no-enable-expert-parallel", False),
        ("--no-enable-expert-parallel -ep", True),
    ],
)
def test_a_switch_that_is_turned_off_is_not_set(words: str, is_set: bool) -> None:
    judged = judged_of(words, "0.33.0")
    target, launch = judged.target, judged.launch
    plan = as_plan(launch, target.known.given(launch.words), target, target.known)

    assert (plan.flag("enable-expert-parallel") is not None) is is_set


@pytest.mark.parametrize(
    ("model", "dtype", "is_refused"),
    [
        ("Qwen/Qwen3-4B-Instruct-2507-FP8", "fp8_e5m2", True),
        ("zai-org/GLM-5.2-FP8", "fp8_e5m2", True),
        ("/models/mine-FP8", "fp8_e5m2", True),
        ("Qwen/Qwen3-4B-Instruct-2507-FP8", "fp8", False),
        ("Qwen/Qwen3-4B", "fp8_e5m2", False),
        ("RedHatAI/Qwen3-4B-FP8-dynamic", "fp8_e5m2", False),
        ("QuantTrio/Qwen3-4B-AWQ", "fp8_e5m2", False),
    ],
)
def test_e5m2_is_refused_with_weights_in_fp8(model: str, dtype: str, is_refused: bool) -> None:
    text = f"vllm serve {model} -tp 8 --kv-cache-dtype {dtype}"
    [judged] = judge(text, Target("0.32.0", "sm100")).launches
    said = [concern.id for one in judged.releases["0.32.0"] for concern in one.concerns]

    assert ("vllm-e5m2-with-fp8-weights" in said) is is_refused


def test_choices_that_are_not_listed_are_counted() -> None:
    [entries] = judged_of("--attention-backend NO_SUCH", "0.33.0").releases.values()

    assert any(" and 35 more" in entry.why for entry in entries)
