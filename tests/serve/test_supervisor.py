"""The launcher itself in trouble: its disk, its time, its signals, its parent.

The server must not feel it.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests
from conftest import GLM5_SERVE, PATIENCE, RIG, World, next_line, running, until
from rig.mounts import mounted

from launcher.plan.policy import Policy
from launcher.redact import keys
from launcher.serve.clock import LATE, Clock
from launcher.serve.events import (
    Event,
    Exited,
    Launch,
    LaunchFailed,
    ProbeResult,
    RequestReceived,
    Started,
    Ticked,
)
from launcher.serve.launching import Launches, Launching
from launcher.serve.lifecycle import step
from launcher.serve.loop import Loop
from launcher.serve.postmortem import Postmortem
from launcher.serve.states import Backoff, Ended, Idle, Ready, Starting, State
from launcher.serve.timing import is_judged
from launcher.serve.wishes import Request
from launcher.serve.writer import MOST_WAITING, Writer

POLICY = Policy(smoke=False)


# -- its disk --------------------------------------------------------------------------------------


@pytest.fixture
def hung() -> Iterator[threading.Event]:
    """Work that waits for this event stands for a disk that does not answer."""
    made = threading.Event()
    yield made
    made.set()


def test_what_was_not_written_yet_gives_way_to_what_is_newer(hung: threading.Event) -> None:
    done: list[str] = []
    writer = Writer(lambda error: done.append(str(error)))
    writer.put(hung.wait)  # type: ignore[arg-type]
    for number in range(3):
        writer.put(lambda number=number: done.append(f"state {number}"), "state")  # type: ignore[misc]
        writer.put(lambda number=number: done.append(f"event {number}"))  # type: ignore[misc]
    hung.set()

    assert writer.close(PATIENCE)
    assert done == ["state 2", "event 0", "event 1", "event 2"]


def test_what_waits_for_a_disk_is_bounded_and_nobody_waits_for_it(hung: threading.Event) -> None:
    writer = Writer(lambda error: None)
    writer.put(hung.wait)  # type: ignore[arg-type]
    until(writer.stuck, "the writer waits for its disk")
    taken = [writer.put(lambda: None) for _ in range(MOST_WAITING + 10)]

    assert taken.count(False) == writer.dropped == 10
    assert not writer.close(0.01)
    hung.set()
    assert writer.close(PATIENCE)
    assert writer.stuck() == 0


def test_what_fails_is_told_and_the_rest_is_written() -> None:
    told: list[Exception] = []
    done: list[int] = []
    writer = Writer(told.append)

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    writer.put(fail)
    writer.put(lambda: done.append(1))

    assert writer.close(PATIENCE)
    assert (done, [error.args for error in told]) == ([1], [(errno.EIO, "Input/output error")])


@pytest.fixture
def frozen_disk(world: World) -> Iterator[Path]:
    """A state folder on a file system that `fsfreeze` stops: who writes there hangs, and cannot be
    killed.
    """
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    if missing := [
        tool for tool in ("mkfs.ext4", "fsfreeze", "mount") if shutil.which(tool) is None
    ]:
        pytest.skip(f"no {', '.join(missing)} here")
    image = world.folder / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True, timeout=PATIENCE)
    world.state.mkdir()
    with mounted(world.state, "-o", "loop", image):
        (world.state / "lost+found").rmdir()
        yield world.state


def freeze(disk: Path, seconds: int) -> subprocess.Popen[bytes]:
    """Freeze a file system; it thaws by itself, whatever becomes of the test."""
    script = f"fsfreeze -f {disk} && echo frozen; sleep {seconds}; fsfreeze -u {disk}"
    freezer = subprocess.Popen(
        ["sh", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert next_line(freezer) == "frozen\n"
    return freezer


def answers(world: World) -> bool:
    return requests.get(f"http://127.0.0.1:{world.port}/ping", timeout=60).status_code == 200


def test_a_disk_that_hangs_stops_neither_the_server_nor_the_launcher(
    world: World, frozen_disk: Path
) -> None:
    """The writer hangs in the kernel; health checks, a death, a new start and SIGTERM go on."""
    up = world.start("up", "-p", "stub", "--allow", "disk-space")
    server = psutil.Process(world.until_state("ready")["pids"]["server"])
    freezer = freeze(frozen_disk, 60)
    try:
        time.sleep(1)
        assert server.is_running()
        assert answers(world)
        server.kill()
        until(lambda: not server.is_running(), "it died")
        until(lambda: answers_at_all(world), "it serves again, its disk still frozen")
        up.send_signal(signal.SIGTERM)
        until(lambda: not answers_at_all(world), "and it stops")
    finally:
        subprocess.run(["fsfreeze", "-u", frozen_disk], check=False, timeout=PATIENCE)
        os.killpg(freezer.pid, signal.SIGKILL)
        freezer.communicate(timeout=PATIENCE)
    said, _ = up.communicate(timeout=PATIENCE)
    assert up.returncode == 0
    assert [line.split()[1] for line in said.splitlines()].count("starting") == 2


LEARNT = """
import tomllib
from launcher.diagnose.diagnosis import diagnose
from launcher.serve import postmortem

postmortem._learn()()
tomllib.loads = None
print(diagnose(["torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"], []).family)
"""


def test_what_deaths_are_judged_by_is_read_before_the_first_one() -> None:
    """By a program of its own, for others have read the tables here."""
    words = [sys.executable, "-c", LEARNT]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert done.stdout == "gpu-memory\n", done.stderr


def test_why_a_server_died_is_found_out_while_the_launcher_hears() -> None:
    """A hostile log takes seconds to be judged, and a driver may hold the last look for ever."""
    judged_by: list[int] = []

    def close(spare: int) -> None:
        judged_by.append(threading.get_ident())
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    loop = Loop(lambda error: None)
    gpus = SimpleNamespace(are_watched=False, poke=lambda: None, watcher=0, still_held=lambda: "")
    service = SimpleNamespace(clock=loop.clock, loop=loop, run=None, gone=None)
    run = SimpleNamespace(session=SimpleNamespace(close=close))
    Postmortem(service, gpus).begin(run)  # type: ignore[arg-type]
    until(lambda: judged_by, "it is judged")
    loop.close()

    assert judged_by != [threading.get_ident()]


LATER = """
import ast, sys
from pathlib import Path
import launcher.supervise
from launcher.serve import postmortem

first = {*sys.modules}
postmortem._learn()()
for file in Path(postmortem.__file__).parent.glob("*.py"):
    for function in ast.walk(ast.parse(file.read_text())):
        if isinstance(function, ast.FunctionDef):
            for one in ast.walk(function):
                if isinstance(one, ast.ImportFrom) and one.module.startswith("launcher"):
                    names = {one.module, *(f"{one.module}.{name.name}" for name in one.names)}
                    print(file.name, one.module, bool(names - first), one.module in sys.modules)
"""


def test_what_the_supervisor_imports_later_it_has_before_it_can_need_it() -> None:
    """An upgrade may take the files away while it runs; and before its server it need not wait."""
    done = subprocess.run(
        [sys.executable, "-c", LATER], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    later = [line.split() for line in done.stdout.splitlines()]

    assert ["postmortem.py", "launcher.diagnose.diagnosis", "True", "True"] in later
    assert not [file for file, _, _, is_there in later if is_there == "False"]
    assert not [module for _, module, is_late, _ in later if is_late == "False"]


def answers_at_all(world: World) -> bool:
    try:
        return answers(world)
    except requests.RequestException:
        return False


def test_a_host_that_is_short_of_something_is_tried_again_and_no_death_is_counted() -> None:
    state: State = step(Idle(), Started(0), POLICY)[0]
    for number in range(1, 40):
        state, actions = step(
            state, LaunchFailed(number * 1000.0, "cannot launch: No space left on device"), POLICY
        )
        assert isinstance(state, Backoff)
        assert state.past.deaths == ()
        assert not actions
        state, actions = step(state, Ticked(state.until), POLICY)
        assert isinstance(state, Starting)
        assert actions == (Launch(number + 1),)


def fails_to_lay_its_key(number: int, monkeypatch: pytest.MonkeyPatch) -> Event:
    """What the machine hears of a first launch whose key's file cannot be written."""

    def write_key(config: str, text: str) -> None:
        raise OSError(number, os.strerror(number), config)

    heard: list[Event] = []
    service = SimpleNamespace(clock=Clock(), feed=heard.append, last_error=None)
    launches = Launches(service, lambda run: None)  # type: ignore[arg-type]
    launches.pending = Launching(1, 0.0)
    monkeypatch.setattr(keys, "write_key", write_key)
    launches._lay(1, "/state/stub/config.yaml", "api-key: x", lambda: None)()
    assert launches.pending is None
    [event] = heard
    return event


@pytest.mark.parametrize(
    "name", ["ENOSPC", "EDQUOT", "EIO", "ENOMEM", "EMFILE", "EROFS", "ENOTDIR"]
)
def test_a_disk_that_takes_no_key_is_tried_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fails_to_lay_its_key(number := getattr(errno, name), monkeypatch)

    assert isinstance(failed, LaunchFailed)
    assert os.strerror(number).lower() in failed.why.lower()


@pytest.mark.parametrize("name", ["EACCES", "EISDIR"])
def test_a_place_that_can_hold_no_key_is_final(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = step(Idle(), Started(0), POLICY)[0]
    ended, _ = step(state, fails_to_lay_its_key(getattr(errno, name), monkeypatch), POLICY)

    assert isinstance(ended, Ended)
    assert ended.failed


# -- its time --------------------------------------------------------------------------------------


def test_time_that_the_launcher_was_not_there_for_does_not_count() -> None:
    clock = Clock()
    before = clock.now()

    assert clock.slept(1.0, 1.0 + LATE) == 0, "any wake-up is a little late"
    assert clock.slept(10.0, 610.0) == 600
    assert clock.now() - before < -500


def test_what_has_to_move_within_a_time_is_waited_for_in_short_waits() -> None:
    """One that lasts a minute would not show that the launcher did not run for half of it."""
    starting, _ = step(Idle(), Started(0), POLICY)
    served = ready()
    asked, _ = step(served, Ticked(1000.0), POLICY)
    stopping, _ = step(served, RequestReceived(2.0, Request.STOP, "SIGTERM"), POLICY)

    assert all(map(is_judged, (starting, asked, stopping)))
    assert not any(map(is_judged, (Idle(), served)))


def test_a_launcher_that_was_stopped_with_its_server_kills_nobody(world: World) -> None:
    world.write_profile(stall_timeout=0.5, probe_interval=0.1)
    world.run("up", "-p", "stub", "-d")
    pids = world.status()["pids"]
    for pid in (pids["launcher"], pids["server"]):
        os.kill(pid, signal.SIGSTOP)
    time.sleep(8)
    for pid in (pids["launcher"], pids["server"]):
        os.kill(pid, signal.SIGCONT)

    until(
        lambda: any("did not run for" in e["reason"] for e in world.events("warning")), "it says so"
    )
    time.sleep(1)
    seen = world.status()
    assert (seen["state"], seen["restarts"], seen["pids"]["server"]) == ("ready", 0, pids["server"])


def test_a_check_without_an_answer_is_told_while_it_waits(world: World) -> None:
    world.write_profile(stall_timeout=120, probe_interval=0.2)
    world.run("up", "-p", "stub", "-d")
    world.faults(hang_at="health")
    told = "no answer to a health check for 5 s; it may take 25 s"
    until(lambda: world.status()["reason"] == told, "it is told")
    world.faults()
    until(lambda: told not in world.status()["reason"], "it answers")

    assert [event["reason"] for event in world.events("state")].count(told) == 1
    assert world.status()["state"] == "ready"


def test_a_question_that_was_not_asked_is_no_miss() -> None:
    state: State = ready()
    for number in range(100):
        state, actions = step(
            state,
            ProbeResult(number * 100.0, 1, False, "no descriptor is left", asked=False),
            POLICY,
        )
        assert isinstance(state, Ready)
        assert (state.failures, actions) == (0, ())
    assert state.reason == "its health is unknown: no descriptor is left"
    state, _ = step(state, ProbeResult(10000.0, 1, True), POLICY)
    assert state.reason == "answers again"


def ready() -> Ready:
    state, _ = step(Idle(), Started(0), POLICY)
    state, _ = step(state, ProbeResult(1.0, 1, True, "generated 1 token"), POLICY)
    assert isinstance(state, Ready)
    return state


def test_what_is_slow_is_said_to_be_slow_and_nothing_else() -> None:
    state: State = ready()
    state, actions = step(state, ProbeResult(20.0, 1, True, took=12.0), POLICY)
    assert isinstance(state, Ready)
    assert (state.reason, state.failures, actions) == (
        "answers slowly, a health check took more than 5 s",
        0,
        (),
    )
    state, _ = step(state, ProbeResult(40.0, 1, True, took=0.1), POLICY)
    assert state.reason == "answers again"


def test_a_launcher_without_a_free_descriptor_kills_nobody_and_says_so(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    pids = world.status()["pids"]
    before = resource.prlimit(pids["launcher"], resource.RLIMIT_NOFILE)
    looks = []
    for _ in range(20):  # what a probe opens is closed a moment later
        looks.append({int(path.name) for path in Path(f"/proc/{pids['launcher']}/fd").iterdir()})
        time.sleep(0.05)
    first_free = next(number for number in range(1024) if number not in set.intersection(*looks))
    resource.prlimit(pids["launcher"], resource.RLIMIT_NOFILE, (first_free, before[1]))
    told = world.instance / "launcher.log"
    until(lambda: "health is unknown" in told.read_text(), "it says that it cannot ask")
    time.sleep(2)  # many times what a server may be silent for here
    resource.prlimit(pids["launcher"], resource.RLIMIT_NOFILE, before)

    until(lambda: world.status()["reason"] == "answers again", "it asks again")
    seen = world.status()
    assert (seen["state"], seen["restarts"], seen["pids"]["server"]) == ("ready", 0, pids["server"])


# -- its signals and its parent --------------------------------------------------------------------


def test_only_one_signal_kills() -> None:
    stop = RequestReceived(2.0, Request.STOP, "SIGTERM")
    stopping, actions = step(ready(), stop, POLICY)
    assert len(actions) == 1
    for _ in range(3):
        again, actions = step(stopping, stop, POLICY)
        assert (again, actions) == (stopping, ())
    killed, actions = step(stopping, RequestReceived(3.0, Request.KILL, "`down --now`"), POLICY)
    assert len(actions) == 1
    assert step(killed, RequestReceived(4.0, Request.KILL, "`down --now`"), POLICY) == (killed, ())
    ended, _ = step(killed, Exited(5.0, -9, "was killed by SIGKILL"), POLICY)
    assert isinstance(ended, Ended)
    assert not ended.failed


PARENT = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_parent_that_blocks_all_signals_and_ignores_its_children_is_no_matter(
    world: World,
) -> None:
    words = [sys.executable, "-c", PARENT, str(GLM5_SERVE), "up", "-p", "stub", "-d"]
    done = subprocess.run(
        words,
        env=world.environ,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first = world.status()["pids"]["server"]
    os.kill(first, signal.SIGKILL)
    second = world.until_state("ready", restarts=1)["pids"]["server"]
    reaper = psutil.Process(second).ppid()
    os.kill(reaper, signal.SIGKILL)

    third = world.until_state("ready", restarts=2)["pids"]["server"]
    assert not psutil.pid_exists(second)
    masks = Path(f"/proc/{third}/status").read_text().splitlines()
    assert {line.split()[1] for line in masks if line.startswith("SigBlk")} == {"0" * 16}
    assert [p.name() for p in world.processes() if p.name() == "glm5-reaper"] == ["glm5-reaper"]
    assert (
        json.loads((world.instance / "events.jsonl").read_text().splitlines()[0])["event"]
        == "state"
    )


def test_a_reaper_that_is_stopped_still_ends_the_server_of_a_launcher_that_was_killed(
    world: World,
) -> None:
    world.run("up", "-p", "stub", "-d")
    pids = world.status()["pids"]
    os.kill(psutil.Process(pids["server"]).ppid(), signal.SIGSTOP)
    os.kill(pids["launcher"], signal.SIGKILL)

    world.until_nothing_is_left()


@pytest.fixture
def key(world: World) -> str:
    """The name of a file with a key; its server is held until that was laid where it reads it."""
    path = world.folder / "key"
    path.write_text("sekret-0123456789")
    path.chmod(0o600)
    return path.name


def test_the_key_does_not_outlive_a_launcher_that_was_killed_while_the_server_started(
    world: World, key: str
) -> None:
    world.faults(hang_at="parse")
    up = world.start("up", "-p", "stub", "--api-key-file", key)
    config = world.instance / "config.yaml"
    until(config.exists, "the key is offered")
    up.kill()

    until(lambda: not config.exists(), "nor is it there any more")
    world.until_nothing_is_left()


@pytest.mark.parametrize("stopped", ["launcher", "reaper", "server"])
def test_a_launcher_that_is_killed_while_its_server_is_born_leaves_nothing(
    world: World, key: str, stopped: str
) -> None:
    """Between each fork on the way and what comes of it."""
    world.faults(hang_at="parse")  # a server that prints would die of the pipe that nobody reads
    up = (GLM5_SERVE, "up", "-p", "stub", "--api-key-file", key)
    config = world.instance / "config.yaml"
    how: dict[str, Any] = {"env": world.environ, "cwd": world.folder, "stdout": subprocess.PIPE}
    with running(sys.executable, RIG / "births.py", stopped, *up, **how) as births:
        launcher = int(next_line(births))
        if stopped != "launcher":
            until(config.exists, "the launcher goes on")
        os.kill(launcher, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(launcher), "it is gone")

    world.until_nothing_is_left()
    assert not config.exists()
    world.faults()
    again = world.run("up", "-p", "stub", "-d", "--api-key-file", key)
    assert (again.returncode, world.status()["state"]) == (0, "ready"), again.stderr


def test_what_a_session_is_known_by_is_written_down(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    seen = world.status()
    session = json.loads((world.instance / "state.json").read_text())["session"]

    server = psutil.Process(seen["pids"]["server"])
    assert server.environ()["GLM5_SERVE_SESSION"] == session["mark"]
    assert server.ppid() == session["reaper"]
    assert str(Path(f"/proc/{server.pid}/fd/1").readlink()) == session["output"]


def test_a_start_that_does_not_hear_the_signal_does_not_hold_a_stop(world: World) -> None:
    world.faults(deaf=True, load_seconds=30)
    world.start("up", "-p", "stub")
    until(
        lambda: (
            world.instance.joinpath("events.jsonl").exists()
            and "weights" in [event["phase"] for event in world.events("phase")]
        ),
        "it loads",
    )
    assert world.run("down").returncode == 0

    assert "not gone within" not in world.status()["reason"]
    world.until_nothing_is_left()
