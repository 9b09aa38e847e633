"""Who could have written a file or a folder, or put another one in its place: what others may write
is not obeyed.

"Others" are all but root and whoever runs this. A group counts as others, but for one with nobody
else in it, as many distributions make it for each user.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher import printable
from launcher.errors import UserError

ELSEWHERE = "choose another place with GLM5_SERVE_STATE_DIR"
MOST_LINKS = 40  # on a way, as the kernel counts
SYSTEM_USERS = 1000  # users below are the distribution's own
BELOW = "it lies below a folder that is not safe: "


@dataclass(frozen=True)
class Doubt:
    """Why a file or a folder may hold the words of others, with owner and mode, and the command
    that ends that.
    """

    what: str
    fix: str


def of_file(path: Path) -> Doubt | None:
    """Who else may have written a file, or put another one in its place; None if nobody could.

    `path` is absolute and resolved: a link in it is one that somebody has put there since. Ask
    before you read: what nobody else may write then stays so. A folder on the way may be a shared
    one if it is sticky, as /tmp is: nobody renames there what is another's. Raises OSError for what
    is not there, or behind a closed folder.
    """
    if here := of_seen(path.lstat(), path, "", sticky_is_fine=False):
        return here
    above = (of_seen(folder.lstat(), folder, BELOW, sticky_is_fine=True) for folder in path.parents)
    return next(filter(None, above), None)


def of_program(path: Path) -> Doubt | None:
    """Who else may change what a program is: its file, its folder, and each link on the way.

    `path` is absolute. Raises OSError for what is not there.
    """
    path.lstat()
    return of_way(path, shared_is_fine=False)


def of_way(path: Path, *, shared_is_fine: bool = True) -> Doubt | None:
    """Who else may change what lies at a path: each folder and each link that leads there, and
    itself.

    `path` is absolute. Where nothing is there, who else may put it there. The folder that holds it,
    or a link to it, may be a sticky one that others write, as /tmp is, where `shared_is_fine`.
    Raises OSError for a path that leads nowhere, or behind a closed folder.
    """
    at, rest, links = Path("/"), list(path.parts[1:]), 0
    while rest:
        name = rest.pop(0)
        place = at / name if name != ".." else at.parent
        try:
            seen = place.lstat()
        except FileNotFoundError:
            return of_seen(at.lstat(), at, BELOW)
        is_held = not rest or stat.S_ISLNK(seen.st_mode)
        if is_held and not shared_is_fine and (doubt := of_seen(at.lstat(), at, BELOW)):
            return doubt
        if stat.S_ISLNK(seen.st_mode):
            if doubt := of_link(seen, place):
                return doubt
            if (links := links + 1) > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            to = place.readlink()
            at, rest = (Path("/") if to.is_absolute() else at), [*to.parts, *rest]
            rest = rest[1:] if to.is_absolute() else rest
            continue
        on_the_way = BELOW if rest else ""
        if doubt := of_seen(seen, place, on_the_way, sticky_is_fine=bool(rest)):
            return doubt
        at = place
    return None


def of_link(seen: os.stat_result, place: Path) -> Doubt | None:
    """Who else has put a link there; its own mode says nothing."""
    if _is_trusted(seen.st_uid):
        return None
    name = printable.line(str(place))
    fix = f"`chown -h {_name(os.geteuid())} {shlex.quote(name)}`"
    return Doubt(f"{name} is a link {described(seen)}", fix)


def of_current_folder() -> Doubt | None:
    """Who else may put files into the current folder, be it sticky or not; None if nobody can.

    Raises OSError.
    """
    return of_seen(Path().stat(), Path.cwd(), "", sticky_is_fine=False)


def of_seen(
    seen: os.stat_result, place: Path, on_the_way: str = "", *, sticky_is_fine: bool = False
) -> Doubt | None:
    """Who else may change a file or a folder that was looked at, as far as that one tells."""
    name = printable.line(str(place))
    who = f"{on_the_way}{name} is {described(seen)}"
    if not _is_trusted(seen.st_uid):
        return Doubt(who, f"`chown {_name(os.geteuid())} {shlex.quote(name)}`")
    if _others_write(seen, sticky_is_fine=sticky_is_fine):
        return Doubt(f"{who}: others may write there", f"`chmod go-w {shlex.quote(name)}`")
    return None


def require_private(folder: Path) -> None:
    """Raise UserError unless a folder is this user's own, and nobody else can write there or
    replace it.
    """
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        fix = f"`rm {folder}` removes the link; to keep the files on another disk, {ELSEWHERE}"
        raise UserError(f"the state folder {folder} is a symlink, wanted a folder", fix=fix)
    if status.st_uid != os.geteuid():
        raise UserError(
            f"the state folder {folder} is {described(status)}, and this is {user(os.geteuid())}",
            fix=f"run this as its owner, give it to this user (`chown -R`), or {ELSEWHERE}",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UserError(
            f"others may write the state folder {folder}: {described(status)}",
            fix=(
                f"look whether all that lies there is yours, then `chmod 700 {folder}`; or"
                f" {ELSEWHERE}"
            ),
        )
    require_steady(folder)


def require_steady(folder: Path) -> None:
    """Raise UserError unless nobody else can put another folder in the place of one, be there
    one or not.
    """
    if loose := next(_loose(folder), None):
        seen = loose.stat()
        mend = "chmod go-w" if _is_trusted(seen.st_uid) else "chown root"
        raise UserError(
            f"the state folder {folder} lies below {loose}, where others may replace it:"
            f" {described(seen)}",
            fix=f"`{mend} {loose}`, or {ELSEWHERE}",
        )


def _loose(folder: Path) -> Iterator[Path]:
    """Those of the folders above one, by its path or behind links in it, where others may rename
    things.
    """
    for path in dict.fromkeys(
        [*reversed(folder.absolute().parents), *reversed(folder.resolve().parents)]
    ):
        try:
            seen = path.stat()
        except OSError:  # nothing is there, nor can be
            continue
        if not _is_trusted(seen.st_uid) or _others_write(seen, sticky_is_fine=True):
            yield path


def user(uid: int) -> str:
    """A user as a person says it: `glm5-serve (uid 999)`."""
    name = _name(uid)
    return f"uid {uid}" if name == str(uid) else f"{name} (uid {uid})"


def described(seen: os.stat_result) -> str:
    """Owner, mode, and the group where that may write, in words."""
    group = f", group {_group(seen.st_gid)}" if seen.st_mode & stat.S_IWGRP else ""
    return f"owned by {user(seen.st_uid)}, mode {stat.filemode(seen.st_mode)}{group}"


def _others_write(seen: os.stat_result, *, sticky_is_fine: bool) -> bool:
    # what is not theirs, others may not rename there
    if sticky_is_fine and seen.st_mode & stat.S_ISVTX:
        return False
    by_group = bool(seen.st_mode & stat.S_IWGRP) and not _is_alone_in(seen.st_gid)
    return by_group or bool(seen.st_mode & stat.S_IWOTH)


def _is_trusted(uid: int) -> bool:
    return uid in (0, os.geteuid()) or _is_unmapped(uid)


def _is_alone_in(gid: int) -> bool:
    """Whether nobody but this user and root is in a group.

    Root's own is also that of accounts of some distributions that nobody logs in to (`sync`,
    `halt`).
    """
    import grp  # here and below: Pythons in browsers have neither
    import pwd

    trusted = {0, os.geteuid()}
    names = {found.pw_name for found in pwd.getpwall() if found.pw_uid in trusted}
    members: set[str] = set()
    with contextlib.suppress(KeyError):
        members = set(grp.getgrgid(gid).gr_mem)
    first = {
        found.pw_uid
        for found in pwd.getpwall()
        if found.pw_gid == gid and (gid or found.pw_uid >= SYSTEM_USERS)
    }
    return members <= names and first <= trusted


def _is_unmapped(uid: int) -> bool:
    """Whether a number stands for all users that this user namespace has no number for, root among
    them.
    """
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
        mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, ValueError):
        return False
    return uid == overflow and not any(
        int(first) <= uid < int(first) + int(count) for first, _, count in mapped
    )


def _name(uid: int) -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group(gid: int) -> str:
    import grp

    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return f"gid {gid}"
