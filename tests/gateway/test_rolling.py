"""Two servers of the stand-in engine behind the real smg, restarted and killed under load."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from behind import PIECES, Behind
from conftest import PATIENCE, end


class Load:
    """Clients that ask one request after the other, streams and plain ones in turn."""

    def __init__(self, port: int, clients: int = 4, key: str = "") -> None:
        self.port, self.key = port, key
        self.outcomes: Counter[str] = Counter()
        self.stop = threading.Event()
        self.threads = [
            threading.Thread(target=self.ask_on, args=(at,), daemon=True) for at in range(clients)
        ]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def ask_on(self, at: int) -> None:
        while not self.stop.is_set():
            is_stream = at % 2 == 0
            outcome = self.ask(stream=is_stream)
            self.outcomes[f"{'stream' if is_stream else 'plain'} {outcome}"] += 1

    def ask(self, *, stream: bool) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        question = [{"role": "user", "content": "Say it slowly."}]
        body = {"model": "stub", "messages": question, "stream": stream, "max_tokens": 1024}
        headers = {"Content-Type": "application/json"}
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
        if answer.status != 200:
            return f"{answer.status}: {text[:100]}"
        if '"error"' in text:
            return "error, then [DONE]" if text.rstrip().endswith("[DONE]") else "error"
        return (
            "ok" if not stream or (text.count('"delta"') == PIECES and "[DONE]" in text) else "cut"
        )


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    made = Behind(tmp_path)
    yield made
    end(made)


def test_a_rolling_restart_loses_no_request(behind: Behind) -> None:
    assert behind.gateway_up().returncode == 0
    behind.up()
    behind.until_routed("stub@1", "stub@2")

    with Load(behind.gateway_port) as load:
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

    with Load(behind.gateway_port) as load:
        time.sleep(2)
        behind.faults(hang_at="load")  # it does not come back before it was seen to be gone
        os.kill(behind.status("stub@1")["pids"]["server"], signal.SIGKILL)
        behind.until_routed("stub@2")
        behind.faults()
        behind.until_routed("stub@1", "stub@2")

    lost = {one: times for one, times in load.outcomes.items() if not one.endswith(" ok")}
    assert set(lost) <= {"stream error, then [DONE]"}, load.outcomes
