"""Headers of safetensors files: what a weight file holds, and whether all of it is there. No weight is read.

The format (8 bytes of header length, JSON, data without holes) is that of the safetensors project's documentation.
"""

from __future__ import annotations

import gc
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from typing import Any

MOST_HEADER = 100_000_000  # bytes; the format's own limit
READERS = 16  # files that are read at once: cold disks and network file systems answer them in parallel


class BrokenError(ValueError):
    """A weight file that is not whole or not one at all; the message says what is wrong with it."""


def parse(text: str | bytes) -> Any:
    """What a JSON text says, in a fifth of the time where it has 100,000 tables: the collector stays out of it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return json.loads(text)
    finally:
        if collecting:
            gc.enable()


def headers(paths: Iterable[Path]) -> dict[Path, bytes | Exception]:
    """The header of each file as it stands there, or why it cannot be had (BrokenError, OSError).

    By daemon threads: where a file system hangs, they do not hold up the end of the program.
    """
    todo, found = list(paths), dict[Path, bytes | Exception]()
    readers = [Thread(target=_read_all, args=(todo[n::READERS], found), daemon=True) for n in range(READERS)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return found


def _read_all(paths: list[Path], found: dict[Path, bytes | Exception]) -> None:
    for path in paths:
        try:
            found[path] = read(path)
        except (OSError, BrokenError) as error:
            found[path] = error


def read(path: Path) -> bytes:
    """The header of a file, not parsed. Raises BrokenError, or OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise BrokenError(f"has {size} bytes, too few for a header")
        (length,) = struct.unpack("<Q", start)
        if length > MOST_HEADER or 8 + length > size:
            raise BrokenError(f"its first bytes tell a header of {length} bytes, the file has {size}")
        return file.read(length)


def tensors(header: bytes | Exception, size: int) -> dict[str, Any]:
    """The tensors that the header of a file of `size` bytes names. Raises BrokenError or OSError."""
    if isinstance(header, Exception):
        raise header
    try:
        told = parse(header)
    except (ValueError, RecursionError):
        raise BrokenError("its header is not JSON") from None
    if not isinstance(told, dict):
        raise BrokenError("its header is no table of tensors")
    told.pop("__metadata__", None)
    _require_whole(told, 8 + len(header), size)
    return told


def _require_whole(told: dict[str, Any], start: int, size: int) -> None:
    """Every byte of the data belongs to one tensor, and the last tensor ends where the file ends."""
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
            ("more", "the download did not finish") if told_size > size else ("less", "something was appended")
        )
        raise BrokenError(
            f"is {_gb(size)}, its header says {_gb(told_size)} ({abs(told_size - size)} bytes {more}): {why}"
        )
    if [*begins, told_size - start] != [0, *ends]:
        raise BrokenError("its header has tensors that overlap, or leave holes")


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size} bytes"
