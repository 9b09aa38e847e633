"""The lines of a file that grows, and that is put aside when it is large (`rotation.rotate`): none
is lost.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from launcher.files import guarded

MOST = 9  # older files that there may be: `path`.1 and so on
PIECE = 1 << 20  # bytes that are read at a time


def end_of(path: Path) -> BinaryIO | None:
    """A file open at its end, None where there is none yet. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        file = os.fdopen(guarded.opened(path), "rb")
        file.seek(0, os.SEEK_END)
        return file
    return None


def lines(
    path: Path, file: BinaryIO | None, going_on: Callable[[], bool], every: float, rest: bytes = b""
) -> Iterator[bytes]:
    """The lines behind where `file` stands, without their ends, until `going_on` says no more will
    come.

    `file` is one that is, or was, at `path`, or None; it is closed. `rest` is the beginning of the
    first line. Looks again `every` so many seconds.
    """
    try:
        alive = True
        while alive:
            alive = going_on()  # asked first: what was written before the end is still read
            at_newest = False
            while not at_newest:  # files pass by: all that there are now, before they are gone
                # nothing is added to it from here on
                put_aside = file is None or not _is_at(path, file)
                while piece := file.read(PIECE) if file else b"":
                    *whole, rest = (rest + piece).split(b"\n")
                    yield from whole
                following = _after(path, file) if put_aside else None
                at_newest = following is None
                if following:
                    if rest:
                        yield rest
                    if file:
                        file.close()
                    file, rest = following, b""
            if alive:
                time.sleep(every)
        if rest:
            yield rest
    finally:
        if file:
            file.close()


def _after(path: Path, file: BinaryIO | None) -> BinaryIO | None:
    """The file that was begun next after one, by what it is called now; the oldest where that one
    is gone.

    The newest is looked at first: a file only moves up meanwhile, so it may be met twice, but not
    be missed.
    """
    older = (
        [path.with_name(f"{path.name}.{number}") for number in range(1, MOST + 1)] if file else []
    )
    with contextlib.ExitStack() as stack:
        found: list[BinaryIO] = []
        for name in (path, *older):
            with contextlib.suppress(OSError):
                newer = stack.enter_context(os.fdopen(guarded.opened(name), "rb"))
                if file and _same(newer, file):
                    break
                if not any(_same(newer, other) for other in found):
                    found.append(newer)
        return os.fdopen(os.dup(found[-1].fileno()), "rb") if found else None


def _same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _is_at(path: Path, file: BinaryIO) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    return False
