"""One model over two hosts, with the real SGLang over gloo: `make scale`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import ENGINE, GLM5_SERVE, World, end, needs_engine, until
from rig import namespaces
from rig.namespaces import Host

from launcher.formats.pod import FIND

pytestmark = pytest.mark.skipif(
    not namespaces.can(), reason="no network namespaces here: wants root"
)
OVER_TWO = """
[access]
open_without_key = true
[nodes]
hosts = ["10.77.0.1", {{ address = "10.77.0.2", name = "second" }}]
dist_timeout = {patience}
"""
REAL = """description = "a tiny model over two hosts"
extends = "cpu-demo"
[flags]
host = false
tp-size = 2
port = 30000
[supervision]
probe_interval = 2
[env]
SGLANG_CPU_OMP_THREADS_BIND = "0|1"
HF_HUB_OFFLINE = "1"
"""


@dataclass(frozen=True)
class Kind:
    """The stand-in, or the real SGLang over gloo, and what it takes of time."""

    name: str
    start: float  # seconds until both are ready
    patience: int  # seconds that a node waits for another one

    def write(self, world: World) -> None:
        told = OVER_TWO.format(patience=self.patience)
        if self.name == "real":
            world.profile.write_text(REAL + told)
        else:
            world.write_profile(told, probe_interval=2, backoff=1)


STUB = pytest.param(Kind("stub", 40.0, 10))
REAL_SGLANG = pytest.param(Kind("real", 240.0, 120), marks=[pytest.mark.scale, needs_engine])


@dataclass
class Node:
    """A host with the profile `two`, and its launcher."""

    rank: int
    host: Host
    world: World

    def __post_init__(self) -> None:
        self.environ = self.world.environ | {"XDG_CACHE_HOME": str(ENGINE.parent.parent)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.host.within(), *words],
            env=self.environ,
            text=True,
            capture_output=True,
            timeout=90,
            check=False,
            cwd=self.world.folder,
        )

    def up(self, *words: str) -> subprocess.Popen[str]:
        return self.start(GLM5_SERVE, "up", "-p", "stub", "--node-rank", str(self.rank), *words)

    def start(self, *command: str | Path, **environ: str) -> subprocess.Popen[str]:
        with (self.world.folder / f"up-{time.monotonic_ns()}.log").open("w") as log:
            process = subprocess.Popen(
                [*self.host.within(), *command],
                env=self.environ | environ,
                text=True,
                stdout=log,
                stderr=log,
                cwd=self.world.folder,
            )
        self.world.started.append(process)
        return process

    def said(self) -> str:
        logs = sorted(self.world.folder.glob("up-*.log"))
        return "".join(log.read_text() for log in logs)

    def told(self) -> list[dict[str, Any]]:
        """Its states so far, as its launcher wrote them down."""
        path = self.world.instance / "events.jsonl"
        return self.world.events() if path.exists() else []

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.told()]

    def state(self) -> str:
        return str(self.told()[-1]["state"]) if self.told() else ""

    def losses(self) -> list[str]:
        """Why its server was taken down, each time."""
        return [event["reason"] for event in self.told() if event["state"] == "stopping"]

    def ranks(self) -> list[int]:
        return [
            process.pid
            for process in self.world.processes()
            if process.name().startswith("sglang::")
        ]

    def chat(self) -> str:
        body = {
            "model": "tiny",
            "max_tokens": 12,
            "temperature": 0,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        }
        port = 30000 if "30000" in self.world.profile.read_text() else self.world.port
        url = f"http://10.77.0.1:{port}/v1/chat/completions"
        words = ("curl", "-s", "-m", "30", "-H", "content-type: application/json")
        return self.run(*words, "-d", json.dumps(body), url).stdout


@dataclass
class Pair:
    """Both nodes; `lead` answers."""

    kind: Kind
    lead: Node
    follower: Node

    def up(self) -> None:
        self.follower.up()
        time.sleep(1)
        self.lead.up()
        self.until_ready()

    def until_ready(self) -> None:
        def both() -> bool:
            return self.lead.state() == self.follower.state() == "ready"

        until(both, "both ready", self.kind.start)
        assert "Paris" in self.lead.chat()

    def down(self) -> None:
        for node in (self.lead, self.follower):
            node.run(str(GLM5_SERVE), "down", "-p", "stub", "--now")


@pytest.fixture
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    kind: Kind = request.param
    with namespaces.two_hosts() as hosts:
        nodes = []
        worlds = [World(_made(tmp_path / f"node{rank}")) for rank in range(2)]
        for rank, host in enumerate(hosts):
            worlds[rank].port = worlds[0].port
            kind.write(worlds[rank])
            nodes.append(Node(rank, host, worlds[rank]))
        made = Pair(kind, *nodes)
        try:
            yield made
        finally:
            for node in nodes:
                print(f"-- node {node.rank}\n{node.said()[-6000:]}")
            made.down()
            for node in nodes:
                end(node.world)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("pair", [STUB, REAL_SGLANG], indirect=True)
def test_two_nodes_start_and_answer(pair: Pair) -> None:
    pair.up()

    assert "node 0 (10.77.0.1): /ready says 200" in pair.follower.reasons()


def _says(node: Node, other: str) -> bool:
    return any(other in why and "not reached" in why for why in node.losses())


def _runs(node: Node) -> int:
    """How often its server was launched."""
    return sum(event["state"] == "starting" for event in node.told())


@pytest.mark.parametrize("pair", [STUB, REAL_SGLANG], indirect=True)
@pytest.mark.parametrize("which", ["lead", "follower"])
def test_a_rank_that_dies_takes_all_nodes_down_and_they_come_back(pair: Pair, which: str) -> None:
    pair.up()

    struck: Node = getattr(pair, which)
    os.kill(struck.ranks()[0], signal.SIGKILL)
    until(lambda: _runs(pair.lead) >= 2 <= _runs(pair.follower), "both start again")
    pair.until_ready()


@pytest.mark.parametrize("pair", [STUB, REAL_SGLANG], indirect=True)
def test_a_network_that_is_gone_is_said_and_when_it_is_back_they_serve(pair: Pair) -> None:
    pair.up()

    pair.lead.host.link("down")
    for node, other in ((pair.lead, "node 1 (second, 10.77.0.2)"), (pair.follower, "node 0 (")):
        until(partial(_says, node, other), f"{other} is not reached")
    pair.lead.host.link("up")
    pair.until_ready()
    for node in (pair.lead, pair.follower):
        assert "failed at something" not in node.said()
        # after a first death of its own it would have been launched at once
        assert "backoff" in [event["state"] for event in node.told()]


@pytest.mark.parametrize("pair", [STUB], indirect=True)
def test_the_first_node_says_who_is_missing_and_waits_for_it(pair: Pair) -> None:
    pair.lead.up()

    missing = "missing: node 1 (second, 10.77.0.2)"
    until(lambda: any(missing in why for why in pair.lead.reasons()), missing)
    assert pair.lead.state() in ("backoff", "starting")
    pair.follower.up()
    pair.until_ready()


@pytest.mark.parametrize("pair", [STUB], indirect=True)
def test_a_node_that_is_stopped_stays_down_and_the_others_wait_for_it(pair: Pair) -> None:
    pair.up()

    down = pair.follower.run(str(GLM5_SERVE), "down", "-p", "stub")
    assert down.returncode == 0
    assert "node 1 (second, 10.77.0.2) goes at once" in down.stderr
    assert "what node 0 (10.77.0.1) answers is cut" in down.stderr
    until(lambda: _runs(pair.lead) >= 2, "the first node waits for it")
    assert pair.follower.ranks() == []
    pair.follower.up()
    pair.until_ready()
    down = pair.lead.run(str(GLM5_SERVE), "down", "-p", "stub")
    assert (down.returncode, "the other nodes wait for this one" in down.stderr) == (0, True)
    until(lambda: pair.follower.state() in ("backoff", "starting"), "it waits for the first node")


@pytest.mark.parametrize("pair", [STUB], indirect=True)
def test_pods_find_each_other_by_their_names(pair: Pair) -> None:
    """What a pod of a LeaderWorkerSet runs, in hosts that know the names which it gives to pods."""
    leader = "glm5-0.glm5.inference"
    pair.lead.host.names({leader: "10.77.0.1", "glm5-0-1.glm5.inference": "10.77.0.2"})
    pair.follower.host.names({leader: "10.77.0.1", "glm5-0-1.glm5.inference": "10.77.0.2"})
    for node in (pair.follower, pair.lead):
        text = node.world.profile.read_text()
        node.world.profile.write_text(text.replace("10.77.0.", "192.0.2."))
        told = {"LWS_LEADER_ADDRESS": leader, "LWS_GROUP_SIZE": "2"}
        words = ("sh", "-c", FIND, "glm5-serve", GLM5_SERVE, "up", "-p", "stub")
        node.start(*words, **told, LWS_WORKER_INDEX=str(node.rank))

    pair.until_ready()
    assert "node 0 (10.77.0.1): /ready says 200" in pair.follower.reasons()


@pytest.mark.parametrize("pair", [STUB], indirect=True)
def test_an_address_of_another_network_is_named_before_the_start(pair: Pair) -> None:
    node = pair.lead
    node.host.route_elsewhere("192.0.2.77")
    text = node.world.profile.read_text().partition("[nodes]")[0]
    node.world.profile.write_text(
        text.replace(
            "[flags]",
            '[flags]\nhost = "0.0.0.0"\nnnodes = 2\nnode-rank = 0\n'
            'dist-init-addr = "10.77.0.1:20000"',
        ).replace("[env]", f'[env]\nGLOO_SOCKET_IFNAME = "{node.host.interface}"')
    )

    up = node.run(str(GLM5_SERVE), "up", "-p", "stub")
    assert up.returncode == 78
    assert "node-network" in up.stderr
    assert "192.0.2.77; the network between them is of 10.77.0.1" in " ".join(up.stderr.split())


@pytest.mark.parametrize("pair", [STUB], indirect=True)
def test_a_node_that_is_started_on_the_wrong_host_is_refused(pair: Pair) -> None:
    up = pair.lead.run(str(GLM5_SERVE), "up", "-p", "stub", "--node-rank", "1")

    assert up.returncode == 78
    assert "node 1 is 10.77.0.2; this host has" in " ".join(up.stderr.split())
