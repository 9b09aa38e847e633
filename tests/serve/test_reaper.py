"""The reaper alone, over children that do everything to survive.

Orphans it lost would go to init, and be seen.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import psutil
import pytest
from conftest import RIG, next_line, running, until

from launcher.serve import reaper
from launcher.serve.session import Died, ProcessTree

Reaped = tuple[subprocess.Popen[str], socket.socket]


@pytest.fixture
def reap(tmp_path: Path) -> Iterator[Callable[..., Reaped]]:
    """Start a command under the reaper; afterwards no process with this test's mark may live."""
    started: list[Reaped] = []

    def start(*command: str | Path, words: Collection[str] = ()) -> Reaped:
        ours, theirs = socket.socketpair()
        ours.settimeout(60)
        with theirs:
            program = [sys.executable, "-I", "-S", reaper.__file__, str(theirs.fileno())]
            process = subprocess.Popen(
                [*program, *words, "--", *command],
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


def test_where_nobody_is_left_it_looks_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look is at every process of the host: thousands on a large one, and clients wait."""
    looks: list[int] = []

    def nobody(root: int, *, zombies: bool = False) -> list[int]:
        looks.append(root)
        return []

    monkeypatch.setattr(reaper, "descendants", nobody)

    reaper.exterminate()
    assert looks == [os.getpid()] * 2


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
tracker = resource_tracker._resource_tracker._pid
while b"resource_tracker" not in open(f"/proc/{{tracker}}/cmdline", "rb").read():
    time.sleep(0.01)  # forked, and not yet what it will be
print(memory.name, tracker, flush=True)
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


MAPPING = """
import mmap, os, sys, time
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        globals()[path] = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
print("mapped", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A file of shared memory, as one without a tracker makes it."""
    with tempfile.NamedTemporaryFile(prefix="glm5-test-", dir="/dev/shm") as file:
        os.truncate(file.name, 4096)
        yield Path(file.name)
        Path(file.name).touch()


def maps(path: Path) -> tuple[str, ...]:
    return (sys.executable, "-c", MAPPING, str(path))


@pytest.mark.parametrize("word", [b"K", b"T", b"S"])
def test_a_file_of_shared_memory_that_nobody_tracks_goes_with_it(
    reap: Callable[..., Reaped], memory: Path, word: bytes
) -> None:
    """Be it killed, asked to go, or gone at once by itself some time after it was looked at."""
    process, control = reap(*maps(memory), words=["shared=glm5-test-*"])
    assert next_line(process) == "mapped\n"
    control.send(word)
    if word == b"S":
        (server,) = psutil.Process(process.pid).children()
        time.sleep(0.5)
        server.kill()
    heard(control)
    assert not memory.exists()


@pytest.mark.parametrize("words", [[], ["shared=psm_*"]])
def test_what_no_engine_names_so_stays_as_a_model_there(
    reap: Callable[..., Reaped], memory: Path, words: list[str]
) -> None:
    process, control = reap(*maps(memory), words=words)
    assert next_line(process) == "mapped\n"
    control.send(b"K")
    heard(control)
    assert memory.exists()


def test_what_another_has_mapped_or_it_never_had_stays(
    reap: Callable[..., Reaped], memory: Path, tmp_path: Path
) -> None:
    beside = Path(f"{memory}-beside")
    beside.write_text("a stranger's")
    try:
        with running(*maps(memory), stdout=subprocess.PIPE) as another:
            next_line(another)
            process, control = reap(*maps(memory), words=["shared=glm5-test-*"])
            next_line(process)
            control.send(b"K")
            heard(control)
        assert memory.exists()
        assert beside.exists()
    finally:
        beside.unlink()


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

    assert heard(control) == ["exec 2 No such file or directory: /no/such/python"]


@pytest.mark.parametrize(
    ("number", "status"),
    [(errno.EAGAIN, None), (errno.ENOMEM, None), (errno.EMFILE, None), (errno.ETXTBSY, None),
     (errno.ENOENT, 127), (errno.EACCES, 127), (errno.ENOEXEC, 127)],
)  # fmt: skip
def test_a_host_that_is_short_of_something_is_no_fault_of_the_command(
    number: int, status: int | None
) -> None:
    """A status of 127 is final: a command that cannot be run is not tried again."""
    tree = ProcessTree.__new__(ProcessTree)

    tree._hear(f"exec {number} {os.strerror(number)}: /python")

    assert tree.died == Died(status, f"could not be executed: {os.strerror(number)}: /python")


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
