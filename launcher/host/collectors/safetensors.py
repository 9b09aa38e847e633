"""Headers of safetensors files: what a weight file holds, and whether all of it is there.

No weight is read.

The format (8 bytes of header length, JSON, data without holes) is that of the safetensors project's
documentation.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

from launcher.files.reading import in_words, opened, parsed

MOST_HEADER = 100_000_000  # bytes; the format's own limit
MOST_TOGETHER = 256 << 20  # bytes of all headers of a checkpoint; those of GLM-5 have 40 MB
# files that are touched at once: cold disks and network file systems answer them in parallel
READERS = 16
BEGIN = b"{"  # of a header; a file of zeros, for which only room was made, is told at once
TOUCHED = 4 << 20  # bytes of each: most headers have less


class BrokenError(ValueError):
    """A weight file that is not whole or not one at all; the message says what is wrong with it."""


def each(paths: Iterable[Path]) -> Iterator[tuple[Path, Mapping[str, Any] | Exception]]:
    """Each file with its tensors, or why they cannot be had (BrokenError, OSError).

    One header is held at a time: a table of tensors is emptied when the next one is asked for.
    """
    todo, left = list(paths), MOST_TOGETHER
    _warm(todo)
    for path in todo:
        try:
            with opened(path) as file:
                size, length = _lengths(file)
                if (left := left - length) < 0:
                    raise BrokenError(
                        f"was not read: the headers before it have {in_words(MOST_TOGETHER)}"
                        " together"
                    )
                told = _tensors(file, length, size)
        except (OSError, BrokenError) as error:
            yield path, error
        else:
            yield path, told
            told.clear()


def _warm(paths: list[Path]) -> None:
    """Have the kernel read the headers, many at once; they are parsed one by one.

    By daemon threads: where a file system hangs, they do not hold up the end of the program.
    """
    readers = [
        Thread(target=_touch, args=(paths[n::READERS],), daemon=True) for n in range(READERS)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def _touch(paths: list[Path]) -> None:
    for path in paths:
        try:
            with opened(path) as file:
                _, length = _lengths(file)
                if file.read(1) == BEGIN:
                    file.read(min(length, TOUCHED))
        except (OSError, BrokenError):
            continue


def _lengths(file: BinaryIO) -> tuple[int, int]:
    """The bytes of a file and of its header. Raises BrokenError, or OSError."""
    size, start = os.fstat(file.fileno()).st_size, file.read(8)
    if len(start) < 8:
        raise BrokenError(f"has {size} bytes, too few for a header")
    (length,) = struct.unpack("<Q", start)
    if length > MOST_HEADER or 8 + length > size:
        raise BrokenError(f"its first bytes tell a header of {length} bytes, the file has {size}")
    return size, length


def _tensors(file: BinaryIO, length: int, size: int) -> dict[str, Any]:
    """The tensors that a header names. Raises BrokenError or OSError."""
    if length == 0 or file.read(1) != BEGIN:
        raise BrokenError("its header is no table of tensors in JSON")
    try:
        file.seek(8)
        told = parsed(file.read(length))
    except ValueError as error:
        raise BrokenError(f"its header is not usable JSON: {error}") from None
    except MemoryError:
        raise BrokenError(
            f"its header of {in_words(length)} does not fit into this host's memory"
        ) from None
    told.pop("__metadata__", None)
    _require_whole(told, 8 + length, size)
    return told  # type: ignore[no-any-return]


def _require_whole(told: dict[str, Any], start: int, size: int) -> None:
    """Every byte of the data belongs to one tensor, and the last tensor ends where the file
    ends.
    """
    try:
        spans = [tensor["data_offsets"] for tensor in told.values()]
        begins, ends = sorted(begin for begin, _ in spans), sorted(end for _, end in spans)
        if not {*map(type, begins), *map(type, ends)} <= {int} or (ends and ends[-1] >= 1 << 63):
            raise TypeError
    except (TypeError, KeyError, ValueError):
        raise BrokenError("its header describes a tensor without its place") from None
    told_size = start + (ends[-1] if ends else 0)
    if told_size != size:
        more, why = (
            ("more", "the download did not finish")
            if told_size > size
            else ("less", "something was appended")
        )
        raise BrokenError(
            f"is {_gb(size)}, its header says {_gb(told_size)} ({abs(told_size - size)} bytes"
            f" {more}): {why}"
        )
    if [*begins, told_size - start] != [0, *ends]:
        raise BrokenError("its header has tensors that overlap, or leave holes")


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size} bytes"
