"""Root becomes the owner of an instance before it reads anything there: the folder is that user's
word.

A plan names an interpreter, a key file and a port, a state names processes, and any name may be a
link. For root to believe them would be a way for a service's user to become root; that user himself
may do all of it anyway.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import shlex
import signal
import stat
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from launcher.errors import UserError, in_words
from launcher.files.ownership import described, require_private, require_steady, user
from launcher.operate import whose
from launcher.statedir import namelock
from launcher.statedir.folder import StateDir

KEPT = {"PATH", "LANG", "TERM", "NO_COLOR", "GLM5_SERVE_TRACEBACK"}  # and LC_*
NOBODY = 65534  # a group for who is in no file of users
UNIT = Path("/etc/systemd/system/glm5-serve@.service")
_PR_SET_DUMPABLE = 4
_KEYCTL = {"x86_64": 250, "aarch64": 219}  # its system call by machine
_JOIN_SESSION_KEYRING = 1


@dataclass(frozen=True)
class Owner:
    """The user that an instance's folder is of."""

    uid: int
    gid: int
    home: str
    name: str | None

    @classmethod
    def of(cls, uid: int) -> Owner:
        try:
            found = pwd.getpwuid(uid)
        except KeyError:
            return cls(uid, NOBODY, "/", None)
        return cls(uid, found.pw_gid, found.pw_dir, found.pw_name)


def enter(instance: StateDir, *, writing: bool = False, ending: bool = False) -> StateDir:
    """The instance, for this user to read, or to change (`writing`); root has become its owner, for
    good.

    Raises UserError where this user may not, and where the owner cannot do here what root asks
    for; also for a launcher whose folder was given away, which can only be ended (`ending`).
    """
    whose.require_own(instance)
    if ending and whose.astray(instance):
        return StateDir(instance.folder.parent.absolute(), instance.name)
    whose.require_together(instance)
    instance = become_owner(instance)
    try:
        owner = instance.folder.lstat().st_uid
    except PermissionError:
        raise _closed(instance) from None
    except (FileNotFoundError, NotADirectoryError):  # nothing to read
        return instance
    if os.geteuid() != owner and (writing or not os.access(instance.folder, os.R_OK | os.X_OK)):
        raise _closed(instance)
    if writing:
        require_private(instance.folder)
    return instance


def become_owner(instance: StateDir) -> StateDir:
    """The instance; if this is root, and it another user's, this is that user from now on.

    Raises UserError.
    """
    instance = StateDir(instance.folder.parent.absolute(), instance.name)
    try:
        status = instance.folder.lstat()
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            fix = "GLM5_SERVE_STATE_DIR says where it is looked for"
            raise UserError(
                f"cannot look at {instance.folder}: {in_words(error)}", fix=fix
            ) from None
        if os.geteuid() == 0:
            require_steady(instance.folder)  # or another user could put his own there now
        return instance
    if stat.S_ISLNK(status.st_mode):
        fix = f"`rm {instance.folder}` removes the link; GLM5_SERVE_STATE_DIR names another place"
        what = f"the state folder {instance.folder} is a symlink, wanted a folder"
        if pid := namelock.holder(instance.folder):
            what += f"; its launcher (pid {pid}) goes on without it"
            fix = (
                f"`rm {instance.folder}` removes the link; `glm5-serve down --profile"
                f" {instance.name}` stops it then"
            )
        raise UserError(what, fix=fix)
    if os.geteuid() == 0 and whose.astray(instance):
        return instance  # nothing there is believed, whoever reads it
    if os.geteuid() == 0 and status.st_uid != 0:
        _become(Owner.of(status.st_uid), instance)
    elif os.geteuid() == 0:
        require_private(instance.folder)  # for the same reason
    return instance


def _closed(instance: StateDir) -> UserError:
    """The refusal for a user who may not do that."""
    for path in (instance.folder, *instance.folder.parents):
        with contextlib.suppress(OSError):
            status = path.lstat()
            owner = Owner.of(status.st_uid).name or f"'#{status.st_uid}'"
            return UserError(
                f"{path} is {described(status)}: {user(os.geteuid())} may not do that to"
                f" {instance.name}",
                fix=f"`sudo -u {owner} {_again(instance, Path('glm5-serve'))}`, or run it as root",
            )
    raise AssertionError("everybody may look at /")


def _become(owner: Owner, instance: StateDir) -> None:
    environ = _environment(owner, instance, os.environ)
    _leave_terminal()
    _leave_keyring()
    try:
        os.setgroups([])
        if owner.name is not None:
            os.initgroups(owner.name, owner.gid)
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
    except OSError as error:
        raise UserError(
            f"{instance.folder} is owned by {user(owner.uid)}, and root may not become that user"
            f" here: {in_words(error)}",
            fix=f"`{_run_as(owner, instance)}`",
        ) from None
    _require_powerless(owner)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # its own processes cannot trace this one
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir("/")
    _require_reach(owner, instance)


def _environment(owner: Owner, instance: StateDir, environ: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value for name, value in environ.items() if name in KEPT or name.startswith("LC_")
    }
    return kept | {"HOME": owner.home, "GLM5_SERVE_STATE_DIR": str(instance.folder.parent)}


def _leave_terminal() -> None:
    """Without root's terminal: nothing that is started from here can type into it.

    The leader of its session cannot go without taking the terminal from everybody: then it waits
    for a child that goes, and has no other part in it.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    if os.getsid(0) == os.getpid():
        sys.stdout.flush()
        sys.stderr.flush()
        if child := os.fork():
            os.close(terminal)
            _wait_for(child)
    fcntl.ioctl(terminal, termios.TIOCNOTTY)
    os.close(terminal)


def _wait_for(child: int) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):  # the terminal sends them to both
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda sent, _: os.kill(child, sent))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)


def _leave_keyring() -> None:
    """Who has root's session keyring may use the keys in it, whoever he is."""
    if number := _KEYCTL.get(os.uname().machine):
        ctypes.CDLL(None).syscall(number, _JOIN_SESSION_KEYRING, None)


def _require_powerless(owner: Owner) -> None:
    """Raise RuntimeError unless nothing of root is left."""
    ids = (os.getresuid(), os.getresgid())
    capable = "".join(
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(("CapPrm:", "CapEff:", "CapAmb:"))
    )
    if ids != ((owner.uid,) * 3, (owner.gid,) * 3) or capable.strip("0") or _can_be_root():
        raise RuntimeError(f"root did not become {user(owner.uid)}")


def _can_be_root() -> bool:
    with contextlib.suppress(PermissionError):
        os.setuid(0)
        return True
    return False


def _require_reach(owner: Owner, instance: StateDir) -> None:
    """Raise UserError where the user cannot come to this program, or to his own folder."""
    programs = (Path(sys.executable), Path(__file__), Path(os.__file__), Path(click.__file__))
    for path in (*programs, instance.folder):
        if not os.access(path, os.R_OK):
            raise UserError(
                f"{instance.folder} is owned by {user(owner.uid)}, who cannot reach {path}:"
                f" {_obstacle(path)}",
                fix=f"`{_run_as(owner, instance)}`",
            )


def _obstacle(path: Path) -> str:
    for place in (*reversed(path.parents), *reversed(path.resolve().parents)):
        if not os.access(place, os.X_OK):
            return f"{place} is closed to others"
    return "it is closed to others"


def _run_as(owner: Owner, instance: StateDir) -> str:
    by_number = f"setpriv --reuid={owner.uid} --regid={owner.gid} --clear-groups"
    return (
        f"{f'runuser -u {owner.name} --' if owner.name else by_number}"
        f" {_again(instance, _of_service())}"
    )


def _again(instance: StateDir, command: Path) -> str:
    """The same command line for another user, who would look for the instance elsewhere by
    himself.
    """
    words = sys.argv[1:]
    named = () if instance.name in words else ("--profile", instance.name)
    return shlex.join(
        ["env", f"GLM5_SERVE_STATE_DIR={instance.folder.parent}", str(command), *words, *named]
    )


def _of_service() -> Path:
    """The command that the installed unit runs, for that user surely can."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
        return Path(shlex.split(lines[0].partition("=")[2])[0])
    return Path("glm5-serve")
