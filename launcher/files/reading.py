"""Reading files that anybody may have put there: regular ones alone, up to a limit, never waiting
for a writer.

What is raised is always an OSError whose `strerror` says in words what is wrong; where the file is
unfit and not the kernel refuses, it is an UnfitError. A network file system that hangs still holds
its reader up.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from launcher import nesting, stdio
from launcher.errors import Exit, UserError
from launcher.errors import in_words as in_words_of

# Values of a JSON text. Each takes some 70 bytes of memory, whatever the text's own size; the
# largest header of a checkpoint that is known has 2 million.
MOST_VALUES = 10_000_000
BOM = "\ufeff"  # editors on Windows begin a text in UTF-8 with it: no part of what it says
PIECE = 1 << 20  # bytes that are read at once: a file may have no line ends at all
_KINDS = (
    (stat.S_ISLNK, "a symlink"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class UnfitError(OSError):
    """What stands there is not what can be read; `strerror` says why."""


def named(file: str) -> BinaryIO:
    """What somebody named on the command line: a regular file, or what he piped in himself.

    That is standard input (`-`), and a descriptor that his shell opened: `<(command)` becomes
    /dev/fd/63. Raises OSError.
    """
    if file in ("-", "/dev/stdin"):
        if 0 in stdio.closed:
            raise unfit(errno.EBADF, "is closed", file)
        return sys.stdin.buffer
    return open(file, "rb") if file.startswith(("/dev/fd/", "/proc/self/fd/")) else opened(file)  # noqa: PTH123


def pieces(file: str, fix: str) -> Iterator[bytes]:
    """What somebody named (`named`), piece by piece, so that it may be larger than memory.

    Raises UserError with that `fix`.
    """
    try:
        with named(file) as stream:
            while piece := stream.read(PIECE):
                yield piece
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {reason(error)}", fix=fix, status=Exit.USAGE
        ) from None


def whole(file: str, most: int, fix: str) -> str:
    """The first `most` bytes of what somebody named, as text. Raises UserError with that `fix`."""
    try:
        with named(file) as stream:
            return stream.read(most).decode("utf-8", "replace").removeprefix(BOM)
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {reason(error)}", fix=fix, status=Exit.USAGE
        ) from None


def opened(path: Path | str) -> BinaryIO:
    """A regular file, open for reading.

    Raises OSError; UnfitError where it is a FIFO, a device or a directory.

    It is looked at before it is opened, for opening alone makes some devices act; and again after,
    for what stands there may change.
    """
    try:
        _require_regular(Path(path).stat(), path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:
        raise unfit(errno.EINVAL, "has a name that no file can have", path) from None
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return io.BufferedReader(_Ready(descriptor, path))


class _Ready(io.FileIO):
    """A file whose readers never wait: some of /proc, /proc/kmsg for one, would have them; and ask
    for no more than a piece at once: of /proc/sys 4 MiB are "cannot allocate memory".
    """

    def __init__(self, descriptor: int, path: Path | str) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def readinto(self, buffer: Any, /) -> int:
        count: int | None = super().readinto(memoryview(buffer)[:PIECE])
        if count is None:
            raise unfit(errno.EAGAIN, "has nothing to read yet", self._path)
        return count

    def readall(self) -> bytes:
        data: bytes | None = super().readall()
        if data is None:
            raise unfit(errno.EAGAIN, "has nothing to read yet", self._path)
        return data


def read_bytes(path: Path | str, limit: int) -> bytes:
    """All of a regular file of at most `limit` bytes.

    Raises OSError; UnfitError where it has more.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size  # 0 below /proc
        data = file.read(limit + 1) if size <= limit else b""
    if (size := max(size, len(data))) > limit:
        raise unfit(
            errno.EFBIG, f"has {in_words(size)} or more, wanted at most {in_words(limit)}", path
        )
    return data


def read_text(path: Path | str, limit: int, errors: str = "strict") -> str:
    """The same as UTF-8; `errors` as `bytes.decode` has it.

    Raises OSError; UnfitError where it is no text.
    """
    try:
        return read_bytes(path, limit).decode("utf-8", errors).removeprefix(BOM)
    except UnicodeDecodeError:
        raise unfit(errno.EILSEQ, "is not text in UTF-8", path) from None


def read_end(path: Path | str, limit: int) -> bytes:
    """The last lines of a regular file, of `limit` bytes together; none is cut in front.

    Raises OSError.
    """
    with opened(path) as file:
        beyond = os.fstat(file.fileno()).st_size - limit
        if beyond <= 0:
            return file.read(limit)
        file.seek(beyond - 1)
        return file.read(limit + 1).partition(b"\n")[2]


def read_json(path: Path | str, limit: int) -> Any:
    """What a file of JSON says.

    Raises OSError; UnfitError where it is not JSON, or too much of it.
    """
    data = read_bytes(path, limit)
    try:
        return parsed(data)
    except ValueError as error:
        raise unfit(errno.EINVAL, f"is not usable JSON: {error}", path) from None


def parsed(data: bytes | str) -> Any:
    """What a JSON text says.

    Raises ValueError, also where it nests too deep or has more than MOST_VALUES.
    """
    text = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    if sum(text.count(mark) for mark in (b",", b"[", b"{", b":")) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES:,} values")
    collecting = gc.isenabled()
    gc.disable()  # a fifth of the time where there are 100,000 tables
    try:
        return nesting.of_json(data.removeprefix(BOM) if isinstance(data, str) else data)
    except ValueError as error:
        raise ValueError(in_words_of(error)) from None
    finally:
        if collecting:
            gc.enable()


def reason(error: OSError) -> str:
    """What is wrong, to follow a name and a colon: `no such file or directory`, `is a FIFO, wanted
    ...`.
    """
    words = error.strerror or str(error)
    return words[:1].lower() + words[1:]


def in_words(size: int) -> str:
    """A number of bytes as people say it: `8 MiB`, `12.5 GiB`, `100 bytes`."""
    unit, name = next(((unit, name) for unit, name in _UNITS if size >= unit), (1, "bytes"))
    return f"{size // unit if size % unit == 0 else round(size / unit, 1)} {name}"


def kind(mode: int) -> str:
    """What a file of that mode is, in words: `a FIFO`."""
    return next((words for is_one, words in _KINDS if is_one(mode)), "something else")


def unfit(number: int, why: str, path: Path | str) -> UnfitError:
    """The error for a file that is not what can be read; `number` is one of errno's."""
    return UnfitError(number, why, str(path))


def _require_regular(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise unfit(errno.EINVAL, f"is {kind(status.st_mode)}, wanted a regular file", path)
