"""A launch of vLLM is judged as one in every form, by its own options and releases."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.formats.reading import read
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
