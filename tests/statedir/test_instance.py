"""What another shell believes of a state file: nothing that the kernel does not confirm."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import closed, launching, next_line, running, until

from launcher.errors import Exit, UserError
from launcher.files.rotation import rotate
from launcher.operate import control, written
from launcher.statedir.events import Event
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known, listed, state_home
from launcher.statedir.processes import boot_id, run_state, start_ticks


@pytest.fixture
def instance(tmp_path: Path) -> StateDir:
    made = StateDir(tmp_path, "p")
    made.folder.mkdir()
    return made


@pytest.fixture(scope="module")
def launcher() -> Iterator[int]:
    with launching() as pid:
        yield pid


def record(
    instance: StateDir, pid: int | None = None, server: int | None = None, **launcher: Any
) -> None:
    pid = pid or os.getpid()
    me = {"pid": pid, "start_ticks": start_ticks(pid), "boot_id": boot_id()} | launcher
    pids = {"launcher": pid, "server": server}
    seen = {
        "schema": 1,
        "profile": "p",
        "state": "ready",
        "reason": "r",
        "pids": pids,
        "launcher": me,
    }
    instance.write(instance.state, seen)


def test_a_claimed_folder_is_held_until_the_descriptor_is_closed(instance: StateDir) -> None:
    claim = instance.claim()
    assert instance.is_held()
    claim.release()
    assert not instance.is_held()


def test_a_second_claim_is_refused(instance: StateDir, launcher: int) -> None:
    claim = instance.claim()
    record(instance, launcher)
    with pytest.raises(UserError, match="p is already up: ready") as refused:
        StateDir(instance.folder.parent, "p").claim()
    claim.release()

    assert refused.value.status == Exit.NO


def test_looking_does_not_keep_a_launcher_out(instance: StateDir) -> None:
    instance.claim().release()
    looking = os.open(instance.folder / "lock", os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH | fcntl.LOCK_NB)
    threading.Timer(0.1, os.close, [looking]).start()

    instance.claim().release()


def test_what_the_launcher_says_of_itself_is_believed(instance: StateDir, launcher: int) -> None:
    claim = instance.claim()
    record(instance, launcher)
    seen = instance.look()
    claim.release()

    assert seen.state == "ready"


def test_a_state_file_without_its_launcher_is_dead(instance: StateDir) -> None:
    instance.claim().release()
    record(instance)
    seen = instance.look()

    assert seen.state == "dead"
    assert seen.to_json()["pids"] == {}


@pytest.mark.parametrize(
    ("time", "state", "wanted"),
    [
        ("2026-11-24T06:00:01.000Z", "stopped", "stopped"),
        ("2026-11-24T06:00:01.000Z", "failed", "failed"),
        ("2026-11-24T06:00:01.000Z", "backoff", "dead"),
        ("2026-11-24T05:59:59.000Z", "stopped", "dead"),
    ],
)
def test_an_end_that_only_the_events_have_is_told(
    instance: StateDir, time: str, state: str, wanted: str
) -> None:
    """A full disk takes a line more, and no new state file."""
    instance.claim().release()
    record(instance)
    seen = json.loads(instance.state.read_text()) | {"since": "2026-11-24T06:00:00.000Z"}
    instance.write(instance.state, seen)
    instance.tell(Event("state", {"state": state, "reason": "asked for"}, time))

    assert instance.look().state == wanted


GOING = """
import ctypes, fcntl, os, sys, threading, time
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
print(flush=True)
input()
ctypes.CDLL(None).syscall(93 if os.uname().machine == "aarch64" else 60, 0)  # of this thread alone
"""


@pytest.mark.parametrize("last", ["stopped", "ready"])
def test_a_launcher_that_ends_is_not_one_that_is_launched(instance: StateDir, last: str) -> None:
    """The kernel takes its program away first, and its locks later: on a busy host much later."""
    words = (sys.executable, "-c", GOING, instance.lock.path, "supervise")
    with running(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        next_line(process)
        record(instance, process.pid)
        instance.write(instance.state, json.loads(instance.state.read_text()) | {"state": last})
        before = instance.look().state
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
        until(lambda: run_state(process.pid) is None, "its first thread is gone")
        held, seen = instance.is_held(), instance.look()

    assert (before, held) == (last, True)
    assert seen.state == ("stopped" if last == "stopped" else "dead")


def test_who_takes_the_place_of_a_zombie_is_being_launched(instance: StateDir) -> None:
    """In a container nobody may collect the dead."""
    with running("true") as process:
        until(lambda: run_state(process.pid) is None, "it ended")
        record(instance, process.pid)
        claim = instance.claim()
        seen = instance.look()
        claim.release()

    assert seen.reason == "being launched"


@pytest.mark.parametrize(
    "other", [{"start_ticks": 1}, {"boot_id": "another boot"}, {"pid": 2**22 - 1}]
)
def test_a_pid_that_means_another_process_is_never_signalled(
    instance: StateDir, launcher: int, other: dict[str, Any]
) -> None:
    claim = instance.claim()
    record(instance, **{"pid": launcher} | other)
    state, signalled = instance.look().state, instance.signal(signal.SIGTERM)
    claim.release()

    assert state == "starting"  # somebody holds the folder and has not said who yet
    assert signalled is None


LAUNCHER = '"launcher": {"pid": 1, "boot_id": "x", "start_ticks": 1}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "{}", "[" * 100_000, "\0\xff"),
        *(
            '{"schema": 1}',
            '{"schema": 1, "launcher": {"pid": "x"}}',
            '{"schema": 1, "launcher": {"pid": Infinity}}',
        ),
        f'{{"schema": 1, {LAUNCHER}, "pids": {{}}}}',
        f'{{"schema": 1, {LAUNCHER}, "state": "ready"}}',
        f'{{"schema": 1, {LAUNCHER}, "state": "ready", "pids": 1}}',
    ],
    ids=range(13),
)
def test_a_file_that_is_not_ours_is_said_to_be_foreign(instance: StateDir, text: str) -> None:
    instance.state.write_text(text)

    assert instance.look().state == "unknown"
    assert "was not written by glm5-serve" in instance.look().reason


def test_another_schema_is_not_guessed_at(instance: StateDir) -> None:
    instance.state.write_text('{"schema": 2}')

    assert "has schema 2, this glm5-serve reads 1" in instance.look().reason


def test_a_state_file_is_replaced_whole_or_not_at_all(instance: StateDir) -> None:
    record(instance)
    before = instance.state.read_text()
    with pytest.raises(TypeError):
        instance.write(instance.state, {"cannot be json": object()})

    assert instance.state.read_text() == before
    assert [p.name for p in instance.folder.iterdir()] == ["state.json"]


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("a file in its place")
    with pytest.raises(UserError, match="cannot write the state folder") as refused:
        StateDir(tmp_path, "p").claim()

    assert refused.value.status == Exit.CONFIG


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot name a folder"):
        StateDir(tmp_path, name)


def test_instances_that_are_or_were_up_are_found(tmp_path: Path) -> None:
    for name in ("one", "refused"):
        StateDir(tmp_path, name).claim().release()
    record(StateDir(tmp_path, "one"))
    (tmp_path / "stray").mkdir()
    held = StateDir(tmp_path, "young").claim()

    assert [instance.name for instance in known(tmp_path)] == ["one", "young"]
    held.release()
    assert known(tmp_path / "nowhere") == []


def test_what_is_not_ours_in_a_state_home_hides_nothing(tmp_path: Path) -> None:
    StateDir(tmp_path, "one").claim().release()
    record(StateDir(tmp_path, "one"))
    (tmp_path / ".x").mkdir()
    (tmp_path / ".x/lock").touch()
    (tmp_path / "file").touch()

    assert [instance.name for instance in known(tmp_path)] == ["one"]


def test_the_folder_of_another_user_is_known_and_said_to_be_closed(tmp_path: Path) -> None:
    StateDir(tmp_path, "one").claim().release()
    record(StateDir(tmp_path, "one"))
    with closed(tmp_path / "one") as home:
        (instance,) = known(home)
        seen = instance.look()

    assert (instance.name, seen.state) == ("one", "unknown")
    assert "may not be read by this user" in seen.reason
    there = f"`sudo env GLM5_SERVE_STATE_DIR={tmp_path} glm5-serve status --profile one`"
    assert there in seen.reason


def test_a_state_home_that_is_closed_is_no_empty_one(tmp_path: Path) -> None:
    assert listed(tmp_path / "nothing was up yet") == []
    (home := tmp_path / "state").mkdir()
    with closed(home), pytest.raises(UserError, match="cannot read the state folder"):
        listed(Path("state"))


def test_the_state_home_is_where_it_is_said() -> None:
    assert state_home({"GLM5_SERVE_STATE_DIR": "/a", "STATE_DIRECTORY": "/b"}) == Path("/a")
    assert state_home({"STATE_DIRECTORY": "/b"}) == Path("/b")
    with pytest.raises(UserError, match="is another folder wherever it is said") as no:
        state_home({"GLM5_SERVE_STATE_DIR": "state"})
    assert no.value.fix == f"GLM5_SERVE_STATE_DIR={Path('state').absolute()}"
    if os.geteuid() == 0:
        assert state_home({"HOME": "/root"}) == Path("/var/lib/glm5-serve")


def test_a_log_is_followed_into_its_next_file(instance: StateDir) -> None:
    claim = instance.claim()
    instance.server_log.write_text("old\nlast\n")
    lines = written.log_lines(instance, 1, follow=True)
    assert next(lines) == "last"
    rotate(instance.server_log, 1)
    instance.server_log.write_text("first of the next\n")
    assert next(lines) == "first of the next"
    claim.release()

    assert list(lines) == []


def test_a_copy_of_another_instances_folder_means_nobody(instance: StateDir, launcher: int) -> None:
    """Its launcher and processes are the other one's."""
    record(instance, launcher)
    copy = StateDir(instance.folder.parent, "copy")
    shutil.copytree(instance.folder, copy.folder)
    seen = copy.look()

    assert seen.state == "unknown"
    assert "it is of p" in seen.reason
    assert copy.signal(0) is None
    assert copy.status.session().mark is None


def test_of_several_that_are_down_it_is_said_that_none_is_up(tmp_path: Path) -> None:
    for name in ("a", "b"):
        made = StateDir(tmp_path, name)
        made.folder.mkdir()
        record(made)

    with pytest.raises(UserError) as asked:
        control.select_instance(tmp_path, None)
    assert asked.value.what == "none is up, and there were several: a, b"
    assert "`glm5-serve status` lists them" in (asked.value.fix or "")
    with pytest.raises(UserError) as up:
        control.select_up(tmp_path, None)
    assert (up.value.what, up.value.status) == ("no server is up", Exit.NO)
    assert control.select_up(tmp_path, "a").name == "a"
