"""What keeps a folder from being one that files can be put into: the reason behind the kernel's own
word, which is often about another place (`/proc/x`: no such file or directory).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from launcher.files.reading import kind

LONGEST_NAME = 255  # bytes, of every file system that Linux has


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
        return _closed(there) if writing else None
    return None


def _closed(there: Path) -> str | None:
    """Why no file can be put into a folder."""
    system = os.statvfs(there)
    if not system.f_blocks:
        return f"{there}, which keeps no files"  # of /proc, /sys and their like
    if system.f_flag & os.ST_RDONLY:
        return f"{there}, on a file system that is read-only"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there}, where this user may not write"
    return None
