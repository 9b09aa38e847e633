"""Stopping always ends, and one instance has one launcher, whatever state both are in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from conftest import GLM5_SERVE, PATIENCE, World, free_port, next_line, remove, running, until
from rig.mounts import mounted

from launcher.errors import Exit, UserError
from launcher.files.rotation import rotate
from launcher.operate import control
from launcher.statedir import processes
from launcher.statedir.folder import StateDir
from launcher.statedir.processes import boot_id, pid_namespace

FAKE = """
import os, signal, sys
from pathlib import Path
from launcher.serve.wishes import WISHES
from launcher.statedir.folder import StateDir
for number in WISHES:
    signal.signal(number, signal.SIG_IGN)
instance = StateDir(Path(sys.argv[1]), "stub")
claim = instance.claim()
if sys.argv[3:]:
    state = {"schema": 1, "profile": "stub", "state": "ready", "reason": "r", "pids": {"launcher": os.getpid()}}
    instance.write(instance.state, state | {"launcher": instance.launcher_record().to_json()})
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hang(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Start a launcher that hears nothing, and maybe has not `named` itself; its pid."""
    with contextlib.ExitStack() as stack:

        def start(*words: str) -> int:
            command = (sys.executable, "-c", FAKE, str(tmp_path), "supervise", *words)
            process = stack.enter_context(
                running(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            next_line(process)
            return process.pid

        yield start


def test_down_twice_drains_once_and_both_are_fine(world: World) -> None:
    world.faults(drain=2)
    world.run("up", "-p", "stub", "-d")
    first, second = world.start("down"), world.start("down", "-p", "stub")
    said = [process.communicate(timeout=PATIENCE)[0] for process in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0), said
    assert len([event for event in world.events() if event["state"] == "stopping"]) == 1
    assert "not gone within" not in str(world.events())
    assert not world.processes()


def test_down_says_that_a_launcher_is_stopped_and_does_not_wait(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    launcher = psutil.Process(world.status()["pids"]["launcher"])
    launcher.suspend()
    down, again = world.run("down"), world.run("restart", "-p", "stub")

    assert (down.returncode, again.returncode) == (1, 1)
    for said in (down.stderr, again.stderr):
        assert (
            f"the launcher of stub (pid {launcher.pid}) is stopped by a signal, and hears nothing"
            in said
        )
        assert f"`kill -CONT {launcher.pid}`" in said
        assert "`glm5-serve down --now --profile stub`" in said
    launcher.resume()
    world.until_nothing_is_left()


def test_down_now_ends_a_launcher_that_is_stopped(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    psutil.Process(world.status()["pids"]["launcher"]).suspend()

    assert world.run("down", "--now").stdout == "stub is down\n"
    assert not world.processes()
    assert world.status()["state"] == "stopped"


def test_down_now_kills_a_launcher_that_does_not_hear(
    tmp_path: Path, hang: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "HEARD_WITHIN", 0.5)
    monkeypatch.setattr(control, "MOMENT", 0.2)
    pid = hang("named")
    instance = StateDir(tmp_path, "stub")
    said = control.down(instance, now=True)

    assert said == f"stub is down; its launcher (pid {pid}) did not go by itself and was killed"
    assert not instance.is_held()


def test_down_now_ends_an_up_that_judges_the_host_for_ever(
    tmp_path: Path, hang: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not said who it is: the kernel knows."""
    monkeypatch.setattr(control, "HEARD_WITHIN", 0.5)
    monkeypatch.setattr(control, "MOMENT", 0.2)
    pid = hang()

    assert f"(pid {pid}) did not go by itself and was killed" in control.down(
        StateDir(tmp_path, "stub"), now=True
    )


def test_an_up_that_is_ended_before_it_launched_says_so(world: World) -> None:
    """Its host is judged by a program that does not answer."""
    slow = world.folder / "python"
    slow.write_text(
        '#!/bin/sh\ncase "$*" in *"metadata as m"*) echo sglang 0.5.23;; *) exec sleep 600;; esac\n'
    )
    slow.chmod(0o755)
    world.profile.write_text(world.profile.read_text().replace(sys.executable, str(slow)))
    up = world.start("up", "-p", "stub", "-d")
    until((world.instance / "lock").exists, "it claimed its folder")
    for early in ("restart", "smoke"):
        asked = world.run(early, "-p", "stub")
        assert asked.returncode == 1
        assert asked.stderr.startswith("error  stub is being launched, and has no plan yet\n")
    down = world.run("down", "-p", "stub", "--now")
    said, _ = up.communicate(timeout=PATIENCE)

    assert (down.returncode, down.stdout) == (0, "stub is down\n")
    assert (up.returncode, said) == (1, "ended by `glm5-serve down --now`; nothing was started\n")
    for process in world.processes():  # what it asked has a deadline of its own
        process.kill()


def test_status_tells_a_launcher_that_is_stopped_and_a_server_that_is_dead(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    pids = world.status()["pids"]
    launcher, server = psutil.Process(pids["launcher"]), psutil.Process(pids["server"])
    launcher.suspend()
    server.kill()
    status, metrics = world.run("status"), world.run("metrics").stdout
    seen = world.status()

    assert status.returncode == 1
    why = (
        f"the launcher (pid {launcher.pid}) is stopped by a signal, nothing watches the server; it"
        " was ready"
    )
    assert (seen["state"], seen["reason"]) == ("unknown", why)
    assert seen["pids"]["launcher"] == launcher.pid
    for figure in (
        'ready{engine="sglang",profile="stub"} 0.0',
        'up{engine="sglang",profile="stub"} 1.0',
        'unreadable{engine="sglang",profile="stub"} 0.0',
    ):
        assert f"glm5_serve_{figure}" in metrics
    launcher.resume()
    assert world.until_state("ready", restarts=1)


def test_where_several_could_be_meant_status_lists_them_all(world: World) -> None:
    other = world.profile.with_name("other.toml")
    other.write_text(
        world.profile.read_text().replace(f"port = {world.port}", f"port = {free_port()}")
    )
    assert world.run("up", "-p", "other", "-d").returncode == 0
    world.run("down", "-p", "other")
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    assert world.run("status").stdout.startswith("stub  ready"), "the only one that is up is meant"
    world.run("down", "-p", "stub")
    shown, told = world.run("status"), world.run("status", "--json")

    assert (shown.returncode, told.returncode) == (1, 1)
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [
        ["other", "stopped"],
        ["stub", "stopped"],
    ]
    assert [one["profile"] for one in json.loads(told.stdout)["instances"]] == ["other", "stub"]
    down = world.run("down")
    assert (down.returncode, down.stdout) == (0, "no server is up\n")


def test_a_server_that_died_unnoticed_is_not_ready(
    tmp_path: Path, hang: Callable[..., int]
) -> None:
    instance = StateDir(tmp_path, "stub")
    pid = hang("named")
    seen = json.loads(instance.state.read_text())
    for server, state in ((os.getpid(), "ready"), (2**22 - 1, "unknown")):
        instance.write(instance.state, seen | {"pids": {"launcher": pid, "server": server}})
        assert instance.look().state == state

    told = f"the server (pid {2**22 - 1}) is dead, which the launcher (pid {pid}) has not told yet"
    assert instance.look().reason == told


def test_a_removed_folder_frees_nothing_and_down_still_finds_the_launcher(world: World) -> None:
    world.run("up", "-p", "stub", "-d")
    launcher = world.status()["pids"]["launcher"]
    remove(world.instance)
    second = world.run("up", "-p", "stub", "-d", "--set", "flags.port=1024")

    assert second.returncode == 1
    assert f"launcher pid {launcher}, although its state folder was removed" in second.stderr
    assert not world.instance.exists()
    assert world.run("down", "-p", "stub").stdout == "stub is down\n"
    assert not world.processes()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("detach", ["-d", ""])
def test_closed_descriptors_cost_no_lock(world: World, closed: str, detach: str) -> None:
    first = subprocess.Popen(
        ["sh", "-c", f"exec {GLM5_SERVE} up -p stub {detach} {closed}"],
        env=world.environ,
        cwd=world.folder,
    )
    seen = world.until_state("ready")
    second = world.run("up", "-p", "stub", "-d", "--set", "flags.port=1024")

    assert second.returncode == 1
    assert f"launcher pid {seen['pids']['launcher']}" in second.stderr
    links = [
        Path(f"/proc/{seen['pids']['launcher']}/fd/{number}").readlink() for number in (0, 1, 2)
    ]
    assert not [link for link in links if link.name == "lock" or "socket" in link.name]
    assert world.run("down").returncode == 0
    assert first.wait(PATIENCE) == 0
    world.until_nothing_is_left()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_command_calls_a_closed_descriptor_a_bug(world: World, closed: str) -> None:
    for words, status in (
        ("status -p stub", 1),
        ("down -p stub", 0),
        ("checks", 0),
        ("up -p nothing", 2),
    ):
        command = ["sh", "-c", f"exec {GLM5_SERVE} {words} {closed}"]
        done = subprocess.run(
            command, env=world.environ, capture_output=True, check=False, timeout=PATIENCE
        )
        assert done.returncode == status, done.stderr


def namespaced(*words: str) -> list[str]:
    return ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", str(GLM5_SERVE), *words]


needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0
    or subprocess.run(
        ["unshare", "--pid", "--fork", "true"], check=False, timeout=PATIENCE
    ).returncode
    != 0,
    reason="wants a PID namespace of its own",
)


@needs_namespaces
@pytest.mark.parametrize(
    ("around", "what"),
    [
        (["unshare", "--pid", "--fork", "--kill-child"], "shows the processes of another PID"),
        (["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc; exec "$@"', "-"], "is not"),
    ],
)
def test_where_nobody_could_be_found_nothing_is_started(
    world: World, around: list[str], what: str
) -> None:
    done = subprocess.run(
        [*around, str(GLM5_SERVE), "up", "-p", "stub", "--detach"], env=world.environ,
        cwd=world.folder, capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip

    assert done.returncode == 78
    assert f"error  /proc {what}" in done.stderr
    assert "no server could be watched here" in done.stderr
    assert not world.processes()
    assert not world.instance.exists()


@pytest.mark.parametrize(
    ("limit", "what", "fix"),
    [
        ("-n 12", "12 files may be open at a time", "`ulimit -n 65536`"),
        ("-f 1", "File too large", "`ulimit -f unlimited`"),
    ],
)
def test_a_limit_under_which_no_launcher_could_say_how_it_is_is_named(
    world: World, limit: str, what: str, fix: str
) -> None:
    """With too few descriptors it would try, and tell nobody, for ever."""
    command = ["sh", "-c", f"ulimit {limit}; exec {GLM5_SERVE} up -p stub --detach"]
    done = subprocess.run(
        command, env=world.environ, cwd=world.folder, capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip

    assert done.returncode == 78
    assert what in done.stderr
    assert fix in done.stderr
    assert not world.processes()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    """A control group of the kernel's freezer, thawed and gone when the test is over."""
    made = Path("/sys/fs/cgroup/freezer") / f"glm5-tests-{os.getpid()}"
    try:
        made.mkdir()
        (made / "freezer.state").write_text("THAWED")
    except OSError:
        pytest.skip("no freezer of control groups (version 1) that this user may write")
    yield made
    (made / "freezer.state").write_text("THAWED")
    until(lambda: not (made / "cgroup.procs").read_text(), "nobody is in it")
    made.rmdir()


def test_a_launcher_that_is_frozen_is_told_and_waited_for_by_nobody(
    world: World, group: Path
) -> None:
    """As by `docker pause`: not even a kill reaches it."""
    world.run("up", "-p", "stub", "--detach")
    launcher = world.status()["pids"]["launcher"]
    (group / "cgroup.procs").write_text(str(launcher))
    (group / "freezer.state").write_text("FROZEN")
    try:
        until(lambda: (group / "freezer.state").read_text() == "FROZEN\n", "it is frozen")
        frozen = f"the launcher (pid {launcher}) is frozen with its control group"
        assert (world.status()["state"], frozen in world.status()["reason"]) == ("unknown", True)
        for words in (("down",), ("down", "--now")):
            done = world.run(*words, "-p", "stub")
            assert done.returncode == 1
            assert "is frozen with its control group" in done.stderr
            assert "docker unpause" in done.stderr
    finally:
        (group / "freezer.state").write_text("THAWED")
    world.until_nothing_is_left()


def test_a_group_that_is_frozen_is_seen_in_either_hierarchy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "CGROUPS", tmp_path)
    assert processes.halted(os.getpid()) is None, "it cannot be seen"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, name, path = line.split(":", 2)
        if name not in ("", "freezer"):
            continue
        file = tmp_path / name / path.lstrip("/") / ("freezer.state" if name else "cgroup.events")
        file.parent.mkdir(parents=True, exist_ok=True)
        for said, is_frozen in (
            ("FROZEN" if name else "populated 1\nfrozen 1", True),
            ("THAWED" if name else "populated 1\nfrozen 0", False),
        ):
            file.write_text(f"{said}\n")
            told = processes.halted(os.getpid())
            assert (told == "is frozen with its control group") is is_frozen, line


def test_who_has_the_lock_and_is_no_launcher_is_not_called_one(world: World) -> None:
    world.instance.mkdir(parents=True, mode=0o700)
    lock = world.instance / "lock"
    lock.touch(0o600)
    with running("flock", lock, "sh", "-c", "echo; read line", stdin=subprocess.PIPE,
                 stdout=subprocess.PIPE) as other:  # fmt: skip
        next_line(other)
        refused = world.run("up", "-p", "stub")

    assert refused.returncode == 1
    assert "launcher pid" not in refused.stderr
    assert f"`fuser -v {lock}` names who has its lock" in " ".join(refused.stderr.split())


@needs_namespaces
def test_a_full_disk_is_told_by_whoever_asks_how_it_is(world: World) -> None:
    """The launcher can write nothing of it there."""
    world.state.mkdir()
    with mounted(world.state, "-t", "tmpfs", "-o", "size=512k,mode=755", "none"):
        up = ("up", "-p", "stub", "--detach", "--allow", "disk-space")
        assert world.run(*up).returncode == 0
        server = world.status()["pids"]["server"]
        with contextlib.suppress(OSError), (world.state / "filler").open("wb", 0) as filler:
            while True:  # no bound: a disk of half a megabyte is full soon
                filler.write(b"x" * 4096)
        os.kill(server, signal.SIGKILL)

        seen = until(
            lambda: (now := world.status()["reason"]).startswith("the server") and now, "it is dead"
        )
        assert f"the disk of {world.instance} is full" in seen
        (world.state / "filler").unlink()
        world.until_state("ready", run=2)
        assert world.run("down", "-p", "stub").returncode == 0


@needs_namespaces
def test_a_launcher_of_another_pid_namespace_is_believed_and_not_signalled(world: World) -> None:
    with running(*namespaced("up", "-p", "stub"), env=world.environ, cwd=world.folder):
        seen = until(
            lambda: (now := world.status())["state"] == "ready" and now,
            "it is ready, seen from outside",
        )
        assert seen["pids"] == {}
        assert "; its launcher lives in another PID namespace" in seen["reason"]
        assert world.run("status").returncode == 0
        metrics = world.run("metrics").stdout
        for figure in ("up", "ready"):
            assert f'glm5_serve_{figure}{{engine="sglang",profile="stub"}} 1.0' in metrics
        for words in (("down",), ("down", "--now"), ("restart",)):
            done = world.run(*words, "-p", "stub")
            assert done.returncode == 1
            assert "lives in another PID namespace" in done.stderr
            assert "run this command where it was brought up" in done.stderr
        assert world.status()["state"] == "ready"
    until(lambda: world.status()["state"] == "dead", "the kernel let go of its lock")
    world.until_nothing_is_left()


@needs_namespaces
def test_what_an_earlier_namespace_wrote_is_not_said_of_a_young_launcher(
    tmp_path: Path, hang: Callable[..., int]
) -> None:
    hang()
    instance = StateDir(tmp_path, "stub")
    launcher = {
        "pid": 7,
        "start_ticks": 1,
        "boot_id": boot_id(),
        "pid_namespace": "pid:[1]",
        "claim": "of before",
    }
    instance.write(
        instance.state,
        {"schema": 1, "state": "ready", "reason": "r", "pids": {}, "launcher": launcher},
    )

    assert pid_namespace() != "pid:[1]"
    assert instance.look().reason == "being launched"
    assert not instance.status.is_elsewhere()


def test_a_launcher_of_another_user_is_not_called_a_bug(
    tmp_path: Path, hang: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    hang("named")

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    with pytest.raises(UserError, match="is another user's") as refused:
        control.down(StateDir(tmp_path, "stub"), now=False)

    assert refused.value.status == Exit.CONFIG


def test_logs_are_followed_over_many_rotations(world: World) -> None:
    log = world.instance / "server.log"
    world.run("up", "-p", "stub", "-d")
    follow = world.start("logs", "-f", "-n", "0")
    until(
        lambda: any("server.log" in file.path for file in psutil.Process(follow.pid).open_files()),
        "it reads",
    )
    for number in range(12):
        with log.open("a") as file:
            file.write("".join(f"line {number}.{part}\n" for part in range(100)))
        rotate(log, 4)
        log.touch()
        if number % 3 == 2:
            time.sleep(1)
    held = [file.path for file in psutil.Process(follow.pid).open_files()]
    world.run("down")
    said, _ = follow.communicate(timeout=PATIENCE)
    told = [line for line in said.splitlines() if line.startswith("line ")]

    assert told == [f"line {number}.{part}" for number in range(12) for part in range(100)]
    assert len(held) <= 3, held


def test_json_of_down_says_what_was_killed(world: World) -> None:
    world.run("up", "-p", "stub", "-d")

    assert json.loads(world.run("down", "--now", "--json").stdout)["said"] == "stub is down"


def test_a_state_home_that_is_not_there_is_no_bug(world: World) -> None:
    place = str(world.folder / "nowhere/at/all")
    wanted = {
        "status": (1,),
        "down": (0,),
        "logs": (1, 78),
        "events": (1,),
        "smoke": (1,),
        "bundle": (1,),
    }
    for words, status in wanted.items():
        done = world.run(words, "-p", "stub", GLM5_SERVE_STATE_DIR=place)

        assert done.returncode in status, done
        assert "a bug" not in done.stderr
    assert not list(world.folder.glob("*.tar.gz"))
