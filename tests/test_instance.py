"""What another shell believes of a state file: nothing that the kernel does not confirm."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import Exit, RefusalError
from launcher.instance import Instance, boot_id, known, start_ticks, state_home


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = Instance(tmp_path, "p")
    made.folder.mkdir()
    return made


def record(instance: Instance, **launcher: Any) -> None:
    me = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "boot_id": boot_id()} | launcher
    instance.write(
        instance.state, {"schema": 1, "profile": "p", "state": "ready", "pids": {"launcher": 1}, "launcher": me}
    )


def test_a_claimed_folder_is_held_until_the_descriptor_is_closed(instance: Instance) -> None:
    lock = instance.claim()
    assert instance.is_held()
    os.close(lock)
    assert not instance.is_held()


def test_a_second_claim_is_refused(instance: Instance) -> None:
    lock = instance.claim()
    record(instance)
    with pytest.raises(RefusalError, match="profile p is up already: ready") as refused:
        Instance(instance.folder.parent, "p").claim()
    os.close(lock)

    assert refused.value.status == Exit.NO


def test_looking_does_not_keep_a_launcher_out(instance: Instance) -> None:
    os.close(instance.claim())
    looking = os.open(instance.folder / "lock", os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [looking]).start()

    os.close(instance.claim())


def test_what_the_launcher_says_of_itself_is_believed(instance: Instance) -> None:
    lock = instance.claim()
    record(instance)
    seen = instance.look()
    os.close(lock)

    assert seen["state"] == "ready"


def test_a_state_file_without_its_launcher_is_dead(instance: Instance) -> None:
    os.close(instance.claim())
    record(instance)
    seen = instance.look()

    assert seen["state"] == "dead"
    assert seen["pids"] == {}


@pytest.mark.parametrize("other", [{"start_ticks": 1}, {"boot_id": "another boot"}, {"pid": 2**22 - 1}])
def test_a_pid_that_means_another_process_is_never_signalled(instance: Instance, other: dict[str, Any]) -> None:
    lock = instance.claim()
    record(instance, **other)
    state, signalled = instance.look()["state"], instance.signal(signal.SIGTERM)
    os.close(lock)

    assert state == "starting"  # somebody holds the folder and has not said who yet
    assert signalled is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"schema": 1}', '{"schema": 1, "launcher": {"pid": "x"}}', "\0\xff"]
)
def test_a_file_that_is_not_ours_is_said_to_be_foreign(instance: Instance, text: str) -> None:
    instance.state.write_text(text)

    assert instance.look()["state"] == "unknown"
    assert "was not written by glm5-serve" in instance.look()["reason"]


def test_another_schema_is_not_guessed_at(instance: Instance) -> None:
    instance.state.write_text('{"schema": 2}')

    assert "has schema 2, this glm5-serve reads 1" in instance.look()["reason"]


def test_a_state_file_is_replaced_whole_or_not_at_all(instance: Instance) -> None:
    record(instance)
    before = instance.state.read_text()
    with pytest.raises(TypeError):
        instance.write(instance.state, {"cannot be json": object()})

    assert instance.state.read_text() == before
    assert [p.name for p in instance.folder.iterdir()] == ["state.json"]


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("a file in its place")
    with pytest.raises(RefusalError, match="cannot write the state folder") as refused:
        Instance(tmp_path, "p").claim()

    assert refused.value.status == Exit.CONFIG


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "a b"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusalError, match="cannot name a folder"):
        Instance(tmp_path, name)


def test_instances_that_are_or_were_up_are_found(tmp_path: Path) -> None:
    for name in ("one", "refused"):
        os.close(Instance(tmp_path, name).claim())
    record(Instance(tmp_path, "one"))
    (tmp_path / "stray").mkdir()
    held = Instance(tmp_path, "young").claim()

    assert [instance.name for instance in known(tmp_path)] == ["one", "young"]
    os.close(held)
    assert known(tmp_path / "nowhere") == []


def test_the_state_home_is_where_it_is_said() -> None:
    assert state_home({"GLM5_SERVE_STATE_DIR": "/a", "STATE_DIRECTORY": "/b"}) == Path("/a")
    assert state_home({"STATE_DIRECTORY": "/b"}) == Path("/b")
    if os.geteuid() == 0:
        assert state_home({"HOME": "/root"}) == Path("/var/lib/glm5-serve")
