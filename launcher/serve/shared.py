"""Shared memory that a killed server leaves in /dev/shm: nobody else takes it away.

The tracker that Python runs for it dies with the server's other processes. What a process of the
server had open there is kept in mind while it lives, and removed when nobody has it open any more.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path("/dev/shm")  # where shm_open(3) has its files
PREFIX = "psm_"  # of Python's multiprocessing.shared_memory


def held(pids: Iterable[int]) -> frozenset[str]:
    """The names that processes have open; of those that may not be looked at none."""
    return frozenset(name for pid in pids for name in _of(pid))


def _of(pid: int) -> list[str]:
    begin, found = f"{FOLDER}/{PREFIX}", []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                path = str(entry.readlink())
                if path.startswith(begin) and "/" not in path[len(begin) :]:
                    found.append(path.rpartition("/")[2])
    return found


def remove(names: Iterable[str]) -> list[str]:
    """Remove those that are this user's and that nobody has open; which they were."""
    left = [name for name in names if _is_ours(FOLDER / name)]
    living = held(map(int, _processes())) if left else ()
    removed = []
    for name in left:
        if name not in living:
            with contextlib.suppress(OSError):
                (FOLDER / name).unlink()
                removed.append(name)
    return removed


def _processes() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
