"""What keeps a folder from being one that files can be put into: the reason behind the kernel's own
word, which is often about another place (`/proc/x`: no such file or directory).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

from launcher.errors import UserError
from launcher.files.reading import kind

DEVICES, MEMORY = Path("/dev"), Path("/dev/shm")  # what lies in the second are files
LONGEST_NAME = 255  # bytes, of every file system that Linux has


def require_folder(by: str, path: Path, *, writing: bool = True) -> None:
    """Raise UserError for what can be no folder to put files into, or to look for them; `by` is the
    option that names it.
    """
    if why := obstacle(path, writing=writing):
        raise UserError(f"{by} names {why}", fix=f"have {by} name a folder{_yours(writing)}")


def require_file(by: str, path: Path, *, writing: bool = True) -> None:
    """Raise UserError for what can be no file to write, or to read; `by` is the option that names
    it.
    """
    if why := obstacle_to_file(path, writing=writing):
        raise UserError(f"{by} names {why}", fix=f"have {by} name a file{_yours(writing)}")


def _yours(writing: bool) -> str:
    return " that this user may write" if writing else ""


def obstacle_to_file(path: Path, *, writing: bool = True) -> str | None:
    """Why no regular file can be at `path`, to follow "names"; None where one is, or may be."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return obstacle(path.parent, writing=writing) or obstacle(path, writing=False)
    if not stat.S_ISREG(mode):
        return f"{path}, which is {kind(mode)}, wanted a file"
    if writing and not os.access(path, os.W_OK):
        return f"{path}, which this user may not write"
    return None


def obstacle(path: Path, *, writing: bool = True) -> str | None:
    """Why nothing can be put at or below `path`, to follow "names": `/proc, which keeps no files`;
    None where nothing is in the way. Not `writing`, why nothing can ever lie there.

    It need not be there yet: then it is about the folder that it would be made in.
    """
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME:
        return f"a file name of {longest} bytes, longer than the {LONGEST_NAME} that can be"
    for there in (path, *path.parents):
        try:
            seen = there.stat()
        except OSError as error:
            match error.errno:
                case errno.ENOENT | errno.ENOTDIR:
                    continue
                case errno.ELOOP:
                    return f"{there}, a symlink that leads to itself"
                case errno.ENAMETOOLONG:
                    return "a path that is longer than one can be"
                case errno.EACCES if writing:
                    return f"{there}, which this user may not look at"
            return None
        except ValueError:
            return "a path that no file can have"
        if not stat.S_ISDIR(seen.st_mode):
            what = "a file" if stat.S_ISREG(seen.st_mode) else kind(seen.st_mode)
            return f"{there}, which is {what}, wanted a folder"
        why = _closed(there) if writing else keeps_none(there)
        return f"{path}, below {why}" if why and there != path else why
    return None


def _closed(there: Path) -> str | None:
    """Why no file can be put into a folder."""
    if why := keeps_none(there) or is_read_only(there):
        return why
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there}, where this user may not write"
    return None


def keeps_none(there: Path) -> str | None:
    """Why a folder that is there keeps no files, to follow "names": it shows what the kernel
    knows.
    """
    # those of /proc, /sys and their like have no blocks; some of FUSE do not tell theirs
    if not os.statvfs(there).f_blocks and not _file_system(there).startswith("fuse"):
        return f"{there}, which keeps no files"
    real = there.resolve()
    if real.is_relative_to(DEVICES) and not real.is_relative_to(MEMORY):
        return f"{there}, which keeps devices, and no files"
    return None


def is_read_only(there: Path) -> str | None:
    """Why nothing new can be put into a folder that is there, whoever asks."""
    is_so = os.statvfs(there).f_flag & os.ST_RDONLY
    return f"{there}, on a file system that is read-only" if is_so else None


def _file_system(there: Path) -> str:
    """The type of the file system that a folder is on, as the kernel calls it; "" if unknown."""
    device = there.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError, IndexError):
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        lines = [line.partition(" - ") for line in mounts.splitlines()]
        return next((kind.split()[0] for of, _, kind in lines if of.split()[2] == number), "")
    return ""
