"""The other nodes, as far as a connection and the kernel's tables tell of them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import runtime
from launcher.engines.target import Target
from launcher.plan.plan import Plan, for_node
from launcher.serve import group
from launcher.serve.group import Group, ask_leader, away, missing

HERE = "127.0.0.1"


def plan(port: int = 1, rendezvous: int = 1) -> Plan:
    ask = PlanRequest(
        str(PACKAGED / "cpu-demo.toml"),
        ('nodes.hosts=["10.0.0.1", "10.0.0.2", "10.0.0.3"]', "flags.host=false"),
    )
    made = resolve(load(ask, {"HOME": "/home/op"}), ask, Path("/state"), {}, Target())
    here = tuple(replace(node, address=HERE) for node in made.nodes)
    return replace(made, nodes=here, port=port, rendezvous=rendezvous)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server((HERE, 0))) as made:
        yield made


def test_a_host_that_refuses_is_there(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert away(HERE, port) == ""
    listener.close()
    assert away(HERE, port) == "", "nobody listens, and the host itself says so"


def test_a_host_that_does_not_answer_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "REACH_WITHIN", 0.2)
    with closing(socket.socket()) as full:  # nobody accepts, and there is no place to wait
        full.bind((HERE, 0))
        full.listen(0)
        port = full.getsockname()[1]
        held = [socket.socket() for _ in range(3)]
        for one in held:
            one.setblocking(False)
            one.connect_ex((HERE, port))
        assert "no answer within" in str(away(HERE, port))
        for one in held:
            one.close()


def test_a_node_is_lost_when_it_was_reached_and_is_not_for_its_time() -> None:
    seen = Group(plan())
    limit = seen.plan.policy.follower_timeout

    assert seen.lost({1: "", 2: ""}, 100) == ""
    assert seen.lost({1: "", 2: "no route"}, 100 + limit - 1) == ""
    told = seen.lost({1: "", 2: "no route"}, 100 + limit)
    assert told.startswith("node 2 (")
    assert "no route" in told


def test_a_node_that_was_never_reached_is_not_lost() -> None:
    """A firewall that drops what comes to its port says nothing of the network."""
    seen = Group(plan())

    assert all(seen.lost({1: "no answer", 2: None}, at) == "" for at in range(0, 1000, 10))


def test_what_could_not_be_tried_loses_nobody() -> None:
    seen = Group(plan())
    seen.lost({1: "", 2: ""}, 0)

    assert seen.lost({1: None, 2: None}, 1000) == ""


def test_who_is_not_connected_to_the_rendezvous_is_missing(listener: socket.socket) -> None:
    made = plan(rendezvous=listener.getsockname()[1])
    assert [one.partition(" (")[0] for one in missing(made)] == ["node 1", "node 2"]

    with closing(socket.create_connection(listener.getsockname(), 10)):
        far = replace(made.nodes[2], address="10.9.9.9")
        (told,) = missing(replace(made, nodes=(*made.nodes[:2], far)))
        assert told == "node 2 (10.0.0.3, 10.9.9.9)"


class Leader(BaseHTTPRequestHandler):
    """Says of each path what it is told to; 404 to all else."""

    says: dict[str, int] = {}  # noqa: RUF012  a test sets it

    def do_GET(self) -> None:
        assert self.headers.get("Authorization") is None, "a key went to another host"
        self.send_response(self.says.get(self.path, 404))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def leader() -> Iterator[int]:
    web = ThreadingHTTPServer((HERE, 0), Leader)
    serving = threading.Thread(target=web.serve_forever, daemon=True)
    serving.start()
    yield web.server_address[1]
    web.shutdown()
    serving.join(60)
    web.server_close()


@pytest.mark.parametrize(
    ("engine", "says", "ok", "excused"),
    [
        ("sglang", {"/ready": 200}, True, False),
        ("sglang", {"/ready": 503, "/ping": 200}, False, True),
        ("sglang", {"/ready": 503, "/ping": 503}, False, False),
        ("sglang", {"/health": 200}, True, False),
        ("sglang", {"/health": 503}, False, False),
        ("vllm", {"/health": 200}, True, False),
        ("vllm", {"/health": 503}, False, False),
    ],
)
def test_who_follows_is_ready_when_the_first_node_is(
    leader: int, engine: str, says: dict[str, int], ok: bool, excused: bool
) -> None:
    Leader.says = says

    answer = ask_leader(for_node(plan(port=leader), 1), runtime(engine))
    assert (answer.ok, bool(answer.excuse)) == (ok, excused)
    assert answer.detail.startswith("node 0 (")


def test_a_first_node_that_refuses_is_not_ready(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()

    answer = ask_leader(for_node(plan(port=port), 1), runtime("sglang"))
    assert (answer.ok, answer.unknown) == (False, False)
