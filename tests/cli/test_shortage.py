"""What a process was not given is told in the words of the host, and is no bug of ours."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.statedir.folder import StateDir
from launcher.statedir.lock import Lock

GLM5_SERVE = Path(sys.executable).with_name("glm5-serve")


def ran(*words: str, cwd: Path, before: str = "") -> tuple[int, str]:
    """A command in a shell that first lacks something; its status and what it said."""
    done = subprocess.run(
        ["sh", "-c", f'{before}; exec "$0" "$@"', GLM5_SERVE, *words],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "GLM5_SERVE_STATE_DIR": str(cwd / "state")},
        text=True,
        capture_output=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("bundle", "-p", "cpu-demo"),
        ("fetch", "zai-org/GLM-5", "--to", "model"),
        ("lint", "card.sh"),
        ("render", "./own.toml"),
        ("profiles",),
    ],
    ids=" ".join,
)
def test_a_current_folder_that_was_removed_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    status, said = ran(*words, cwd=tmp_path, before=f"cd {gone} && rmdir {gone}")

    assert status in (0, 2, 78)
    assert "bug" not in said
    assert status == 0 or "fix    " in said


@pytest.mark.parametrize("limit", [*range(4, 13)])
def test_too_few_descriptors_are_no_bug(limit: int, tmp_path: Path) -> None:
    status, said = ran("warm", "cpu-demo", cwd=tmp_path, before=f"ulimit -n {limit}")

    assert "a bug" not in said
    assert status != 70


def test_a_lock_that_cannot_be_asked_for_is_not_taken_for_free(tmp_path: Path) -> None:
    """Else who lacks descriptors says of a server that is up that it is down, or was removed."""
    lock = Lock(tmp_path / "lock")
    held = lock.take()
    assert lock.is_held()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            lock.is_held()
        seen = StateDir(tmp_path, "x").look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(held)

    assert (seen.state, "too many" in seen.reason) == ("unknown", True)
    assert not lock.is_held()


def test_what_is_short_is_named() -> None:
    from launcher.cli.refusals import of

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files") as caught:
            shutil.copyfile("/dev/null", "/dev/null/x")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert "ulimit -n" in of(caught.value).fix
    assert "memory" in of(MemoryError()).what
    assert "a bug" in of(OSError(2, "no such file", "/x")).what
