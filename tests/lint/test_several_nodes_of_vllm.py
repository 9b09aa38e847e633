"""Several nodes of vLLM: what it refuses is told, and what it takes is not."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.lint.concerns import Verdict
from launcher.lint.run import judge

LAUNCH = "docker run vllm/vllm-openai:v0.32.0 m/x"
MEETS = "--master-addr 10.0.0.1"
REFUSED = {
    f"--nnodes 3 --tensor-parallel-size 8 {MEETS}": "--nnodes",
    f"--nnodes 2 --node-rank 2 --tensor-parallel-size 8 {MEETS}": "--node-rank",
    f"--nnodes 2 --data-parallel-size 2 --data-parallel-backend ray {MEETS}": "--nnodes",
    "--headless --api-server-count 1": "--api-server-count",
    "--headless --data-parallel-hybrid-lb --data-parallel-size 2": "--data-parallel-hybrid-lb",
}
TAKEN = [
    f"--nnodes 2 --tensor-parallel-size 8 {MEETS}",
    f"--nnodes 3 --pipeline-parallel-size 3 --tensor-parallel-size 8 {MEETS}",
    f"--nnodes 2 --node-rank 1 --headless --tensor-parallel-size 8 {MEETS}",
    "--tensor-parallel-size 8 --data-parallel-size 3",
    "--data-parallel-size 2 --data-parallel-backend ray",
    "--headless --api-server-count 0",
    "--api-server-count 2",
    "--data-parallel-hybrid-lb --data-parallel-size 2 --data-parallel-size-local 1",
]
OF_NODES = {*REFUSED.values()}


def broken(words: str) -> set[str]:
    """The options about nodes that break a launch of 0.32.0."""
    [judged] = judge(f"{LAUNCH} {words}", Target("0.32.0", "sm100")).launches
    [entries] = judged.releases.values()
    told = {
        entry.name
        for entry in entries
        if any(concern.verdict is Verdict.BREAKS for concern in entry.concerns)
    }
    return told & OF_NODES


@pytest.mark.parametrize("words", REFUSED)
def test_what_vllm_refuses_of_several_nodes_is_told(words: str) -> None:
    assert broken(words) == {REFUSED[words]}


@pytest.mark.parametrize("words", TAKEN)
def test_what_vllm_takes_of_several_nodes_is_not(words: str) -> None:
    assert not broken(words)
