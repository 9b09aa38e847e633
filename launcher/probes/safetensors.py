"""Headers of safetensors files: what a weight file holds, and whether all of it is there. No weight is read.

The format (8 bytes of header length, JSON, data) is that of the safetensors project's documentation.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

MOST_HEADER = 100_000_000  # bytes; the format's own limit


class BrokenError(ValueError):
    """A weight file that is not whole or not one at all; the message says what is wrong with it."""


def header(path: Path) -> dict[str, dict[str, Any]]:
    """The tensors of a file by name: dtype, shape, data_offsets. Raises BrokenError, or OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise BrokenError(f"has {size} bytes, too few for a header")
        (length,) = struct.unpack("<Q", start)
        if length > MOST_HEADER or 8 + length > size:
            raise BrokenError(f"its first bytes tell a header of {length} bytes, the file has {size}")
        text = file.read(length)
    try:
        tensors = json.loads(text)
    except (ValueError, RecursionError):
        raise BrokenError("its header is not JSON") from None
    if not isinstance(tensors, dict):
        raise BrokenError("its header is no table of tensors")
    tensors.pop("__metadata__", None)
    _whole(tensors, size - 8 - length)
    return tensors


def _whole(tensors: dict[str, Any], data: int) -> None:
    try:
        end = max((int(tensor["data_offsets"][1]) for tensor in tensors.values()), default=0)
    except (TypeError, KeyError, ValueError, IndexError, OverflowError):
        raise BrokenError("its header describes a tensor without its place") from None
    if end > data:
        raise BrokenError(f"has {_gb(data)} of data, its header says {_gb(end)}: the download did not finish")
    if end < data:
        raise BrokenError(f"has {_gb(data)} of data, its header says {_gb(end)}: something was appended")


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size} bytes"
