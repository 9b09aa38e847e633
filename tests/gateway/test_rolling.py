"""Two servers of the stand-in engine behind the real smg, restarted and killed under load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from behind import PIECES, Behind
from conftest import PATIENCE, end
from rig.load import Load


def load_of(behind: Behind) -> Load:
    return Load(behind.gateway_port, "stub", clients=4, tokens=1024, pieces=PIECES)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    made = Behind(tmp_path)
    yield made
    end(made)


def test_a_rolling_restart_loses_no_request(behind: Behind) -> None:
    assert behind.gateway_up().returncode == 0
    behind.up()
    behind.until_routed("stub@1", "stub@2")

    with load_of(behind) as load:
        done = behind.run("restart", "stub", "--rolling", timeout=PATIENCE)
        time.sleep(1)

    assert done.returncode == 0, done.stderr
    assert set(load.outcomes) == {"stream ok", "plain ok"}, load.outcomes
    assert min(load.outcomes.values()) > 20
    runs = [behind.status(name)["run"] for name in ("stub@1", "stub@2")]
    assert runs == [2, 2]


def test_a_killed_replica_costs_no_plain_request_and_tells_a_stream(behind: Behind) -> None:
    assert behind.gateway_up().returncode == 0
    behind.up()
    behind.until_routed("stub@1", "stub@2")

    with load_of(behind) as load:
        time.sleep(2)
        behind.faults(hang_at="load")  # it does not come back before it was seen to be gone
        os.kill(behind.status("stub@1")["pids"]["server"], signal.SIGKILL)
        behind.until_routed("stub@2")
        behind.faults()
        behind.until_routed("stub@1", "stub@2")

    assert set(load.lost) <= {"stream error, then [DONE]"}, load.outcomes
