"""The canary over the real engines on a CPU: their model turns to nonsense, and then slow, while
they serve.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from conftest import NEEDS, end, until
from kinds import KINDS
from served import LONG, Served

RUNS, RESTS = 0.01, 0.09  # seconds of each turn of a rank that is slowed down
PROFILE = """[canary]
every = 1
asks = ["fact"]
[smoke]
questions = [
  { ask = "What is the capital of France?", expect = "paris" },
  { ask = "What is two plus two?", expect = "four" },
  { ask = "Who are you?", expect = "tiny model" },
]
"""


@pytest.fixture(
    params=[
        pytest.param(
            name,
            marks=[
                pytest.mark.matrix,
                pytest.mark.engine(KINDS[name].kind),
                NEEDS[KINDS[name].kind],
            ],
        )
        for name in ("real1", "vllm1")
    ]
)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A real server that is asked twice a second, and whose rank can be made to talk nonsense."""
    made = Served(tmp_path_factory.mktemp(request.param), request.param)
    made.mend()
    on, who = made.kind.phases["weights"]
    made.sabotage_file.write_text(json.dumps({"on": on, "who": who, "do": "garble"}))
    made.write_profile(PROFILE, stall_timeout=60, probe_interval=10)
    up = made.run("up", "-p", "stub", "-d", timeout=LONG)
    assert up.returncode == 0, up.stderr + (made.instance / "server.log").read_text()[-3000:]
    yield made
    end(made)


def canary(served: Served) -> dict[str, Any]:
    return dict(served.peek()["canary"])


def answers(served: Served) -> int:
    told = canary(served)["answers"]
    return int(told.get("right", 0) + told.get("wrong", 0))


@contextlib.contextmanager
def garbled(served: Served) -> Iterator[None]:
    """While its model reads each token as another one."""
    wanted = served.sabotage_file.with_name(f"{served.sabotage_file.name}.garble")
    wanted.touch()
    yield
    wanted.unlink()


@contextlib.contextmanager
def slowed(served: Served) -> Iterator[None]:
    """While a rank runs for a tenth of the time."""
    rank, over = served.rank(), threading.Event()

    def turns() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while not over.wait(RUNS):
                rank.suspend()
                time.sleep(RESTS)
                rank.resume()

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


def found(served: Served, cause: str) -> dict[str, Any]:
    """What it says of itself once the canary found it; asserts that three questions were enough."""
    before = answers(served)
    until(lambda: canary(served)["degraded"], "it is degraded", LONG)
    assert answers(served) - before <= 3 + 1 + 1, "these, the second look, one under way"
    [*_, event] = until(
        lambda: (e := served.events("canary")) and e[-1]["degraded"] and e, "that is told"
    )
    kind = served.kind.kind
    assert event["cause"] == cause
    assert (
        f'glm5_serve_degraded{{engine="{kind}",profile="stub"}} 1.0' in served.run("metrics").stdout
    )
    said = served.run("status", "-p", "stub")
    assert said.returncode == 0, "it stays ready"
    assert said.stdout.startswith("stub  ready  degraded  since ")
    return canary(served)


def mended(served: Served) -> None:
    until(lambda: not canary(served)["degraded"], "it is fine again", LONG)


@pytest.mark.timeout(600)
def test_a_real_server_that_turns_wrong_or_slow_is_found(served: Served) -> None:
    until(lambda: answers(served) >= 9, "it is known how fast it is", LONG)
    healthy = canary(served)
    assert (healthy["degraded"], healthy["answers"].get("wrong", 0)) == (False, 0)
    assert healthy["step_seconds"] > 0, "the engine's own counters tell"
    assert served.events("canary") == []

    with garbled(served):
        told = found(served, "wrong-output")
    assert "What is" in told["reason"] or "Who are you" in told["reason"]
    mended(served)

    with slowed(served):
        told = found(served, "slow-output")
    assert "a step takes" in told["reason"]
    mended(served)
    over = until(lambda: not (e := served.events("canary")[-1])["degraded"] and e, "that is told")
    assert over["reason"] == "it answers as it did after its start"
