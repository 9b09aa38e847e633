"""The world a test lives in: its own state folder, profile and port, and no process left when it
ends.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from rig.warm import Warm, can_be

from launcher.config import layers
from launcher.errors import UserError
from launcher.operate import control
from launcher.paths import home
from launcher.statedir.folder import StateDir

TESTS = Path(__file__).parent
ROOT = TESTS.parent
RIG = TESTS / "rig"
ENGINE = home(os.environ, "XDG_CACHE_HOME", ".cache") / "cpu-demo"
VLLM_ENGINE = ENGINE.with_name("cpu-demo-vllm")  # its model is the other's


def _needs(folder: Path, how: str) -> pytest.MarkDecorator:
    made = (folder / "engine/.made").exists() and (ENGINE / "model/.made").exists()
    return pytest.mark.skipif(not made, reason=f"no CPU engine in {folder}: `{how}` makes it")


needs_engine = _needs(ENGINE, "make engine")
needs_vllm = _needs(VLLM_ENGINE, "make engine ENGINE=vllm")
NEEDS = {"sglang": needs_engine, "vllm": needs_vllm}
FULL = Path("/dev/full")
needs_full_disk = pytest.mark.skipif(
    not os.access(FULL, os.W_OK), reason=f"{FULL} is not there, or not for this user to write"
)
GLM5_SERVE = Path(sys.executable).with_name("glm5-serve")
# seconds before a test gives up on something that hangs; never a measurement, nor a deadline that
# a busy machine may miss
PATIENCE = 300.0
PATIENT = (
    "serve",
    "gateway",
    "operate",
)  # the folders of tests that wait for processes, longest first
NO_READING = "read_ahead = false\n"  # of a world's profile
LONGEST = 900.0  # seconds that a test with the real engine may take in all; others: pyproject.toml

# A slow machine is no fault of an example; what failed is kept in the checkout, and nowhere else.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize="CI" in os.environ,
    database=None if "CI" in os.environ else DirectoryBasedExampleDatabase(ROOT / ".hypothesis"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

# `python3`, which is the engine's unless a profile says otherwise, is this interpreter's own, and no
# script of a version manager that looks for one each time.
os.environ["PATH"] = f"{sys.base_prefix}/bin:{os.environ['PATH']}"

# Whatever GPUs this machine has, the tests see none but those that they make up: no process that
# they start can load a driver library. tests/gpu asks the real one.
os.environ["LD_LIBRARY_PATH"] = str(RIG / "no_driver")

# Who runs the tests in the background hands ignored signals down, and a launcher keeps to that. A
# handler here is none in the programs that are started.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def remove(folder: Path) -> None:
    """Take a folder away, whoever writes to it meanwhile."""
    gone = folder.rename(folder.with_name(f"{folder.name}.gone"))
    shutil.rmtree(gone)


def until(true: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """Wait for `true` to return something true, and return it: asked more seldom the longer it
    takes.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < within:
        if got := true():
            return got
        time.sleep(max(0.02, min(waited / 20, 0.2)))
    raise AssertionError(f"not within {within:g} s: {what}")


@contextlib.contextmanager
def running(*words: str | Path, **how: Any) -> Iterator[subprocess.Popen[Any]]:
    """A process that is killed, if it still lives, and reaped when the block ends, however that
    ends.
    """
    process = subprocess.Popen(words, **how)
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()


def next_line(process: subprocess.Popen[Any], within: float = PATIENCE) -> str:
    """The next line that it prints, with its end; what there is of one when it closes its
    output.
    """
    assert process.stdout
    fd, said, end = process.stdout.fileno(), b"", time.monotonic() + within
    while not said.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        assert readable, f"no line within {within:g} s, only {said!r}"
        if not (piece := os.read(fd, 1)):  # no bound: there is something to read
            break
        said += piece
    return said.decode()


@contextlib.contextmanager
def launching() -> Iterator[int]:
    """A process that passes for a launcher, from when its command can be read."""
    command = (sys.executable, "-c", "print(flush=True); input()", "supervise")
    with running(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        next_line(process)
        yield process.pid


@contextlib.contextmanager
def closed(folder: Path) -> Iterator[Path]:
    """A folder that this process may not enter, root or not; gives the one that it lies in."""
    before = Path.cwd()
    folder.parent.chmod(0o755)
    folder.chmod(0o000)
    os.chdir(folder.parent)  # the folders above may be closed, too
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield Path()
    finally:
        if root:
            os.seteuid(0)
        os.chdir(before)
        folder.chmod(0o700)


class Ports:
    """A block of ports that is this process's: below those that SGLang (from 22000) and the kernel
    take by chance.

    It is held by the name of a socket in the abstract namespace, which the kernel gives away once
    in each network namespace, and takes back when the process is gone.
    """

    BLOCK = 100

    def __init__(self) -> None:
        self.held = socket.socket(socket.AF_UNIX)
        self._ports = itertools.cycle(range(first := self._claim(), first + self.BLOCK))

    def _claim(self) -> int:
        for first in range(10_000, 22_000, self.BLOCK):
            with contextlib.suppress(OSError):
                self.held.bind(f"\0glm5-serve-tests-{first}")
                return first
        raise RuntimeError("other runs of the tests hold all ports")

    def free(self) -> int:
        """The next one that nobody listens on, at no address."""
        return next(
            port for port in itertools.islice(self._ports, self.BLOCK) if not is_taken(port)
        )


def is_taken(port: int) -> bool:
    """Whether somebody has it."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind((address, port))
        except OSError as error:  # any other: a host without IPv6
            if error.errno == errno.EADDRINUSE:
                return True
    return False


free_port = Ports().free


@functools.cache
def warm() -> Warm:
    """Where commands start from; one for all tests of this process."""
    return Warm()


def pytest_unconfigure() -> None:
    if warm.cache_info().currsize:
        warm().close()


def whole_lines(path: Path) -> list[str]:
    """The lines of a file that is written meanwhile: the last may be on its way, and have no
    end.
    """
    return path.read_text().rpartition("\n")[0].splitlines()


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
        """The stub's profile with other patience, and whatever `text` adds.

        It has no checkpoint to read ahead: test_readahead.py and the servers of served.py do.
        """
        patience = {
            "probe_interval": 0.2,
            "backoff": 0.05,
            "stop_timeout": 10,
            "start_timeout": PATIENCE,
            "stall_timeout": 0.3,
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
{NO_READING}"""
            + "\n".join(f"{name} = {value}" for name, value in patience.items())
            + f"""
[env]
PYTHONPATH = "{RIG}/stub"
STUB_FAULTS = "{self.faults_file}"
{text}
"""
        )

    def take_gpus(self, count: int = 2) -> list[str]:
        """Have the profile take GPUs instead of the CPU: their UUIDs, which no other world's server
        names, as all see each other.
        """
        uuids = [f"GPU-{self.port:08d}-0000-4000-8000-{gpu:012d}" for gpu in range(count)]
        visible = f'[env]\nCUDA_VISIBLE_DEVICES = "{",".join(uuids)}"'
        text = self.profile.read_text().replace('device = "cpu"\n', "")
        self.profile.write_text(text.replace("[env]", visible))
        return uuids

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every command; GLM5_TEST_WORLD marks whatever comes of it."""
        # PYTHONUNBUFFERED hides what is lost at the end
        ours = (
            "GLM5",
            "NCCL",
            "SGLANG",
            "VLLM",
            "PYTHON",
        )
        keep = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
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
        theirs = self.environ | environ
        try:
            if can_be(said := [*map(str, words)], theirs):
                return warm().run(said, theirs, self.folder, timeout)
            return subprocess.run(
                [GLM5_SERVE, *words],
                env=theirs,
                text=True,
                capture_output=True,
                timeout=timeout,
                check=False,
                cwd=self.folder,
            )
        except subprocess.TimeoutExpired as error:
            for path in self.state.glob("*/events.jsonl"):
                error.add_note(f"told last: {path.read_text()[-2000:]}")
            raise

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
        """What `status --json` prints, read here: it is asked many times in most tests."""
        seen = control.status(StateDir(self.state, profile))
        return dict(json.loads(json.dumps(seen.to_json())))

    def until_state(self, state: str, **more: Any) -> dict[str, Any]:
        """Wait until status says `state`, and `more`."""

        def reached() -> dict[str, Any] | None:
            seen = self.status()
            return (
                seen
                if seen["state"] == state and all(seen.get(k) == v for k, v in more.items())
                else None
            )

        return dict(until(reached, f"state {state} {more}; now {self.status()}"))

    def events(self, kind: str = "state") -> list[dict[str, Any]]:
        """What the launcher wrote down."""
        lines = whole_lines(self.instance / "events.jsonl")
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def processes(self) -> list[psutil.Process]:
        """Every living process that came of this world, however it detached.

        A scheduler that sets its title writes over its environment; its working folder still tells.
        Who is dead has neither.
        """
        mark = f"\0GLM5_TEST_WORLD={self.folder}\0".encode()
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.Error):
                environ = b"\0" + Path(f"/proc/{pid}/environ").read_bytes()
                if mark in environ or Path(f"/proc/{pid}/cwd").readlink() == self.folder:
                    found.append(psutil.Process(pid))
        return found

    def until_nothing_is_left(self) -> None:
        """Wait until no process of this world lives."""
        until(lambda: not self.processes(), f"no process left; now {self.processes()}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world that is empty again when the test is over."""
    made, before = World(tmp_path), {*layers.HOST.glob("*")}
    yield made
    end(made)
    assert not (fresh := {*layers.HOST.glob("*")} - before), f"this host has profiles now: {fresh}"


def end(made: World) -> None:
    """Take everything down, and fail if something has to be killed."""
    for process in made.started:
        process.send_signal(signal.SIGTERM)
    left = [p for p in made.processes() if p.pid not in {started.pid for started in made.started}]
    deaf = [process.args for process in made.started if not ends(process)]
    try:
        for instance in made.state.glob("*"):
            with contextlib.suppress(UserError):
                control.down(StateDir(made.state, instance.name), now=True)
    finally:
        with contextlib.suppress(AssertionError):
            until(lambda: not made.processes(), "who was killed is gone")
        for orphan in (still := made.processes()):
            orphan.kill()
    assert not still, f"left behind: {still}, of {left}"
    assert not deaf, f"did not end by SIGTERM within {PATIENCE:g} s: {deaf}"


def ends(process: subprocess.Popen[str]) -> bool:
    """Whether it, and whoever has its output, ends by itself."""
    try:
        if process.stdout and not process.stdout.closed:
            process.communicate(timeout=PATIENCE)
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(PATIENCE)
        return False
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a test needs, from where it stands, and in which order they run."""
    for item in items:
        if "host" in getattr(item, "fixturenames", ()) and item.path.stem == "test_systemd":
            item.add_marker(pytest.mark.systemd)
        if marker := item.get_closest_marker("engine"):
            for name in marker.args or ("sglang",):
                item.add_marker(NEEDS[name])
            item.add_marker(pytest.mark.timeout(LONGEST))
    items[:] = spread(items)


def spread(items: list[pytest.Item]) -> list[pytest.Item]:
    """Files of tests that wait, evenly among those that compute: whatever part of them a worker
    has, another one computes while it waits, and none is left to wait alone in the end.
    """
    files = [list(of) for _, of in itertools.groupby(items, key=lambda item: item.path)]
    patient = [file for file in files if file[0].path.parent.name in PATIENT]
    patient.sort(key=lambda file: PATIENT.index(file[0].path.parent.name))
    waiting = sum(map(len, patient))
    made: list[pytest.Item] = []
    placed = 0
    for file in (file for file in files if file[0].path.parent.name not in PATIENT):
        while patient and placed * len(items) <= len(made) * waiting:
            placed += len(patient[0])
            made += patient.pop(0)
        made += file
    return [*made, *itertools.chain.from_iterable(patient)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where nothing may be skipped ($NO_SKIP), a skipped test is a failed one."""
    report = yield
    if report.skipped and os.environ.get("NO_SKIP") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"may not be skipped here: {reason}"
    return report
