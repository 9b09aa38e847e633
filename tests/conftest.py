"""The world a test lives in: its own state folder, profile and port, and no process left when it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher.layers import home

RIG = Path(__file__).parent / "rig"
ENGINE = home(os.environ, "XDG_CACHE_HOME", ".cache") / "cpu-demo"
needs_engine = pytest.mark.skipif(
    not (ENGINE / "model/.made").exists(), reason="no CPU engine here: `make engine` makes it"
)
GLM5_SERVE = Path(sys.executable).with_name("glm5-serve")
PATIENCE = 60.0  # seconds before a test gives up on something; never a measurement

# Who runs the tests in the background hands ignored signals down, and a launcher keeps to that. A handler here is
# none in the programs that are started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def until(true: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """Wait for `true` to return something true, and return it."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if got := true():
            return got
        time.sleep(0.02)
    raise AssertionError(f"not within {within:g} s: {what}")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


@dataclass
class World:
    """A host with one profile, `stub`, that runs the stand-in engine."""

    folder: Path
    port: int = field(default_factory=free_port)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = self.folder / "state"
        self.faults_file = self.folder / "faults.json"
        self.profile = self.folder / "config/glm5-serve/profiles/stub.toml"
        self.instance = self.state / "stub"
        (self.folder / "model").mkdir()
        (self.folder / "model/config.json").write_text("{}")
        (self.folder / "model/tokenizer.json").write_text("{}")
        (self.folder / "model/model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
        self.profile.parent.mkdir(parents=True)
        self.write_profile()

    def write_profile(self, text: str = "", **supervision: float) -> None:
        """The stub's profile with other patience, and whatever `text` adds."""
        patience = {
            "probe_every": 0.1,
            "pause": 0.05,
            "stop_within": 10,
            "ready_within": 60,
            "silent_after": 0.3,
        } | supervision
        self.profile.write_text(
            f"""description = "the stand-in engine"
[engine]
python = "{sys.executable}"
[flags]
model-path = "{self.folder}/model"
served-model-name = "stub"
device = "cpu"
tp-size = 2
port = {self.port}
[supervision]
"""
            + "\n".join(f"{name} = {value}" for name, value in patience.items())
            + f"""
[env]
PYTHONPATH = "{RIG}/stub"
STUB_FAULTS = "{self.faults_file}"
{text}
"""
        )

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every command; GLM5_TEST_WORLD marks whatever comes of it."""
        keep = {
            name: value for name, value in os.environ.items() if not name.startswith(("GLM5", "NCCL", "SGLANG"))
        }
        return keep | {
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "GLM5_SERVE_STATE_DIR": str(self.state),
            "GLM5_TEST_WORLD": str(self.folder),
            "GLM5_SERVE_TRACEBACK": "",
        }

    def run(
        self, *words: str | Path, timeout: float = PATIENCE, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [GLM5_SERVE, *words],
            env=self.environ | environ,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
            cwd=self.folder,
        )

    def start(self, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start one command; its output goes to a pipe."""
        process = subprocess.Popen(
            [GLM5_SERVE, *words],
            env=self.environ | environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
        )
        self.started.append(process)
        return process

    def faults(self, **faults: Any) -> None:
        """What the stand-in engine does wrong from now on."""
        fresh = self.faults_file.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.replace(self.faults_file)

    def status(self, profile: str = "stub") -> dict[str, Any]:
        """`status --json`."""
        return dict(json.loads(self.run("status", "-p", profile, "--json").stdout))

    def until_state(self, state: str, **more: Any) -> dict[str, Any]:
        """Wait until status says `state`, and `more`."""

        def reached() -> dict[str, Any] | None:
            seen = self.status()
            return seen if seen["state"] == state and all(seen[k] == v for k, v in more.items()) else None

        return dict(until(reached, f"state {state} {more}; now {self.status()}"))

    def events(self, kind: str = "state") -> list[dict[str, Any]]:
        """What the launcher wrote down."""
        lines = (self.instance / "events.jsonl").read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def processes(self) -> list[psutil.Process]:
        """Every living process that came of this world, however it detached.

        A scheduler that sets its title writes over its environment; its working folder still tells.
        """
        mark = str(self.folder)
        found = []
        for process in psutil.process_iter():
            try:
                marks = (process.environ().get("GLM5_TEST_WORLD"), process.cwd())
                if process.status() != psutil.STATUS_ZOMBIE and mark in marks:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def until_nothing_is_left(self) -> None:
        """Wait until no process of this world lives."""
        until(lambda: not self.processes(), f"no process left; now {self.processes()}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world that is empty again when the test is over."""
    made = World(tmp_path)
    yield made
    end(made)


def end(made: World) -> None:
    """Take everything down, and fail if something has to be killed."""
    for process in made.started:
        process.send_signal(signal.SIGTERM)
    left = [p for p in made.processes() if p.pid not in {started.pid for started in made.started}]
    for process in made.started:
        if process.stdout and not process.stdout.closed:
            process.communicate()
    for instance in made.state.glob("*"):
        made.run("down", "-p", instance.name, "--now")
    for orphan in (still := made.processes()):
        orphan.kill()
    assert not still, f"left behind: {still}, of {left}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Where nothing may be skipped ($GLM5_SERVE_NO_SKIP), a skipped test is a failed one."""
    if report.skipped and os.environ.get("GLM5_SERVE_NO_SKIP") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
