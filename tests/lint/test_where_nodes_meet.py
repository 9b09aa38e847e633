"""Where the nodes of one model find each other: what is missing or wrong is told, and nothing of a
launch that is right, on one node, or filled in from outside.
"""

from __future__ import annotations

import pytest

from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.lint.concerns import Verdict
from launcher.lint.run import judge

SGLANG = "python3 -m sglang.launch_server --model-path zai-org/GLM-5-FP8 --tp 16"
VLLM = "vllm serve zai-org/GLM-5-FP8 --tensor-parallel-size 16"
STAGES = "vllm serve zai-org/GLM-5-FP8 --tensor-parallel-size 8 --pipeline-parallel-size 2"
MTP = """--speculative-config '{"method": "mtp", "num_speculative_tokens": 1}'"""
WRONG = {
    f"{SGLANG} --nnodes 2": "--nnodes",
    f"{SGLANG} --nnodes 2 --node-rank 1": "--nnodes",
    f"{SGLANG} --nnodes 2 --dist-init-addr 10.0.0.1": "--dist-init-addr",
    f"{SGLANG} --nnodes 2 --dist-init-addr head": "--dist-init-addr",
    f"{SGLANG} --nnodes 2 --dist-init-addr [fd00::1]": "--dist-init-addr",
    f"{SGLANG} --nnodes 2 --dist-init-addr fd00::1:20000": "--dist-init-addr",
    f"{SGLANG} --nnodes 2 --dist-init-addr :20000": "--dist-init-addr",
    f"{SGLANG} --nnodes 2 --dist-init-addr head:port": "--dist-init-addr",
    f"{SGLANG} --nnodes 2 --dist-init-addr head:70000": "--dist-init-addr",
    f"{VLLM} --nnodes 2": "--nnodes",
    f"{VLLM} --nnodes 2 --node-rank 1 --headless": "--nnodes",
    f"{VLLM} --nnodes 2 --master-addr h --node-rank 1": "--node-rank",
}
RIGHT = [
    SGLANG,
    f"{SGLANG} --nnodes 1",
    f"{SGLANG} --nnodes 2 --dist-init-addr head:20000",
    f"{SGLANG} --nnodes 2 --dist-init-addr [fd00::1]:20000",
    f"{SGLANG} --nnodes 2 --dist-init-addr $HEAD",
    f"{SGLANG} --nnodes 2 --dist-init-addr ${{HEAD}}:20000",
    f"{SGLANG} --nnodes 2 --use-ray",
    f"SGLANG_DISTRIBUTED_INIT_METHOD_OVERRIDE=env:// {SGLANG} --nnodes 2",
    VLLM,
    f"{VLLM} --nnodes 2 --master-addr h",
    f"{VLLM} --nnodes 2 --master-addr h --node-rank 1 --headless",
    f"{VLLM} --nnodes 2 --master-addr h --node-rank 1 --api-server-count 0",
    f"{VLLM} --nnodes 2 --master-addr h --node-rank 1 --data-parallel-size 2",
    f"{VLLM} --nnodes 2 --distributed-executor-backend external_launcher",
]


def broken(text: str, release: str | None = None) -> set[str]:
    engine = "vllm" if "vllm serve" in text else "sglang"
    target = Target(release or dialect(engine).options.newest, "sm100", engine=engine)
    [judged] = judge(text, target).launches
    [entries] = judged.releases.values()
    return {
        entry.name
        for entry in entries
        if any(concern.verdict is Verdict.BREAKS for concern in entry.concerns)
    }


@pytest.mark.parametrize("text", WRONG)
def test_nodes_that_will_not_find_each_other_are_told(text: str) -> None:
    assert broken(text) == {WRONG[text]}


@pytest.mark.parametrize("text", RIGHT)
def test_nodes_that_will_are_not(text: str) -> None:
    assert not broken(text)


@pytest.mark.parametrize(
    ("text", "release", "tells"),
    [
        (f"{STAGES} {MTP}", "0.26.0", True),
        (f"{STAGES} {MTP}", "0.29.0", True),
        (f"{STAGES} {MTP}", "0.32.0", False),
        (f"{VLLM} {MTP}", "0.26.0", False),
        (STAGES, "0.26.0", False),
        (f"{STAGES} {MTP}".replace("GLM-5-FP8", "GLM-4.5"), "0.26.0", False),
    ],
)
def test_mtp_over_stages_is_told_of_the_releases_of_which_it_was_reported(
    text: str, release: str, tells: bool
) -> None:
    assert ("--speculative-config" in broken(text, release)) is tells
