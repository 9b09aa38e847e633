"""The systemd units of a profile: put in place, and taken away again."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from launcher.errors import Exit, UserError, in_words
from launcher.files import programs
from launcher.files.placing import place
from launcher.operate import unit_files, whose
from launcher.operate.unit_files import DROP_INS, GATEWAY, HOST, METRICS, SERVICE, USER, Wish
from launcher.redact.keys import read_key

NO_COMMANDS = f"no {HOST}: doctor finds no setting here that is to be made at each boot"


def install(wish: Wish, host_commands: Sequence[str], tell: Callable[[str], None]) -> None:
    """Write the units and have systemd know them; nothing is started. Raises UserError."""
    _require_reach(wish)
    whose.require_not_by_hand(wish)
    made = unit_files.files(wish, host_commands)
    for path in made:
        _require_place(path, wish.root)
    for path, body in made.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            place(path, body)
        except OSError as error:
            fix = "run this as root, or print it: `glm5-serve systemd print`"
            raise UserError(f"cannot write {path}: {in_words(error)}", fix=fix) from None
        tell(f"wrote {path}")
    for path in unit_files.all_files(wish, host_commands).keys() - made.keys():
        if _is_file(path):  # of an installation by pip, and in the package's way
            path.unlink()
            tell(f"removed {path}: the package has it")
    for line in unit_files.remarks(wish):
        tell(line)
    if wish.root == Path("/"):
        if wish.user == USER:
            _run("systemd-sysusers")
        _run("systemctl", "daemon-reload")
        units = [
            wish.instance,
            *([METRICS] if wish.metrics else []),
            *([HOST] if host_commands else []),
        ]
        _run("systemctl", "enable", *units)
        tell(
            f"enabled {', '.join(units)}: they start at the next boot, or now by `systemctl start"
            f" {wish.instance}`"
        )


def _require_place(path: Path, root: Path) -> None:
    """Where a unit shall stand is nothing, or a unit: a link may be somebody's mask, or lead out of
    the root.
    """
    if not _is_file(path) and os.path.lexists(path):
        fix = f"if it is a mask, `systemctl unmask {path.name}`; else move it away"
        raise UserError(f"{path} is there, and no regular file", fix=fix)
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{path} lies outside of {root}, by a link", fix=f"move the link in {root} away"
        )


def _is_file(path: Path) -> bool:
    """Whether there is a regular file; a link to one is none."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def uninstall(wish: Wish, tell: Callable[[str], None]) -> None:
    """Stop and disable the unit of a profile; the shared files go with the last one.

    Raises UserError.
    """
    if wish.root == Path("/"):
        _run("systemctl", "disable", "--now", wish.instance)
    gone = [wish.drop_ins / f"{name}.conf" for name in DROP_INS]
    if not _others(wish):
        if wish.root == Path("/"):
            _run("systemctl", "disable", "--now", METRICS, HOST, required=False)
        gone += [
            *(wish.units / name for name in (SERVICE, GATEWAY, METRICS, HOST)),
            wish.root / "etc/sysusers.d/glm5-serve.conf",
        ]
    if not any(map(os.path.lexists, gone)):
        tell(f"{wish.instance} is not installed: there is nothing to remove")
    try:
        for path in gone:
            if _is_file(path):
                path.unlink()
                tell(f"removed {path}")
            elif os.path.lexists(path):
                tell(f"left {path}: it is no regular file, and so not of `install`")
    except OSError as error:
        raise UserError(
            f"cannot remove {error.filename}: {in_words(error)}", fix="run this as root"
        ) from None
    with contextlib.suppress(OSError):  # what somebody else put there stays
        wish.drop_ins.rmdir()
    if wish.root == Path("/"):
        _run("systemctl", "daemon-reload")


def _others(wish: Wish) -> set[str]:
    """Units of other profiles and gateways: those that were installed, and those that somebody
    enabled by hand.
    """
    installed = {path.parent.stem for path in wish.units.glob("glm5-serve*@*.service.d/user.conf")}
    enabled = {path.name for path in wish.units.glob("*.wants/glm5-serve*@*.service")}
    return (installed | enabled) - {wish.instance}


def _run(*words: str, required: bool = True) -> None:
    try:
        command = [programs.find(words[0], os.environ), *words[1:]]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired, programs.NoProgramError) as error:
        raise UserError(f"{' '.join(words)}: {error}", fix="is this a host with systemd?") from None
    if required and done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise UserError(
            f"{' '.join(words)}: {said[0]}", fix="run this as root on a host with systemd"
        )


def _require_reach(wish: Wish) -> None:
    """A user that is not root cannot run a command, or read a key, below a folder that is closed to
    others.
    """
    if wish.api_key_file and not wish.api_key_file.is_file():
        fix = "put the key alone on one line of it, mode 0600, owned by root: systemd hands it on"
        raise UserError(f"there is no key file {wish.api_key_file}", fix=fix)
    if wish.api_key_file and wish.root == Path("/"):
        read_key(wish.api_key_file)  # a file that the unit would refuse, before anything is written
    if wish.user == "root":
        return
    if wish.root == Path("/") and wish.user != USER and not _exists(wish.user):
        fix = f"`useradd --system {wish.user}`, or name one that there is: --user NAME"
        raise UserError(f"there is no user {wish.user} on this host", fix=fix)
    command = Path(unit_files.command())
    for program in (command, command.resolve(), Path(sys.executable).resolve()):
        if closed := next(_closed(program), None):
            raise UserError(
                f"user {wish.user} cannot reach {program}: {closed} is closed to others",
                fix=(
                    "install glm5-serve below /opt or /usr/local, or name a user that may: --user"
                    " NAME"
                ),
                status=Exit.CONFIG,
            )


def _exists(user: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


def _closed(path: Path) -> Iterator[Path]:
    for folder in reversed(path.parents):
        if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
            yield folder


def host_commands() -> list[str]:
    """What this host needs at each boot, by doctor's findings: redirect bits of bridges, kernel
    settings.
    """
    from launcher.doctor.checks import judge
    from launcher.doctor.remedies import boot_commands
    from launcher.doctor.run import Source, examine

    seen = examine(None, (), Source(), os.environ)
    return boot_commands(seen.host, judge(seen.host, seen.plan))
