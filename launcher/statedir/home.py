"""The state home, and which instances there are in it."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import UserError, in_words
from launcher.files import places
from launcher.paths import require_readable
from launcher.statedir import namelock
from launcher.statedir.folder import NAME, StateDir
from launcher.statedir.lock import OURS

SYSTEM = Path("/var/lib/glm5-serve")  # of root, and of units
NAMING = ("GLM5_SERVE_STATE_DIR", "STATE_DIRECTORY")  # who names it comes first


def state_home(environ: Mapping[str, str]) -> Path:
    """Where instances keep their files.

    `$GLM5_SERVE_STATE_DIR`; under systemd `$STATE_DIRECTORY`; `/var/lib/glm5-serve` for root, so
    that root's shell finds what the service runs; else `$XDG_STATE_HOME/glm5-serve`. Raises
    UserError where that can be no folder.
    """
    by, folder = _named(environ)
    require_readable(by, str(folder))
    if not folder.is_absolute():
        what = f"{by}={folder} is another folder wherever it is said, wanted one from / on"
        raise UserError(what, fix=f"{by}={shlex.quote(str(folder.absolute()))}")
    if why := places.obstacle(folder, writing=False):
        what = f"no instance can be kept where {by} says: it names {why}"
        raise UserError(what, fix="GLM5_SERVE_STATE_DIR=DIR names a folder for them")
    return folder


def usual(environ: Mapping[str, str]) -> Path:
    """The place that is this user's own, whatever variables name another one."""
    return _named({name: said for name, said in environ.items() if name not in NAMING})[1]


def _named(environ: Mapping[str, str]) -> tuple[str, Path]:
    """The state home, and what says so."""
    for by in NAMING:
        if said := environ.get(by):
            return by, Path(said)
    if os.geteuid() == 0:
        return "root's own place", SYSTEM
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if base.is_absolute():  # a relative one is none, says the specification
        return "XDG_STATE_HOME", base / "glm5-serve"
    owner = Path(environ.get("HOME", ""))
    base = (owner if owner.is_absolute() else Path("/")) / ".local/state"
    return "HOME", base / "glm5-serve"


def listed(home: Path) -> list[StateDir]:
    """The same as `known`, for whoever wants to hear of one: a folder that cannot be listed is not
    an empty one. Raises UserError.
    """
    try:
        next(home.iterdir(), None)
    except (FileNotFoundError, NotADirectoryError):
        return []  # nothing was up yet
    except OSError as error:
        fix = (
            "run this as the user who serves, or as root; GLM5_SERVE_STATE_DIR names another folder"
        )
        what = f"cannot read the state folder {home}: {in_words(error)}"
        raise UserError(what, fix=fix) from None
    return known(home)


def known(home: Path) -> list[StateDir]:
    """Every instance that is or was up from this state home, those of other users too.

    A profile that was refused leaves only a lock, and whatever else lies there is not ours.
    """
    with contextlib.suppress(OSError):
        names = sorted(path.name for path in home.iterdir() if NAME.fullmatch(path.name))
        return [
            instance for instance in (StateDir(home, name) for name in names) if _was_up(instance)
        ]
    return []


def _was_up(instance: StateDir) -> bool:
    """Whether there is something to tell; of a folder that is closed to us, that it is closed."""
    try:
        if not stat.S_ISDIR(instance.folder.lstat().st_mode):
            return namelock.holder(instance.folder) is not None  # somebody put it in its place
        return _is_there(instance.state) or instance.is_held()
    except OSError as error:  # it is closed to us, or we cannot ask
        return isinstance(error, PermissionError) or error.errno in OURS


def _is_there(path: Path) -> bool:
    """Whether anything has that name. Raises PermissionError where it cannot be told."""
    with contextlib.suppress(FileNotFoundError):
        return bool(path.lstat())
    return False
