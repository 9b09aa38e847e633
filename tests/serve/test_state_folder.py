"""The state folder of a server that is up, with something else in its place: nothing is written,
moved or removed there, the server serves on, and what is so is said.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import World, until

from launcher.files import guarded
from launcher.files.rotation import rotate

FILES = (
    *("lock", "plan.json", "state.json", "events.jsonl", "events.jsonl.1", "server.log"),
    *("server.log.1", "launcher.log", "readings.json", "starts.json", "config.yaml"),
    *("stacks-1.txt", "stacks-2.txt", ".probe"),
)


@pytest.fixture
def elsewhere(world: World) -> Path:
    """A folder of other people's, with files of all names that ours has."""
    made = world.folder / "elsewhere"
    made.mkdir()
    for name in FILES:
        (made / name).write_text("precious")
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def up(world: World) -> tuple[psutil.Process, Path]:
    """The launcher of a server with a key, and where its folder was moved to."""
    key = world.folder / "key"
    key.write_text("a-key-of-ours")
    key.chmod(0o600)
    done = world.run("up", "-p", "stub", "--api-key-file", str(key), "--detach")
    assert done.returncode == 0, done.stderr
    launcher = psutil.Process(world.status()["pids"]["launcher"])
    return launcher, world.instance.rename(world.folder / "moved")


def server_of(launcher: psutil.Process) -> psutil.Process | None:
    for child in launcher.children(recursive=True):
        try:
            if "launch_server" in " ".join(child.cmdline()[:3]):
                return child
        except psutil.Error:
            continue
    return None


PLACED: dict[str, Callable[[Path, Path], object]] = {
    "a link to its own files": lambda there, _: there.symlink_to(there.parent.parent / "moved"),
    "a link to others' files": lambda there, elsewhere: there.symlink_to(elsewhere),
    "a link to nothing": lambda there, _: there.symlink_to("nothing"),
    "a file": lambda there, _: there.write_text("x"),
}


@pytest.mark.parametrize("placed", PLACED.values(), ids=[*PLACED])
def test_nothing_is_written_through_what_lies_there(
    world: World, elsewhere: Path, placed: Callable[[Path, Path], object]
) -> None:
    launcher, moved = up(world)
    before = content(elsewhere)
    placed(world.instance, elsewhere)

    first = until(lambda: server_of(launcher), "it serves")
    first.send_signal(signal.SIGKILL)  # its death is told, and the next launch lays the key
    said = until(lambda: "cannot launch" in (moved / "launcher.log").read_text(), "it is told")

    assert said
    assert launcher.is_running(), "it is no reason to end"
    status = world.run("status", "-p", "stub")
    told = " ".join((status.stdout + status.stderr).split())
    assert status.returncode in (1, 78)
    assert f"launcher (pid {launcher.pid}) goes on" in told
    assert world.run("up", "-p", "stub", "-d").returncode != 0, "there is one already"
    for words in (("logs", "-n", "1"), ("events",), ("down",), ("restart",), ("down", "--now")):
        world.run(words[0], "-p", "stub", *words[1:])
    assert content(elsewhere) == before
    # Once it is gone, all is as it was: the launcher makes its folder again, or is told to end.
    world.instance.unlink()
    until(lambda: world.run("down", "-p", "stub").returncode == 0, "it is down")
    until(lambda: not launcher.is_running(), "its launcher is gone")
    assert content(elsewhere) == before


def test_with_its_folder_back_a_server_is_launched_again(world: World, elsewhere: Path) -> None:
    launcher, moved = up(world)
    world.instance.symlink_to(elsewhere)
    until(lambda: server_of(launcher), "it serves").kill()
    until(lambda: "cannot launch" in (moved / "launcher.log").read_text(), "it is told")

    world.instance.unlink()
    moved.rename(world.instance)

    until(lambda: world.status()["run"] > 1, "its next launch is told")
    assert world.until_state("ready")["pids"]["launcher"] == launcher.pid


def test_files_are_moved_put_and_removed_in_no_folder_behind_a_link(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    (there / "x").write_text("precious")
    link.symlink_to(there)
    act: list[Callable[[], object]] = [
        lambda: rotate(link / "x", 2),
        lambda: guarded.put(link / "x", b"other"),
        lambda: guarded.remove(link / "x"),
        lambda: guarded.replace(link / "x", b"other"),
        lambda: guarded.opened(link / "x", guarded.APPEND),
    ]

    for one in act:
        with pytest.raises(OSError, match="is a symlink, wanted a folder"):
            one()

    assert content(there) == {"x": b"precious"}
    guarded.put(there / "x", b"ours")
    assert (content(there), (there / "x").stat().st_mode & 0o777) == ({"x": b"ours"}, 0o600)
    guarded.remove(there / "x")
    guarded.remove(there / "x")
    assert content(there) == {}


def test_the_reaper_removes_no_file_behind_a_link(tmp_path: Path) -> None:
    from launcher.serve import reaper

    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    (there / "config.yaml").write_text("precious")
    link.symlink_to(there)

    with pytest.raises(OSError, match="Not a directory"):
        reaper.remove(str(link / "config.yaml"))
    assert content(there)
    reaper.remove(str(there / "config.yaml"))
    assert not content(there)
