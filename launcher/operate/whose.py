"""Whose an instance is, and who may do something about it: asked here by every command.

Three users may differ: who asks, who owns the state folder, and as whom the launcher runs that
serves from it. Of one that this user has not, another one may have the name; and a folder may have
been given away (`chown`, or a unit's StateDirectory=) while its launcher lives.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher import folding
from launcher.errors import Exit, UserError
from launcher.files.ownership import user
from launcher.operate.unit_files import SERVED, Wish
from launcher.statedir import home as home_of
from launcher.statedir import namelock
from launcher.statedir.folder import StateDir
from launcher.statedir.holder import Held, holder
from launcher.statedir.processes import launchers


class Elsewhere:
    """What another user, or another state folder, has of a name."""

    def __init__(self, home: Path, what: str, *, is_roots: bool, is_own: bool = False) -> None:
        self.home, self.what = home, what
        self._is_roots = is_roots  # root finds it without being told where
        self._is_own = is_own  # its owner needs no root

    def command(self, *words: str) -> str:
        """A command of ours for it, as root unless it is this user's own."""
        place = () if self._is_roots else ("env", f"GLM5_SERVE_STATE_DIR={self.home}")
        root = () if self._is_own else ("sudo",)
        return f"`{shlex.join([*root, *place, 'glm5-serve', *words])}`"


def elsewhere(instance: StateDir) -> Elsewhere | None:
    """What there is of a name of which this user has nothing in a place of his own: the one of the
    host's units, else one that serves; None for a place that was named.
    """
    own = home_of.usual(os.environ)
    if instance.folder.parent != own or os.path.lexists(instance.folder):
        return None
    if namelock.holder(instance.folder) is not None:  # its folder was removed
        return None
    theirs = home_of.SYSTEM / instance.name
    if own != home_of.SYSTEM:
        try:
            uid = theirs.lstat().st_uid
        except OSError:
            pass
        else:
            if uid == os.geteuid():
                what = f"not here but in {theirs}, which is this user's own"
                return Elsewhere(home_of.SYSTEM, what, is_roots=False, is_own=True)
            what = f"not started by this user; {theirs} is owned by {user(uid)}"
            return Elsewhere(home_of.SYSTEM, what, is_roots=True)
    for pid, uid, folder in launchers():
        if folder.name == instance.name and folder != instance.folder:
            what = f"not started here; {folder} is served by {user(uid)}, launcher pid {pid}"
            return Elsewhere(folder.parent, what, is_roots=False)
    return None


def require_own(instance: StateDir, command: str = "") -> None:
    """Raise UserError for one that this user never started, and that another one has: he is told
    whose it is, and not to start another one beside it. `command`: of ours, that he gave.
    """
    if theirs := elsewhere(instance):
        words = [command] if command else sys.argv[1:]
        named = () if instance.name in words else ("--profile", instance.name)
        raise UserError(f"{instance.name}: {theirs.what}", fix=theirs.command(*words, *named))


def astray(instance: StateDir) -> Held | None:
    """The launcher of an instance whose folder is another user's than the launcher is: the folder
    was given away while it serves. Nothing that lies there is to be believed then.
    """
    try:
        seen = instance.folder.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(seen.st_mode) or not instance.is_held():
        return None
    held = holder(instance.folder, instance.lock.path)
    return held if held and held.uid != seen.st_uid else None


def in_words(instance: StateDir, held: Held) -> str:
    """What is the case with a launcher whose folder was given away."""
    owner = user(instance.folder.lstat().st_uid)
    return (
        f"its launcher (pid {held.pid}) runs as {user(held.uid)}, and its state folder"
        f" {instance.folder} was given to {owner} meanwhile"
    )


def ends_it(instance: StateDir, held: Held) -> str:
    """The command that ends such a launcher; as root, where it is another user's."""
    sudo = "" if os.geteuid() in (0, held.uid) else "sudo "
    return f"`{sudo}glm5-serve down --profile {instance.name}`"


def require_together(instance: StateDir) -> None:
    """Raise UserError for a launcher whose folder was given away: it can only be ended."""
    if held := astray(instance):
        raise UserError(
            f"{instance.name} is up, but {in_words(instance, held)}",
            fix=f"{ends_it(instance, held)} ends it; then start it again",
        )


def require_startable(instance: StateDir, environ: Mapping[str, str]) -> None:
    """Raise UserError where a start would take what somebody else serves, or systemd is to start:
    before anything is claimed. What no longer serves, and is another user's, the claim refuses.
    """
    require_together(instance)
    try:
        seen = instance.folder.lstat()
    except OSError:
        seen = None
    unit = None if is_managed(environ) else unit_of(instance)
    if seen and stat.S_ISDIR(seen.st_mode) and seen.st_uid != os.geteuid():
        _require_free(instance, user(seen.st_uid), unit)
    elif unit and os.geteuid() == 0 and not instance.is_held():
        folding.tell(
            f"note: {unit} is there for {instance.name}, too, and will not start while this is up:"
            f" `glm5-serve down --profile {instance.name}` before `systemctl start {unit}`",
            sys.stderr,
        )


def _require_free(instance: StateDir, owner: str, unit: str | None) -> None:
    """Raise UserError for the folder of another user's instance, unless it is known to be down."""
    held, name = holder(instance.folder, instance.lock.path), instance.name
    whose = f"its state folder {instance.folder} is owned by {owner}"
    sudo = "" if os.geteuid() == 0 else "sudo "
    unit = (_unit_around(instance, held) if held else None) or unit
    if held or instance.is_held():
        pid = f", launcher pid {held.pid}" if held else ""
        again = f"`{sudo}systemctl restart {unit}`" if unit else ""
        again = again or f"`{sudo}glm5-serve restart --profile {name}`"
        raise UserError(
            f"{name} is already up{pid}, and {whose}",
            fix=f"{again} starts it again, `{sudo}glm5-serve down --profile {name}` stops it",
        )
    if os.geteuid() and not os.access(instance.folder, os.X_OK):
        raise UserError(
            f"whether {name} is up is closed to {user(os.geteuid())}: {whose}",
            fix=f"`sudo glm5-serve status --profile {name}` shows it; or choose another place with"
            " GLM5_SERVE_STATE_DIR",
        )
    if unit:
        what = f"{name} is not up, and is systemd's to start: {whose}"
        raise UserError(what, fix=f"`{sudo}systemctl start {unit}`")


def _unit_around(instance: StateDir, held: Held) -> str | None:
    """The unit that a launcher runs in, whoever made that."""
    wishes = (Wish(instance.name), Wish(instance.name, gateway=True))
    return next((one.instance for one in wishes if one.instance in _groups(held.pid)), None)


def unit_of(instance: StateDir) -> str | None:
    """The unit that starts an instance, where one was installed for it."""
    for wish in (Wish(instance.name), Wish(instance.name, gateway=True)):
        if instance.folder.parent == SERVED and wish.drop_ins.exists():
            return wish.instance
    return None


def is_managed(environ: Mapping[str, str]) -> bool:
    """Whether this process is what a service manager started: nobody reads what it prints."""
    by_systemd = environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
    return by_systemd or "NOTIFY_SOCKET" in environ


def require_not_by_hand(wish: Wish) -> None:
    """Raise UserError where the instance of a unit is up, and not by that unit: the unit's start
    would give its state folder away (systemd.exec, StateDirectory=).
    """
    instance = StateDir(SERVED, wish.profile)
    if wish.root != Path("/") or not instance.is_held():
        return
    held = holder(instance.folder, instance.lock.path)
    if held and wish.instance in _groups(held.pid):
        return
    by = f", as {user(held.uid)} (launcher pid {held.pid})" if held else ""
    raise UserError(
        f"{instance.name} is up, started by hand{by}, and {wish.instance} would take its state"
        f" folder {instance.folder} from it",
        fix=f"`glm5-serve down --profile {instance.name}`, then this again",
        status=Exit.NO,
    )


def _groups(pid: int) -> tuple[str, ...]:
    """The control groups that a process is in, each by its own name."""
    try:
        return tuple(Path(f"/proc/{pid}/cgroup").read_text().replace("\n", "/").split("/"))
    except OSError:
        return ()
