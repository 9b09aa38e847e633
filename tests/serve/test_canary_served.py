"""The canary over a server: each way to go wrong is put into the stand-in while it serves."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jsonschema
import pytest
import requests
from conftest import ROOT, World, free_port, until
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.engines.engine import runtime
from launcher.engines.server import Server
from launcher.serve import canary_ask
from launcher.serve.canary import Question, Said

PARSERS = 'reasoning-parser = "glm45"\ntool-call-parser = "glm47"\n'
KEY = "k3y-that-nobody-must-see"
HEALTHY: dict[str, Any] = {"steps": {"seconds": 0.0005, "accepted": 3}}
FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"garbage_from": 3}, "control characters", "wrong-output"),
    ({"loop": True}, "the same", "wrong-output"),
    ({"digit": True}, "asked to copy", "wrong-output"),
    ({"swallow": True}, "the answer is empty", "wrong-output"),
    ({"tool_call": ""}, "a tool call was not parsed", "wrong-output"),
    ({"concluded": "<think>France</think>Paris"}, "reasoning is in the answer", "wrong-output"),
    ({"steps": {"seconds": 0.0012, "accepted": 3}}, "a step takes", "slow-output"),
    ({"steps": {"seconds": 0.0005, "accepted": 1.2}}, "tokens of a step", "slow-output"),
]


def up(world: World, text: str = "") -> None:
    """Up, with a key, both parsers and a canary."""
    world.write_profile(f"[canary]\n{text}", stop_timeout=20)
    written = world.profile.read_text()
    world.profile.write_text(written.replace("tp-size = 2\n", f"tp-size = 2\n{PARSERS}"))
    world.faults(**HEALTHY)
    key = world.folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    done = world.run("up", "-p", "stub", "-d", "--api-key-file", key)
    assert done.returncode == 0, done.stderr


def serve(world: World, text: str = "") -> None:
    """The same, asked more often than a profile may say: its launcher reads its plan again when it
    is told to restart.
    """
    up(world, text)
    plan = world.state / "stub/plan.json"
    made = json.loads(plan.read_text())
    made["policy"]["canary"]["every"] = 0.1
    plan.write_text(json.dumps(made))
    os.kill(world.status()["pids"]["launcher"], signal.SIGUSR1)
    until(lambda: (c := world.status()["canary"]) and c["every"] == 0.1, "it is asked often")


def judged(canary: dict[str, Any]) -> int:
    """How many of its questions were judged, but for those that were asked a second time."""
    return int(sum(canary["answers"].get(said, 0) for said in ("right", "wrong")))


def answers(world: World) -> int:
    return judged(world.status()["canary"])


def asked_since(canary: dict[str, Any]) -> int:
    """How many more it was asked at most since it was degraded, until this was written of it."""
    last, since = (datetime.fromisoformat(canary[name]) for name in ("time", "since"))
    return math.ceil((last - since).total_seconds() / canary["every"])


def degraded(world: World) -> dict[str, Any]:
    return dict(
        until(lambda: (c := world.status()["canary"]) and c["degraded"] and c, "it is degraded")
    )


def last_event(world: World, *, degraded: bool) -> dict[str, Any]:
    """What was written of its last change, which is told by its status before."""
    return dict(
        until(
            lambda: (e := world.events("canary")) and e[-1]["degraded"] is degraded and e[-1],
            "that is told",
        )
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server whose canary knows how fast it is."""
    from conftest import end

    made = World(tmp_path_factory.mktemp("canary"))
    serve(made)
    until(lambda: answers(made) >= 15, "it is known how fast it is")
    yield made
    end(made)


@pytest.mark.parametrize(("fault", "told", "cause"), FAULTS, ids=[str(f) for f, _, _ in FAULTS])
def test_each_fault_is_found_within_three_canaries_and_over_when_it_is(
    served: World, fault: dict[str, Any], told: str, cause: str
) -> None:
    served.faults(**HEALTHY | fault)
    before = answers(served)  # one may be under way
    found = degraded(served)
    assert told in found["reason"]
    asked = judged(found) - before - asked_since(found)
    assert asked <= 3 + 1 + 1, "three, the second look, one under way"
    assert last_event(served, degraded=True)["cause"] == cause
    assert served.status()["state"] == "ready"

    served.faults(**HEALTHY)
    until(lambda: not served.status()["canary"]["degraded"], "it is fine again")
    told = last_event(served, degraded=False)["reason"]
    assert told == "it answers as it did after its start"


def test_status_events_and_metrics_tell_it(served: World) -> None:
    served.faults(**HEALTHY | {"tool_call": ""})
    degraded(served)
    said = served.run("status", "-p", "stub")
    figures = served.run("metrics").stdout
    served.faults(**HEALTHY)
    until(lambda: not served.status()["canary"]["degraded"], "it is fine again")

    assert said.returncode == 0
    assert said.stdout.startswith("stub  ready  degraded  since ")
    assert "canary      degraded since 20" in said.stdout
    assert "a tool call was not parsed" in said.stdout
    assert 'glm5_serve_degraded{engine="sglang",profile="stub"} 1.0' in figures
    assert 'glm5_serve_canary_answers_total{answer="wrong"' in figures
    assert "glm5_serve_canary_step_seconds" in figures
    assert "canary      fine: " in served.run("status", "-p", "stub").stdout
    lines = served.run("events", "--kind", "canary").stdout
    assert "degraded   a tool call was not parsed" in lines
    schema = json.loads((ROOT / "docs/events.schema.json").read_text())
    for event in served.events("canary"):
        jsonschema.validate(event, schema)


def test_whatever_it_answered_nothing_tells_its_key(served: World) -> None:
    served.faults(**HEALTHY | {"answer": f"bad key {KEY}"})
    degraded(served)
    shown = [served.run(*words) for words in (("status",), ("events",), ("smoke",), ("logs",))]
    served.faults(**HEALTHY)
    until(lambda: not served.status()["canary"]["degraded"], "it is fine again")

    kept = [one for one in (served.state / "stub").iterdir() if one.is_file()]
    said = [one.stdout + one.stderr for one in shown] + [one.read_text() for one in kept]
    assert "bad key [redacted]" in "".join(said)
    assert [one for one in said if KEY in one] == []


def test_no_answer_in_time_is_unknown_and_no_wrong_one(served: World) -> None:
    unknown = lambda: served.status()["canary"]["answers"].get("unknown", 0)
    before = unknown()
    served.faults(**HEALTHY | {"paused": True})
    until(lambda: unknown() > before + 2, "it could not be asked")
    told = served.status()["canary"]
    served.faults(**HEALTHY)

    assert not told["degraded"]
    assert told["last"] == "not asked: generation is paused"


def test_a_server_that_turned_wrong_is_started_again_where_that_is_wanted(world: World) -> None:
    serve(world, 'act = "restart"')
    until(lambda: answers(world) >= 3, "it was asked")
    world.faults(**HEALTHY | {"tool_call": ""})
    until(lambda: world.events("death"), "it is degraded, and ends")
    world.faults(**HEALTHY)
    seen = world.until_state("ready", restarts=2)  # the other one was asked for

    [death] = world.events("death")
    assert death["cause"] == "wrong-output"
    assert "a tool call was not parsed" in death["what"]
    assert any(event["reason"].startswith("degraded: ") for event in world.events())
    assert seen["deaths"] == {"wrong-output": 1}


def test_a_question_that_is_under_way_keeps_no_server_from_going(world: World) -> None:
    serve(world)
    until(lambda: answers(world) >= 1, "it was asked")
    world.faults(**HEALTHY | {"hang_at": "chat", "drain": 60})
    until(lambda: runtime("sglang").in_flight(Server("127.0.0.1", world.port, KEY)), "asked")
    assert world.run("down", "-p", "stub").returncode == 0

    [*_, last] = world.events()
    assert last["state"] == "stopped"
    assert last["previous"]["state"] == "stopping"
    assert last["previous"]["seconds"] < 15, "it drained, and was not killed after twenty"


def test_switched_off_it_asks_nothing(world: World) -> None:
    up(world, "every = 0")
    figures = runtime("sglang").figures
    steps = lambda: figures(Server("127.0.0.1", world.port, KEY), 20.0, whole=False).steps
    before = steps()
    time.sleep(1.0)

    assert before
    assert steps() == before
    assert world.status()["canary"]["every"] == 0
    assert "\n  canary      off\n" in world.run("status", "-p", "stub").stdout
    assert "glm5_serve_degraded{" not in world.run("metrics").stdout


def test_what_a_profile_asks_for_is_what_its_plan_asks(world: World) -> None:
    def asks(text: str, flags: str = "") -> dict[str, Any]:
        world.write_profile(text)
        written = world.profile.read_text().replace("tp-size = 2\n", f"tp-size = 2\n{flags}")
        world.profile.write_text(written)
        plan = json.loads(world.run("render", "-p", "stub", "--json").stdout)
        return dict(plan["policy"]["canary"])

    assert asks("")["every"] == 60
    assert asks("")["asks"] == ["fact", "context"]
    assert asks("", PARSERS)["asks"] == ["fact", "context", "tools", "reasoning"]
    assert asks("", "context-length = 2048\n")["asks"] == ["fact"]
    assert asks("[smoke]\nquestions = []", PARSERS)["asks"] == ["context", "tools"]
    for off in ("[canary]\nevery = 0", "[canary]\nasks = []", "[smoke]\nenabled = false"):
        assert asks(off)["asks"] == []
    assert (asks("[canary]\nevery = 0")["every"], asks("[canary]\nasks = []")["every"]) == (0, 60)
    world.write_profile('[canary]\nact = "panic"')
    refused = world.run("render", "-p", "stub")
    assert refused.returncode == 78
    assert "canary.act" in refused.stderr
    world.write_profile("[canary]\nevery = 0.0001")
    refused = world.run("render", "-p", "stub")
    assert refused.returncode == 78
    assert "canary.every: wanted 0 for no questions, or 1 and more" in " ".join(
        refused.stderr.split()
    )


# -- one look --------------------------------------------------------------------------------------


class Answering(BaseHTTPRequestHandler):
    """A server that says what it is told to, and where requests wait if it shall."""

    status, body, waiting = 200, b"", 0
    metrics = 200
    posts: list[bytes]
    asked: list[str]

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        load = {"num_running_reqs": 1, "num_waiting_reqs": type(self).waiting}
        type(self).asked.append(self.path)
        status = type(self).metrics if self.path == "/metrics" else 200
        self.answer(status, json.dumps({"loads": [load]}).encode())

    def do_POST(self) -> None:
        type(self).posts.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(type(self).status, type(self).body)


@pytest.fixture(scope="module")
def answering() -> Iterator[tuple[type[Answering], canary_ask.Asked]]:
    """A server without an engine, and how it is asked."""
    server = ThreadingHTTPServer(("127.0.0.1", free_port()), Answering)
    Thread(target=server.serve_forever, daemon=True).start()
    question = {"ask": "What is 17 + 25?", "expect": "42"}
    smoke = {"within": 5.0, "questions": [question], "thinking": "no"}
    where = Server("127.0.0.1", server.server_address[1])
    line = canary_ask.Line()
    asked = canary_ask.Asked(where, runtime("sglang"), "m", smoke, frozenset(), line)
    Answering.posts, Answering.asked = [], []
    yield Answering, asked
    server.shutdown()
    server.server_close()


def chat(text: str) -> bytes:
    message = {"choices": [{"message": {"content": text}}], "usage": {"completion_tokens": 3}}
    return json.dumps(message).encode()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, chat("42"), Said.RIGHT),
        (200, chat("43"), Said.WRONG),
        (200, chat(""), Said.WRONG),
        (200, b"{}", Said.WRONG),
        (500, b"boom", Said.WRONG),
        (503, b"full", Said.UNKNOWN),
        (429, b"full", Said.UNKNOWN),
    ],
)
def test_what_an_answer_means(
    answering: tuple[type[Answering], canary_ask.Asked], status: int, body: bytes, said: Said
) -> None:
    server, asked = answering
    server.status, server.body, server.waiting = status, body, 0

    assert canary_ask.look(asked, Question("fact", 0)).said is said


@pytest.mark.parametrize(("status", "times"), [(404, 1), (500, 6), (200, 6)])
def test_what_a_server_does_not_have_it_is_asked_for_once(
    answering: tuple[type[Answering], canary_ask.Asked], status: int, times: int
) -> None:
    """Each time is a line in its log; what may come yet is asked for again."""
    server, asked = answering
    server.status, server.body, server.waiting, server.metrics = 200, chat("42"), 0, status
    server.asked, run = [], replace(asked, learnt=canary_ask.Learnt())
    for number in range(3):
        assert canary_ask.look(run, Question("fact", number)).said is Said.RIGHT
    server.metrics = 200

    assert server.asked.count("/metrics") == times
    assert server.asked.count("/v1/loads") == 6 + times, "what it has, before and after each"


def test_one_whose_queue_is_full_is_not_asked(
    answering: tuple[type[Answering], canary_ask.Asked],
) -> None:
    server, asked = answering
    server.waiting, before = 3, len(server.posts)
    look = canary_ask.look(asked, Question("fact", 0))

    assert (look.said, look.detail) == (Said.UNKNOWN, "not asked: 3 requests wait in its queue")
    assert len(server.posts) == before


def test_a_line_that_was_cut_asks_nothing(
    answering: tuple[type[Answering], canary_ask.Asked],
) -> None:
    server, asked = answering
    server.waiting, before = 0, len(server.posts)
    line = canary_ask.Line()
    line.cut()
    cut = canary_ask.Asked(
        asked.server, asked.engine, asked.model, asked.smoke, asked.parsers, line
    )

    assert canary_ask.look(cut, Question("fact", 0)).said is Said.UNKNOWN
    assert len(server.posts) == before


@settings(max_examples=50)
@given(st.text(max_size=200), st.integers(0, 1 << 70) | st.floats() | st.none() | st.text())
def test_no_text_of_a_client_is_taken_for_a_count(text: str, odd: object) -> None:
    """What clients send stands in neither engine's counts; and odd ones are none."""
    from launcher.engines.figures import Figures
    from launcher.engines.sglang.figures import of_loads
    from launcher.engines.vllm.figures import of_metrics

    line = json.dumps(text)[1:-1]
    told = of_metrics(f'vllm:other{{engine="0",x="{line}"}} 1\n# {line}\n')
    assert told == Figures(lacks=of_metrics("").lacks)
    load: dict[str, Any] = {
        "num_running_reqs": odd,
        "token_usage": odd,
        "decode_moments": [odd] * 6,
    }
    made = of_loads([load])
    assert (made.running or 0) >= 0
    assert made.steps is None or made.steps.rows >= 0


def test_requests_of_clients_go_on_beside_it(world: World) -> None:
    serve(world)
    body = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    for _ in range(5):
        url = f"http://127.0.0.1:{world.port}/v1/chat/completions"
        sent = requests.post(url, json=body, timeout=60, headers={"Authorization": f"Bearer {KEY}"})
        assert sent.status_code == 200
    until(lambda: answers(world) >= 2, "it is asked, too")
    assert not world.status()["canary"]["degraded"]
