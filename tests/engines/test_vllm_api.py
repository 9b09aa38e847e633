"""Questions to a vLLM: what its endpoints say, made as 0.32.0 and 0.33.0 say it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.engines import activity
from launcher.engines.server import Answer, Server, ask
from launcher.engines.vllm import api
from launcher.engines.vllm.figures import of_metrics, of_replicas

WITHIN = 30.0
TOKEN = json.dumps({"usage": {"completion_tokens": 1}, "choices": [{"text": "x"}]})


def figures(running: float, waiting: float = 0.0, tokens: float = 7.0, engine: int = 0) -> str:
    labels = f'{{engine="{engine}",model_name="glm-5"}}'
    told = {
        "num_requests_running": running,
        "num_requests_waiting": waiting,
        "generation_tokens_total": tokens,
        "kv_cache_usage_perc": 0.25,
        "prompt_tokens_total": 1.1204e06,
    }
    lines = [f"# TYPE vllm:{name} gauge\nvllm:{name}{labels} {told[name]}\n" for name in told]
    reasons = f'vllm:num_requests_waiting_by_reason{{engine="{engine}",reason="capacity"}} 5.0\n'
    return "".join([*lines, reasons])


class Vllm(BaseHTTPRequestHandler):
    said: Mapping[str, tuple[int, str]]
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status, text = self.said.get(self.path, (404, ""))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def saying(**said: tuple[int, str]) -> Iterator[tuple[Server, list[str]]]:
    """A server whose endpoints say that, those that a healthy idle one has otherwise."""
    paths = {"health": "/health", "metrics": "/metrics", "token": "/v1/completions"}
    paths |= {"paused": "/is_paused", "sleeping": "/is_sleeping"}
    healthy = {"health": (200, ""), "metrics": (200, figures(0)), "token": (200, TOKEN)}
    told = {paths[name]: answer for name, answer in {**healthy, **said}.items()}
    asked: list[str] = []
    handler = type("Of", (Vllm,), {"said": told, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield Server("127.0.0.1", server.server_port), asked
        server.shutdown()


def alive(**said: tuple[int, str]) -> Answer:
    with saying(**said) as (server, _):
        return ask(api.alive, server, WITHIN)


def test_one_that_is_idle_is_asked_for_a_token() -> None:
    with saying() as (server, asked):
        answer = ask(api.alive, server, WITHIN)
        assert (answer.ok, answer.detail, answer.proves) == (True, "generated 1 token", True)
        assert asked == ["/health", "/metrics", "/v1/completions"]


def test_one_with_requests_is_left_to_them_and_told_by_what_they_move() -> None:
    with saying(metrics=(200, figures(2, 3))) as (server, asked):
        answer = ask(api.alive, server, WITHIN)

    assert "/v1/completions" not in asked
    assert (answer.ok, answer.detail) == (True, "5 requests in flight")
    assert not answer.proves
    flow = activity.update(activity.Activity(), answer.loads, 100.0)
    assert flow.stuck(100.0, 0.0) is None
    still = activity.update(flow, answer.loads, 131.0)
    assert still.stuck(131.0, 30.0) == "5 requests run on replica 0, and nothing moved for 31 s"
    moved = activity.update(flow, alive(metrics=(200, figures(2, 3, 8))).loads, 131.0)
    assert moved.stuck(131.0, 30.0) is None


def test_each_replica_is_one_of_its_own() -> None:
    two = figures(1, engine=0) + figures(0, engine=1)

    assert [(one.replica, one.running) for one in alive(metrics=(200, two)).loads] == [
        (0, 1),
        (1, 0),
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"health": (503, "")}, "/health says 503"),
        ({"token": (500, "EngineCore encountered an issue")}, "/v1/completions says 500: Engine"),
        ({"token": (200, "{}")}, "generated 0 token"),
        ({"token": (200, '{"usage": {"completion_tokens": true}}')}, "/v1/completions says 200: {"),
        ({"token": (200, "no JSON")}, "its answer is not JSON"),
    ],
)
def test_one_that_gives_no_token_is_no_live_one(
    said: dict[str, tuple[int, str]], words: str
) -> None:
    for answer in (alive(**said), first(**said)):
        assert not answer.ok
        assert answer.detail.startswith(words)


def first(**said: tuple[int, str]) -> Answer:
    with saying(**said) as (server, _):
        return ask(api.first_token, server, WITHIN)


def test_one_whose_metrics_are_not_to_be_had_is_asked_for_a_token() -> None:
    for metrics in ((404, ""), (200, ""), (200, "vllm:num_requests_running 3")):
        assert alive(metrics=metrics) == Answer(True, "generated 1 token")


def test_requests_in_flight_are_those_that_run_and_those_that_wait() -> None:
    for metrics, count in (
        ((200, figures(2, 1)), 3),
        ((200, figures(0)), 0),
        ((200, ""), None),
        ((500, figures(0)), None),
    ):
        with saying(metrics=metrics) as (server, _):
            assert api.in_flight(server) == count


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_whatever_stands_in_the_metrics_raises_nothing(text: str) -> None:
    of_metrics(text)
    for load in of_replicas(text):
        assert load.running >= 0


@pytest.mark.parametrize(
    ("says", "is_so"),
    [
        ({"paused": (200, '{"is_paused": true}')}, True),
        ({"sleeping": (200, '{"is_sleeping": true}')}, True),
        (
            {"paused": (200, '{"is_paused": false}'), "sleeping": (200, '{"is_sleeping": false}')},
            False,
        ),
        ({"paused": (200, '{"is_paused": "true"}')}, False),
        ({"paused": (200, "[]"), "sleeping": (200, "[")}, False),
        ({"paused": (500, '{"is_paused": true}')}, False),
        ({}, False),
    ],
)
def test_what_was_told_to_do_nothing_is_paused(
    says: dict[str, tuple[int, str]], is_so: bool
) -> None:
    with saying(**says) as (server, _):
        assert api.paused(server) is is_so


def test_a_server_that_works_is_not_asked_whether_it_is_paused() -> None:
    with saying() as (server, asked):
        assert ask(api.alive, server, WITHIN).ok
    assert not {path.strip("/") for path in asked} & {*api.RESTS}
