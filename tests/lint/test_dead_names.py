"""That nobody reads a variable follows from its name: a value that is not known hides it no more."""

from __future__ import annotations

import pytest

from launcher.engines.conditions import CONDITIONS
from launcher.engines.target import Target
from launcher.lint.by_option import BY_NAME
from launcher.lint.concerns import Verdict
from launcher.lint.run import judge

SERVERS = {
    "vllm": ("0.33.0", "vllm serve nvidia/GLM-5.2-NVFP4 --tensor-parallel-size 8"),
    "sglang": ("0.5.23", "sglang serve --model-path nvidia/GLM-5.2-NVFP4 --tp 8"),
}
DEAD = [
    ("vllm", "VLLM_ATTENTION_BACKEND"),
    ("vllm", "VLLM_NO_SUCH_THING"),
    ("vllm", "SGLANG_NO_SUCH_THING"),
    ("vllm", "NCCL_NO_SUCH_THING"),
    ("sglang", "SGLANG_NO_SUCH_THING"),
    ("sglang", "VLLM_ATTENTION_BACKEND"),
]
READ = [("vllm", "VLLM_USE_DEEP_GEMM"), ("sglang", "SGLANG_HOST_IP"), ("vllm", "NCCL_DEBUG")]
WAYS = ('export {name}="$ELSEWHERE"\n{server}', "{name}=$ELSEWHERE {server}")


def verdict(engine: str, name: str, way: str) -> Verdict:
    """What is said of a variable whose value comes from elsewhere."""
    release, server = SERVERS[engine]
    text = way.format(name=name, server=server)
    [judged] = judge(text, Target(release, "sm120")).launches
    [entries] = judged.releases.values()
    return next(one.verdict for one in entries if one.name == name)


@pytest.mark.parametrize("way", [*WAYS, "{name}=1 {server}"])
@pytest.mark.parametrize(("engine", "name"), DEAD)
def test_a_name_that_nobody_reads_is_told_whatever_its_value(
    engine: str, name: str, way: str
) -> None:
    assert verdict(engine, name, way) is not Verdict.FINE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("engine", "name"), READ)
def test_a_name_that_is_read_is_left_alone(engine: str, name: str, way: str) -> None:
    assert verdict(engine, name, way) is Verdict.FINE


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_conditions_of_the_name_exist(name: str) -> None:
    assert name in CONDITIONS
