"""How fast a disk gives a checkpoint: a few pieces of it, read past the page cache."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from threading import Thread

PIECE = 16 << 20  # bytes read at once
READERS = 8  # as SGLang's loader has
LONGEST = 1.5  # seconds


def speed(folder: str) -> float | None:
    """Bytes a second that the disk gives to several readers; None where it cannot be read around
    the cache.
    """
    files = sorted(Path(folder).glob("*.safetensors"), key=lambda path: -path.stat().st_size)[
        :READERS
    ]
    if not files or files[0].stat().st_size < PIECE:
        return None
    done: list[int] = []
    begun = time.monotonic()
    readers = [
        Thread(target=_read, args=(path, begun + LONGEST, done), daemon=True) for path in files
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(LONGEST * 4)
    took = time.monotonic() - begun
    return sum(done) / took if done else None


def _read(path: Path, until: float, done: list[int]) -> None:
    """Read a file from its start by direct input until it ends or time is up."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return
    try:
        with mmap.mmap(-1, PIECE) as piece:  # aligned to a page, as direct input wants
            offset = 0
            while time.monotonic() < until and (got := os.preadv(file, [piece], offset)) > 0:
                done.append(got)
                offset += got
                if got < PIECE:
                    break
    except OSError:
        return
    finally:
        os.close(file)
