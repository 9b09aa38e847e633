"""Whose a folder is, and whether anybody else could put something into it, or another one in its place."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from launcher.errors import RefusalError

ELSEWHERE = "choose another place with GLM5_SERVE_STATE_DIR"


def user(uid: int) -> str:
    """A user as a person says it: `glm5-serve (uid 999)`."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def described(status: os.stat_result) -> str:
    """Owner and mode of a folder or a file, in words."""
    return f"owned by {user(status.st_uid)}, mode {stat.filemode(status.st_mode)}"


def require_private(folder: Path) -> None:
    """Raise RefusalError unless a folder is this user's own, and nobody else can write there or replace it."""
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        fix = f"`rm {folder}` removes the link; to keep the files on another disk, {ELSEWHERE}"
        raise RefusalError(f"the state folder {folder} is a symlink, wanted a folder", fix=fix)
    if status.st_uid != os.geteuid():
        raise RefusalError(
            f"the state folder {folder} is {described(status)}, and this is {user(os.geteuid())}",
            fix=f"run this as its owner, give it to this user (`chown -R`), or {ELSEWHERE}",
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusalError(
            f"others may write the state folder {folder}: {described(status)}",
            fix=f"look whether all that lies there is yours, then `chmod 700 {folder}`; or {ELSEWHERE}",
        )
    if loose := next(_loose(folder), None):
        raise RefusalError(
            f"the state folder {folder} lies below {loose}, where others may replace it: "
            f"{described(loose.stat())}",
            fix=f"`chmod go-w {loose}`, or give it to root or to this user (`chown`); or {ELSEWHERE}",
        )


def _loose(folder: Path) -> Iterator[Path]:
    """Those of the folders above one, by its path or behind links in it, where others may rename things."""
    above = dict.fromkeys([*folder.absolute().parents, *folder.resolve().parents])
    return (path for path in reversed(above) if _is_loose(path.stat()))


def _is_loose(status: os.stat_result) -> bool:
    if status.st_uid not in (0, os.geteuid()) and not _is_unmapped(status.st_uid):
        return True
    if status.st_mode & stat.S_ISVTX:  # what is not theirs, others may not rename there
        return False
    by_group = status.st_mode & stat.S_IWGRP and not _is_alone_in(status.st_gid)
    return bool(status.st_mode & stat.S_IWOTH or by_group)


def _is_alone_in(gid: int) -> bool:
    """Whether nobody but this user and root is in a group, as in those that many distributions give each user."""
    trusted = {0, os.geteuid()}
    names = {found.pw_name for found in pwd.getpwall() if found.pw_uid in trusted}
    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        members = set()
    first = {found.pw_uid for found in pwd.getpwall() if found.pw_gid == gid}
    return members <= names and first <= trusted


def _is_unmapped(uid: int) -> bool:
    """Whether a number stands for all users that this user namespace has no number for, root among them."""
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
        mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, ValueError):
        return False
    return uid == overflow and not any(int(first) <= uid < int(first) + int(count) for first, _, count in mapped)
