"""One `bench` at a time for a server: two would each measure what the other leaves over.

The lock is a file in the instance's folder, held by flock: the kernel lets go of it with the
process. What stands in it is for people.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os

from launcher.errors import Exit, UserError, in_words
from launcher.files import guarded
from launcher.files.reading import parsed
from launcher.statedir.folder import StateDir
from launcher.statedir.schema import table, text, whole
from launcher.statedir.times import local, now_text

FILE = "bench.lock"
LARGEST = 4096  # bytes of it


def claim(instance: StateDir, *, anyway: bool) -> str:
    """Be the one that measures an instance, until this process ends; a note where it is not, or
    where nobody can tell. Raises UserError where another one does, and nobody said `anyway`.
    """
    try:
        lock = guarded.opened(instance.folder / FILE, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        return _unknown(error)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "since": now_text()}).encode(), 0)
        return ""
    except BlockingIOError:
        pid, who = _holder(os.pread(lock, LARGEST, 0))
        os.close(lock)
    except OSError as error:  # a file system without locks, or a full one: it is kept open
        return _unknown(error)
    if pid == os.getpid():  # it is compared with itself
        return ""
    if anyway:
        return f"another bench measured it, too, when this one began{who} (--anyway)"
    raise UserError(
        f"{instance.name} is being measured by another bench{who}: each would measure what the"
        " other leaves over",
        fix="wait until it is over, or --anyway",
        status=Exit.NO,
    )


def _holder(data: bytes) -> tuple[int | None, str]:
    """Its process, and that with the time since when it measures, in words; nothing where it has
    not said so yet.
    """
    with contextlib.suppress(ValueError):
        said = table(parsed(data))
        pid, since = whole(said.get("pid")), text(said.get("since"))
        return pid, f", pid {pid} since {local(since)}"
    return None, ""


def _unknown(error: OSError) -> str:
    return f"nobody can tell whether another bench measures it, too: {in_words(error)}"
