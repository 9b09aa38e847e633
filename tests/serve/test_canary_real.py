"""The canary over the real engines: weights that turn to noise, and a rank that gets a third of its time."""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from conftest import ENGINE, end, until
from served import LONG, Served

CANARY = '[canary]\nevery = 0.5\nasks = ["fact"]\n'
REAL = [
    pytest.param("real1", marks=pytest.mark.engine),
    pytest.param("vllm1", marks=pytest.mark.engine("vllm")),
]


@pytest.fixture(scope="module", params=REAL)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A real engine that is asked twice a second, once it is known how fast it is."""
    made = Served(tmp_path_factory.mktemp(request.param), request.param)
    made.write_profile(CANARY)
    up = made.run("up", "-p", "stub", "-d")
    assert up.returncode == 0, up.stderr
    until(lambda: canary(made)["answers"].get("right", 0) >= 8, "it is known how it is", LONG)
    yield made
    end(made)


def canary(served: Served) -> dict[str, Any]:
    return dict(served.peek()["canary"])


@contextlib.contextmanager
def slowed(process: psutil.Process) -> Iterator[None]:
    """A process that is stopped for three quarters of the time."""
    over = threading.Event()

    def hold() -> None:
        while not over.is_set():
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.06)
            process.send_signal(signal.SIGCONT)
            time.sleep(0.02)

    holds = threading.Thread(target=hold)
    holds.start()
    try:
        yield
    finally:
        over.set()
        holds.join()


def test_its_own_signs_are_told(served: Served) -> None:
    told = canary(served)

    assert not told["degraded"]
    assert told["step_seconds"] > 0
    assert told["tokens_per_second"] > 0
    assert told["accepted"] is None, "it does not speculate"


def test_a_rank_that_is_slow_is_found(served: Served) -> None:
    with slowed(served.rank()):
        told = until(lambda: (c := canary(served))["degraded"] and c, "it is degraded", LONG)

    assert "a step takes" in told["reason"]
    assert served.peek()["state"] == "ready"
    until(lambda: not canary(served)["degraded"], "it is fine again", LONG)


@pytest.mark.parametrize("served", REAL[:1], indirect=True)
def test_weights_that_turn_to_noise_are_found(served: Served, tmp_path: Path) -> None:
    """vLLM takes other weights in its developer mode alone."""
    noise = tmp_path / "noise"
    shutil.copytree(ENGINE / "model", noise)
    [weights] = noise.glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    middle = len(data) // 2
    data[middle:] = bytes(len(data) - middle)
    weights.write_bytes(data)

    def take(folder: Path) -> None:
        url = f"http://127.0.0.1:{served.port}/update_weights_from_disk"
        requests.post(url, json={"model_path": str(folder)}, timeout=60).raise_for_status()

    take(noise)
    told = until(lambda: (c := canary(served))["degraded"] and c, "it is degraded", LONG)
    [*_, event] = [event for event in served.told() if event["event"] == "canary"]
    assert (event["degraded"], event["cause"]) == (True, "wrong-output")
    assert "What is the capital of France?" in told["reason"]

    take(ENGINE / "model")
    until(lambda: not canary(served)["degraded"], "it is fine again", LONG)
