"""A node without an API server has no port, and nobody's requests."""

from __future__ import annotations

import pytest

from launcher.engines.target import Target
from launcher.lint.run import judge

OF_SERVERS = (
    "open to the network",
    "aborts the requests in flight",
    "chat template",
    "/v1/responses",
    "Host header",
    "derender",
)
VLLM = "vllm serve zai-org/GLM-5.2-FP8 --nnodes 2 --master-addr 10.0.0.1 -tp 16 --api-key k"
SGLANG = (
    "sglang serve --model-path zai-org/GLM-5 --nnodes 2 --tp 16 --host 0.0.0.0 --dist-init-addr a:1"
)


def told(text: str, release: str) -> str:
    [judged] = judge(text, Target(release, "sm100", "b200")).launches
    [entries] = judged.releases.values()
    return "; ".join(entry.why for entry in entries)


@pytest.mark.parametrize("release", ["0.19.1", "0.23.0", "0.32.0"])
@pytest.mark.parametrize(
    "words",
    ["--headless --node-rank 1", "--headless --data-parallel-start-rank 1", "--api-server-count 0"],
)
def test_a_node_without_an_api_server_is_told_nothing_of_servers(words: str, release: str) -> None:
    said = told(f"{VLLM} {words}", release)

    assert not [what for what in OF_SERVERS if what in said]
    assert any(what in told(f"{VLLM} --node-rank 0", release) for what in OF_SERVERS)


@pytest.mark.parametrize(
    ("rank", "is_told"), [("0", True), ("1", False), ("3", False), ("$RANK", True)]
)
def test_sglangs_first_node_alone_serves(rank: str, is_told: bool) -> None:
    said = told(f"{SGLANG} --node-rank {rank}", "0.5.23")

    assert ("open to the network" in said) is is_told


@pytest.mark.parametrize(("key", "is_told"), [("", False), ("--api-key k", True)])
def test_a_key_that_can_be_got_around_is_told_where_there_is_one(key: str, is_told: bool) -> None:
    said = told(f"vllm serve a/m -tp 8 {key}", "0.16.0")

    assert ("gets around the API key" in said) is is_told


def test_a_variable_of_the_other_engine_is_told_as_such() -> None:
    assert "a variable of vLLM: SGLang does not read it" in told(
        f"VLLM_USE_V1=1 {SGLANG}", "0.5.23"
    )
    assert "a variable of SGLang: vLLM does not read it" in told(f"SGLANG_X=1 {VLLM}", "0.32.0")
    assert "a variable of vLLM" not in told(f"VLLM_DIST_IDENT=1 {SGLANG}", "0.5.23")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("VLLM_ALL2ALL_BACKEND", "write --all2all-backend"),
        ("VLLM_NO_SUCH_THING", "none from 0.16.0 on does"),
        ("VLLM_USE_FLASHINFER_MOE_FP4", "write --moe-backend"),
    ],
)
def test_who_reads_a_variable_is_said_of_known_releases_alone(name: str, hint: str) -> None:
    assert hint in told(f"{name}=a {VLLM}", "0.32.0")
