"""Whose folder a launcher uses: its own, that nobody else can write or replace; and what may lie
there.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import Exit, UserError
from launcher.files import guarded
from launcher.files.ownership import require_private, user
from launcher.statedir.events import Event
from launcher.statedir.folder import StateDir

OTHER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
FILES = (
    "lock",
    "state.json",
    "plan.json",
    "events.jsonl",
    "readings.json",
    "server.log",
    "launcher.log",
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of this user's below one that everybody may write, as /tmp is."""
    with tempfile.TemporaryDirectory(prefix="glm5-home-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def refusal(home: Path) -> str:
    """What `up` says to a state home. It has left nothing open, and written nothing anywhere."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UserError) as refused:
        StateDir(home, "p").claim()
    assert refused.value.status == Exit.CONFIG
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    return f"{refused.value.what}\n{refused.value.fix}"


def test_a_folder_of_ones_own_is_taken_wherever_it_lies(home: Path) -> None:
    StateDir(home / "not/yet/there", "p").claim().release()
    (home / "link").symlink_to(home / "not")
    StateDir(home / "link/yet/there", "p").claim().release()

    assert (home / "not/yet/there/p").stat().st_mode & 0o777 == 0o700
    assert (home / "not/yet/there/p/lock").stat().st_mode & 0o777 == 0o600


@as_root
def test_a_folder_of_another_user_is_refused_with_owner_and_mode(home: Path) -> None:
    (home / "p").mkdir(mode=0o700)
    os.chown(home / "p", OTHER, OTHER)
    said = refusal(home)

    assert f"{home}/p is owned by {user(OTHER)}, mode drwx------, and this is root (uid 0)" in said
    assert "chown -R" in said
    assert "GLM5_SERVE_STATE_DIR" in said
    assert [*(home / "p").iterdir()] == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o703, 0o1777])
def test_a_folder_that_others_may_write_is_refused(home: Path, mode: int) -> None:
    (home / "p").mkdir()
    (home / "p").chmod(mode)
    said = refusal(home)

    assert (
        f"others may write the state folder {home}/p: owned by {user(os.geteuid())}, mode drwx"
        in said
    )
    assert f"`chmod 700 {home}/p`" in said
    assert [*(home / "p").iterdir()] == []


def test_a_folder_that_others_may_read_is_fine(home: Path) -> None:
    (home / "p").mkdir()
    (home / "p").chmod(0o755)
    StateDir(home, "p").claim().release()


def test_a_folder_that_is_a_link_is_refused(home: Path) -> None:
    (home / "elsewhere").mkdir(mode=0o700)
    (home / "p").symlink_to(home / "elsewhere")

    assert f"the state folder {home}/p is a symlink, wanted a folder" in refusal(home)
    assert [*(home / "elsewhere").iterdir()] == []


def test_a_folder_that_others_may_replace_is_refused(home: Path) -> None:
    (home / "open/mine").mkdir(parents=True)
    (home / "open").chmod(0o777)
    said = refusal(home / "open/mine")

    assert f"lies below {home}/open, where others may replace it: owned by " in said
    assert f"`chmod go-w {home}/open`" in said


def test_a_link_in_a_place_that_others_may_write_is_refused(home: Path) -> None:
    """The folder behind it is sound, and may be another one the next time."""
    (home / "open").mkdir()
    (home / "open").chmod(0o777)
    (home / "sound").mkdir()
    (home / "open/link").symlink_to(home / "sound")

    assert f"lies below {home}/open" in refusal(home / "open/link")


@as_root
def test_a_place_of_another_user_is_refused(home: Path) -> None:
    (home / "his/mine").mkdir(parents=True)
    os.chown(home / "his", OTHER, OTHER)

    assert f"lies below {home}/his, where others may replace it: owned by {user(OTHER)}" in refusal(
        home / "his/mine"
    )


@as_root
def test_a_group_of_which_nobody_else_is_may_write_above(home: Path) -> None:
    """Many distributions give each user a group of his own, and umask 002."""
    (home / "state").mkdir()
    (home / "state").chmod(0o775)
    os.chown(home / "state", 0, 4321)
    StateDir(home / "state", "p").claim().release()
    os.chown(home / "state", 0, OTHER)

    assert "lies below" in refusal(home / "state")


def make(kind: str, path: Path, target: Path) -> None:
    match kind:
        case "link":
            path.symlink_to(target)
        case "dangling link":
            path.symlink_to(target.with_name("not there"))
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "folder", "socket"])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_of_ours_is_refused_and_not_touched(
    home: Path, name: str, kind: str
) -> None:
    (home / "p").mkdir(mode=0o700)
    target = home / "target"
    target.write_text("precious")
    make(kind, home / "p" / name, target)
    said = refusal(home)

    what = {"dangling link": "symlink", "link": "symlink"}.get(kind, kind)
    assert f"{home}/p/{name} is a {what}, wanted a regular file" in said
    assert target.read_text() == "precious"
    assert not (home / "not there").exists()


@pytest.mark.parametrize("kind", ["link", "dangling link", "FIFO", "folder", "socket"])
def test_nothing_is_written_through_what_came_later(home: Path, kind: str) -> None:
    """A launcher whose folder changes under it: told, and nothing waits."""
    instance = StateDir(home, "p")
    claim = instance.claim()
    target = home / "target"
    target.write_text("precious")
    for path in (instance.events, instance.state, instance.readings):
        make(kind, path, target)
    with pytest.raises(OSError, match=r"wanted a regular file|No such device"):
        instance.tell(Event("x"))
    for path in (instance.state, instance.readings):
        if kind != "folder":
            instance.write(path, {"it": "takes the place of what lay there"})
            assert path.is_file()
    claim.release()

    assert target.read_text() == "precious"
    assert not (home / "not there").exists()


@pytest.mark.parametrize("kind", ["link", "FIFO", "folder", "socket"])
def test_a_reader_says_what_it_found_and_does_not_wait(home: Path, kind: str) -> None:
    instance = StateDir(home, "p")
    instance.claim().release()
    target = home / "target"
    target.write_text("precious")
    make(kind, instance.state, target)
    seen = instance.look()

    assert seen.state == "unknown"
    assert seen.reason.startswith(f"{instance.state} is a ")
    assert "precious" not in str(seen)


def test_a_state_without_end_is_not_read(home: Path) -> None:
    instance = StateDir(home, "p")
    instance.claim().release()
    with instance.state.open("wb") as file:
        file.truncate(1 << 40)

    assert instance.look().reason == f"{instance.state} has more than 1 MiB"


def test_a_file_that_a_killed_writer_left_is_in_nobodys_way(home: Path) -> None:
    target = home / "target"
    target.write_text("precious")
    (home / f".state.json.{os.getpid()}").symlink_to(target)
    guarded.replace(home / "state.json", b"new")

    assert (home / "state.json").read_text() == "new"
    assert target.read_text() == "precious"


def test_who_may_look_is_not_asked_of_a_folder_that_is_not_there(home: Path) -> None:
    with pytest.raises(FileNotFoundError):
        require_private(home / "nothing")
