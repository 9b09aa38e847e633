"""Files of a folder that may be somebody else's: opened, put there and removed following nothing,
and waiting for nobody.

Whoever owns a folder may put there what he likes: a link to another's file, a FIFO that hangs its
reader, a device. Files that the one who asks has named himself are read by `reading`, which follows
links.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.files.reading import in_words, kind, unfit

LARGEST = 64 << 20  # bytes of a file that is read whole; a state is some kilobytes, a plan some ten
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_ALWAYS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


@contextlib.contextmanager
def within(folder: Path) -> Iterator[int]:
    """A descriptor of a folder, to open files in it. Raises OSError; UnfitError for a symlink."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and folder.is_symlink():
            raise unfit(errno.ENOTDIR, "is a symlink, wanted a folder", folder) from None
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def opened(path: Path, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """A descriptor of a regular file. Raises OSError.

    That is a UnfitError for anything else, and, in another user's folder, for what is not its
    owner's.
    """
    with within(path.parent) as folder:
        try:
            descriptor = os.open(path.name, flags | _ALWAYS, mode, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                raise unfit(
                    errno.EINVAL, f"is {kind(os.lstat(path).st_mode)}, wanted a regular file", path
                ) from None
            raise
        try:
            _require_ours(path, os.fstat(descriptor), os.fstat(folder))
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def read(path: Path, limit: int = LARGEST) -> bytes:
    """All of a regular file of at most `limit` bytes. Raises OSError."""
    with os.fdopen(opened(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise unfit(errno.EFBIG, f"has more than {in_words(limit)}", path)
    return data


def replace(path: Path, data: bytes, like: os.stat_result | None = None) -> None:
    """Put a file of that content there, or leave the old one as it is. Raises OSError.

    Its mode is 0600, or mode and owner are those of `like`.
    """
    fresh = f".{path.name}.{os.getpid()}"
    with within(path.parent) as folder:
        try:
            with os.fdopen(_new(fresh, folder), "wb") as file:
                file.write(data)
                if like:
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
                    os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
            os.replace(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(fresh, dir_fd=folder)
            raise


def _new(name: str, folder: int) -> int:
    """A file that was not there: one that a killed process of this number left is none of ours."""
    make: Callable[[], int] = lambda: os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ALWAYS, 0o600, dir_fd=folder
    )
    try:
        return make()
    except FileExistsError:
        os.unlink(name, dir_fd=folder)
        return make()


def put(path: Path, data: bytes) -> None:
    """Put a new file of that content and mode 0600 there, under no other name meanwhile; what was
    there is removed before. Raises OSError.
    """
    with within(path.parent) as folder, os.fdopen(_new(path.name, folder), "wb") as file:
        file.write(data)


def remove(path: Path) -> None:
    """Remove a file, if there is one. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), within(path.parent) as folder:
        os.unlink(path.name, dir_fd=folder)


def strange(path: Path) -> str | None:
    """What lies at `path` instead of a regular file, in words; None for a regular file, or
    nothing.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None
    return None if stat.S_ISREG(mode) else kind(mode)


def _require_ours(path: Path, file: os.stat_result, folder: os.stat_result) -> None:
    if not stat.S_ISREG(file.st_mode):
        raise unfit(errno.EINVAL, f"is {kind(file.st_mode)}, wanted a regular file", path)
    if file.st_uid != folder.st_uid != os.geteuid():
        raise unfit(
            errno.EPERM, f"is a file of uid {file.st_uid} in a folder of uid {folder.st_uid}", path
        )
