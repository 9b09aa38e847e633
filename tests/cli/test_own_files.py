"""Whatever umask it is started with, a user can read what it wrote, and no stranger can write it;
and the places where it keeps things have names that can be read.
"""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import psutil
import pytest
from conftest import GLM5_SERVE, PATIENCE, World

VARIABLES = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "GLM5_SERVE_STATE_DIR")


def umask_of(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)


@pytest.mark.parametrize(
    ("given", "kept"), [(0o777, 0o077), (0o000, 0o022), (0o002, 0o002), (0o027, 0o027)]
)
def test_files_are_their_users_whatever_the_umask_is(world: World, given: int, kept: int) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [GLM5_SERVE, *words], umask=given, env=world.environ, cwd=world.folder, timeout=PATIENCE,
            check=False, capture_output=True, text=True,
        )  # fmt: skip

    done = run("up", "-p", "stub", "--detach")
    assert done.returncode == 0, done.stderr
    assert run("bundle", "-p", "stub").returncode == 0

    launcher = psutil.Process(world.status()["pids"]["launcher"])
    masks = {umask_of(one.pid) for one in (launcher, *launcher.children(recursive=True))}
    assert masks == {kept}, "the server's own files are made by the same rule"
    assert run("down", "-p", "stub").returncode == 0
    written = [world.state, *world.state.rglob("*"), *world.folder.glob("*.tar.gz")]
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in written}
    wanted = {path: 0o700 if path.is_dir() else 0o600 for path in written}
    assert {path for path in written if modes[path] & 0o700 != wanted[path]} == set()
    assert {path for path in written if modes[path] & 0o022} == set()


@pytest.mark.parametrize("odd", ["a\nb", "a\x01b", "a\x1b[31mb", "a\tb", "a\u202eb"])
@pytest.mark.parametrize("name", VARIABLES)
def test_a_place_whose_name_cannot_be_read_is_named_by_its_variable(
    world: World, name: str, odd: str
) -> None:
    """Never as a mistake in a profile, and never as if there were no profiles."""
    environ = {name: str(world.folder / odd)}
    if name == "HOME":
        environ |= {"XDG_CONFIG_HOME": ""}

    for words in (("profiles",), ("render", "-p", "cpu-demo"), ("up", "-p", "cpu-demo"), ("fit",)):
        said = world.run(*words, **environ)

        assert said.returncode == 78, words
        assert said.stderr.startswith(f"error  {name} has a character in it that nobody would see")
        assert len(said.stderr.rstrip("\n").split("\nfix ")[0].splitlines()) == 1
        assert f"set {name} to a folder" in said.stderr


def test_what_needs_no_such_place_works_all_the_same(world: World) -> None:
    odd = str(world.folder / "a\nb")

    for words in (("--version",), ("completion", "bash"), ("checks",), ("up", "--help")):
        assert world.run(*words, HOME=odd, XDG_CACHE_HOME=odd).returncode == 0, words
    completed = world.run(
        HOME=odd,
        COMP_WORDS="glm5-serve up -p ",
        COMP_CWORD="3",
        _GLM5_SERVE_COMPLETE="bash_complete",
    )
    assert (completed.returncode, completed.stderr) == (0, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has its own place for states")
def test_a_place_that_is_not_asked_for_may_be_called_anything(world: World) -> None:
    environ = {"XDG_STATE_HOME": str(world.folder / "a\nb"), "GLM5_SERVE_STATE_DIR": ""}

    assert world.run("profiles", **environ).returncode == 0


def test_a_packaged_profile_that_is_broken_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from launcher.config.select import BROKEN, Row
    from launcher.output.profiles import _of_interest

    fits = Row("a", "packaged", "/a", False, "", True, None, "")
    broken = Row("b", "packaged", "/b", False, "?", False, BROKEN, "broken: why")
    other = Row("c", "packaged", "/c", False, "", False, "8x B200", "")

    assert _of_interest([fits, broken, other]) == [fits, broken]
