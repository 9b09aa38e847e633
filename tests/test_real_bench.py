"""`bench` against both real engines on the CPU: their own load generators, judged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NEEDS, VLLM_ENGINE, World, end, free_port

PROFILES = {"sglang": "cpu-demo", "vllm": "cpu-demo-vllm"}
LONG = 240.0  # seconds; a start takes 15-25 here


@pytest.fixture(params=[pytest.param(name, marks=NEEDS[name]) for name in PROFILES])
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[World, str]]:
    made = World(tmp_path)
    profile = PROFILES[request.param]
    environ = {
        "XDG_CACHE_HOME": str(VLLM_ENGINE.parent.parent),
        "GLM5_SERVE__FLAGS__PORT": str(free_port()),
    }
    if request.param == "sglang":
        environ["GLM5_SERVE__FLAGS__ENABLE_METRICS"] = "true"
    up = made.run("up", profile, "--detach", timeout=LONG, **environ)
    assert up.returncode == 0, up.stderr
    yield made, profile
    end(made)


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_a_real_server_is_measured_and_trusted(demo: tuple[World, str]) -> None:
    world, profile = demo
    kept = world.folder / "kept.jsonl"

    done = world.run(
        *("bench", profile, "--rounds", "3", "--concurrency", "2"),
        *("--save", kept, "--json"),
        timeout=LONG,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 0, done.stdout + done.stderr
    assert told[-1]["trusted"], told[-1]
    assert told[0]["notes"] == []
    level = told[-2]
    assert level["requests"] == 24
    assert level["output_tok_s"] > 0
    assert 0 < level["ttft_ms"]["p50"] < 60_000
    assert level["cache_hits"] is not None
    assert 4 <= level["output_tokens"] <= 32, (
        "as the server counts them, not as they were asked for"
    )
    assert kept.read_text().count("\n") == len(told)
