"""One model over two hosts, with the real SGLang over gloo: `make scale`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ENGINE, GLM5_SERVE, World, end, needs_engine, until
from rig import namespaces
from rig.namespaces import Host

pytestmark = [
    pytest.mark.scale,
    needs_engine,
    pytest.mark.skipif(not namespaces.can(), reason="no network namespaces here"),
    pytest.mark.timeout(600),
]
START = 150.0  # seconds; 25 to 65 were seen
SAID = 35.0  # seconds within which a lost network is told
PROFILE = """description = "a tiny model over two hosts"
extends = "cpu-demo"
[flags]
host = false
tp-size = 2
port = 30000
[access]
open_without_key = true
[nodes]
hosts = ["10.77.0.1", "10.77.0.2"]
[supervision]
probe_interval = 2
[env]
SGLANG_CPU_OMP_THREADS_BIND = "0|1"
HF_HUB_OFFLINE = "1"
"""


@dataclass
class Node:
    """A host with the profile `two`, and its launcher."""

    rank: int
    host: Host
    world: World

    def __post_init__(self) -> None:
        self.world.instance = self.world.state / "two"
        self.world.profile.with_name("two.toml").write_text(PROFILE)
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
        command = (GLM5_SERVE, "up", "-p", "two", "--node-rank", str(self.rank), *words)
        with (self.world.folder / f"up-{time.monotonic_ns()}.log").open("w") as log:
            process = subprocess.Popen(
                [*self.host.within(), *command],
                env=self.environ,
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

    def reasons(self) -> list[str]:
        path = self.world.instance / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line).get("reason", "") for line in lines]

    def state(self) -> str:
        told = self.run(str(GLM5_SERVE), "status", "-p", "two", "--json").stdout
        return str(json.loads(told)["state"]) if told else ""

    def schedulers(self) -> list[int]:
        return [
            process.pid
            for process in self.world.processes()
            if "scheduler" in " ".join(process.cmdline())
        ]

    def chat(self) -> str:
        body = {
            "model": "tiny",
            "max_tokens": 12,
            "temperature": 0,
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
        }
        url = "http://10.77.0.1:30000/v1/chat/completions"
        words = ("curl", "-s", "-m", "30", "-H", "content-type: application/json")
        return self.run(*words, "-d", json.dumps(body), url).stdout


@dataclass
class Pair:
    """Both nodes; `lead` answers."""

    lead: Node
    follower: Node

    def until_ready(self) -> None:
        def both() -> bool:
            return self.lead.state() == self.follower.state() == "ready"

        until(both, "both ready", START)
        assert "Paris" in self.lead.chat()

    def down(self) -> None:
        for node in (self.lead, self.follower):
            node.run(str(GLM5_SERVE), "down", "-p", "two", "--now")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with namespaces.two_hosts() as hosts:
        nodes = []
        for rank, host in enumerate(hosts):
            folder = tmp_path / f"node{rank}"
            folder.mkdir()
            nodes.append(Node(rank, host, World(folder)))
        made = Pair(*nodes)
        try:
            yield made
        finally:
            for node in nodes:
                print(f"-- node {node.rank}\n{node.said()[-6000:]}")
            made.down()
            for node in nodes:
                end(node.world)


def test_start(pair: Pair) -> None:
    pair.follower.up()
    time.sleep(2)
    pair.lead.up()
    pair.until_ready()
