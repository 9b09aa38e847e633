"""Who holds an instance, by the word of the kernel alone: whatever became of its folder, of the
owner of that, and of the files in it.

The lock tells that there is a holder, and a process's descriptors tell that it is one. Those of
another user are closed to all but root: of such a process its command line tells, as far as that
user is to be believed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from launcher.statedir.processes import is_here, launchers, uid_of

MARK = "FLOCK"  # a lock of /proc/PID/fdinfo/FD: `lock: 1: FLOCK  ADVISORY  WRITE 17 fe:00:4 0 EOF`


class Held(NamedTuple):
    """The process that holds an instance, and its user."""

    pid: int
    uid: int


def holder(folder: Path, lock: Path) -> Held | None:
    """The launcher that holds the lock of a folder, else whoever holds it, as an `up` does that
    judges the host; None where there is none to be seen. A process of another PID namespace is
    none: its number means nothing here.
    """
    file = _file(lock)
    mine = folder.absolute()
    for pid, uid, place in launchers():
        if place == mine and is_here(pid) and _holds(pid, file) is not False:
            return Held(pid, uid)
    if file is None:
        return None
    return next((one for one in _all() if _holds(one.pid, file, locked=True)), None)


def _file(lock: Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        seen = lock.lstat()
        return seen if stat.S_ISREG(seen.st_mode) else None
    return None


def _all() -> Iterator[Held]:
    """Every process but this one."""
    for entry in Path("/proc").iterdir():
        pid = int(entry.name) if entry.name.isdigit() else os.getpid()
        if pid != os.getpid() and (uid := uid_of(pid)) is not None and is_here(pid):
            yield Held(pid, uid)


def _holds(pid: int, file: os.stat_result | None, *, locked: bool = False) -> bool | None:
    """Whether a process has that file open, and `locked`: a lock on it for itself alone; None where
    that cannot be told.
    """
    if file is None:
        return None
    try:
        descriptors = [*Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return None
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), file):
                told = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
                if not locked or any(MARK in line and "WRITE" in line for line in told.split("\n")):
                    return True
    return False
