"""The name of an instance: one process of its user holds it, whatever becomes of the folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import PATIENCE, next_line, running, until

from launcher.errors import Exit, UserError
from launcher.statedir import namelock
from launcher.statedir.folder import StateDir

HOLD = """
import sys
from pathlib import Path
from launcher.statedir import namelock
from launcher.statedir.folder import StateDir
namelock.BACKLOG = 8
held = StateDir(Path(sys.argv[1]), "p").claim()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that claimed the instance `p`."""
    command = (sys.executable, "-c", HOLD, str(tmp_path), "supervise", str(tmp_path / "p"))
    with running(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        next_line(process)
        yield process


def test_a_removed_folder_frees_no_instance(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    shutil.rmtree(tmp_path / "p")
    with pytest.raises(UserError) as refused:
        StateDir(tmp_path, "p").claim()

    assert refused.value.status == Exit.NO
    assert f"p is already up: stopped, launcher pid {holder.pid}" in refused.value.what
    assert "although its state folder was removed" in refused.value.what
    assert not (tmp_path / "p").exists()


def test_a_folder_by_another_path_is_the_same(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    shutil.rmtree(tmp_path / "p")

    assert namelock.holder(tmp_path / "link" / "p") == holder.pid


def test_a_name_is_free_when_its_holder_is_dead(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    holder.kill()
    holder.wait(PATIENCE)

    assert namelock.holder(tmp_path / "p") is None
    StateDir(tmp_path, "p").claim().release()


def test_a_launcher_that_makes_its_folder_anew_keeps_its_name(tmp_path: Path) -> None:
    instance = StateDir(tmp_path, "p")
    first = instance.claim()
    shutil.rmtree(instance.folder)
    assert not instance.lock.is_on(first.lock)
    second = instance.claim()

    assert instance.lock.is_on(second.lock)
    assert second.name is None
    assert namelock.holder(instance.folder) == os.getpid()
    for claim in (first, second):
        claim.release()


def test_what_is_handed_on_is_its_heirs(tmp_path: Path) -> None:
    instance = StateDir(tmp_path, "p")
    claim = instance.claim()
    pass_on = partial(namelock.pass_on, claim.name)
    command = (sys.executable, "-c", "input()")
    with running(
        *command, stdin=subprocess.PIPE, pass_fds=claim.descriptors, preexec_fn=pass_on
    ) as heir:
        claim.release()
        assert namelock.holder(instance.folder) == heir.pid
        assert instance.is_held()

    assert namelock.holder(instance.folder) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_who_squats_on_a_name_keeps_nobody_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(namelock._name(tmp_path / "p"))
        os.seteuid(65534)
        try:
            squatter.listen(0)
        finally:
            os.seteuid(0)
        assert namelock.holder(tmp_path / "p") is None
        claim = StateDir(tmp_path, "p").claim()
        claim.release()

    assert claim.name is None


def test_a_queue_that_somebody_filled_hides_no_launcher(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    shutil.rmtree(tmp_path / "p")
    asking = [socket.socket(socket.AF_UNIX)]
    asking[0].setblocking(False)
    while asking[-1].connect_ex(namelock._name(tmp_path / "p")) == 0:
        asking.append(socket.socket(socket.AF_UNIX))
        asking[-1].setblocking(False)
    try:
        assert namelock.holder(tmp_path / "p") == holder.pid, "by its command"
    finally:
        for each in asking:
            each.close()


def test_names_differ_by_folder(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    StateDir(tmp_path, "q").claim().release()
    # Who looks at this process's descriptors (/proc/PID/fd) holds one for that instant.
    until(lambda: namelock.holder(tmp_path / "q") is None, "its name is free")
    assert namelock.holder(tmp_path / "p") == holder.pid
