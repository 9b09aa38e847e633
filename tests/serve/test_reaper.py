"""The reaper alone, over children that do everything to survive.

Orphans it lost would go to init, and be seen.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from conftest import RIG, next_line, until

from launcher.serve import reaper

Reaped = tuple[subprocess.Popen[str], socket.socket]


@pytest.fixture
def reap(tmp_path: Path) -> Iterator[Callable[..., Reaped]]:
    """Start a command under the reaper; afterwards no process with this test's mark may live."""
    started: list[Reaped] = []

    def start(*command: str | Path) -> Reaped:
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", reaper.__file__, str(theirs.fileno()), "--", *command],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"REAPER_TEST": str(tmp_path)},
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        started.append((process, ours))
        return process, ours

    yield start
    for process, ours in started:
        ours.close()
        process.wait(60)
        if process.stdout:
            process.stdout.close()
    left = marked(tmp_path)
    for orphan in left:
        orphan.kill()
    assert not left


def marked(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get("REAPER_TEST") == str(folder)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def heard(control: socket.socket) -> list[str]:
    """Everything the reaper said, to its end."""
    words = b""
    while piece := control.recv(4096):  # no bound: it has a time-out
        words += piece
    return words.decode().splitlines()


def hostile(reap: Callable[..., Reaped], what: str) -> Reaped:
    process, control = reap(sys.executable, RIG / "hostile.py", what)
    assert next_line(process) == "up\n"
    return process, control


def test_what_the_server_leaves_behind_is_killed(
    reap: Callable[..., Reaped], tmp_path: Path
) -> None:
    process, control = hostile(reap, "leave")

    assert heard(control)[-1] == "exit 3"
    assert process.wait(60) == 0
    assert not marked(tmp_path)


def test_closing_the_lifeline_kills_everything(reap: Callable[..., Reaped], tmp_path: Path) -> None:
    process, control = hostile(reap, "stay")
    assert len(marked(tmp_path)) > 6
    control.close()

    process.wait(60)
    assert not marked(tmp_path)


def test_a_kill_is_told_as_the_servers_end(reap: Callable[..., Reaped], tmp_path: Path) -> None:
    process, control = hostile(reap, "stay")
    control.send(b"K")

    assert heard(control)[-1] == "exit -9"
    assert process.wait(60) == 0
    assert not marked(tmp_path)


def test_sigterm_to_the_reaper_kills_everything(
    reap: Callable[..., Reaped], tmp_path: Path
) -> None:
    process, _ = hostile(reap, "stay")
    process.send_signal(signal.SIGTERM)

    process.wait(60)
    assert not marked(tmp_path)


def test_terminate_reaches_the_first_process_alone(reap: Callable[..., Reaped]) -> None:
    shell = "trap 'echo termed; exit 5' TERM; sleep 3600 & child=$!; echo up; wait $child"
    process, control = reap("sh", "-c", shell)
    assert next_line(process) == "up\n"
    control.send(b"T")

    assert next_line(process) == "termed\n"
    assert heard(control)[-1] == "exit 5"


SHARING = """
import multiprocessing.shared_memory, os, subprocess, sys, time
from multiprocessing import resource_tracker
memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
print(memory.name, resource_tracker._resource_tracker._pid, flush=True)
{}
"""
ENDS = {"it is killed": "time.sleep(3600)", "it ends by itself": "os._exit(0)"}


@pytest.mark.parametrize("end", ENDS)
def test_shared_memory_of_a_python_server_goes_with_it(
    reap: Callable[..., Reaped], end: str
) -> None:
    process, control = reap(sys.executable, "-c", SHARING.format(ENDS[end]))
    name, tracker = next_line(process).split()
    if end == "it is killed":
        control.send(b"K")

    assert heard(control)[-1] == ("exit -9" if end == "it is killed" else "exit 0")
    assert not Path("/dev/shm", name).exists()
    assert not psutil.pid_exists(int(tracker))


def test_a_stopped_tracker_does_its_work_too(reap: Callable[..., Reaped]) -> None:
    stop = "os.kill(resource_tracker._resource_tracker._pid, 19); time.sleep(3600)"
    process, control = reap(sys.executable, "-c", SHARING.format(stop))
    name, _ = next_line(process).split()
    control.send(b"K")

    assert heard(control)[-1] == "exit -9"
    assert not Path("/dev/shm", name).exists()


def test_what_passes_for_a_tracker_and_does_not_end_is_killed(
    reap: Callable[..., Reaped], tmp_path: Path
) -> None:
    sleep = "import time; print(flush=True); time.sleep(3600) # multiprocessing.resource_tracker"
    process, control = reap("sh", "-c", f"{sys.executable} -c '{sleep}'; true")
    next_line(process)
    control.send(b"K")

    assert heard(control)[-1] == "exit -9"
    assert not marked(tmp_path)


def test_a_command_that_is_not_there_is_told(reap: Callable[..., Reaped]) -> None:
    _, control = reap("/no/such/python", "-m", "sglang.launch_server")

    assert heard(control) == ["exec No such file or directory: /no/such/python"]


def test_descendants_do_not_count_zombies() -> None:
    child = subprocess.Popen(["true"])
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE, "it is a zombie")

    assert child.pid not in reaper.descendants(os.getpid())
    child.wait(60)


@pytest.mark.parametrize(("mine", "servers"), [("-900", "0"), ("0", "17"), ("500", "17")])
def test_the_server_is_not_spared_where_its_launcher_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: str, servers: str
) -> None:
    """Files stand for /proc: to be spared takes a privilege that a test may lack."""
    monkeypatch.setattr(reaper, "OOM", f"{tmp_path}/{{}}")
    (tmp_path / "self").write_text(mine)
    (tmp_path / "4711").write_text("17")
    reaper.unprotect(4711)

    assert (tmp_path / "4711").read_text() == servers
