"""A second lock on an instance, which no file can lose: an abstract Unix socket named after its
user and folder.

A folder that is removed takes its lock with it, although the launcher lives; the name stays as long
as somebody holds its descriptor. Anybody may take any name, so the kernel is asked who holds it,
and another user is not believed. A network namespace has its own names: a container's launcher is
not seen by them, and need not be.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from pathlib import Path

from launcher.statedir.processes import is_here

BACKLOG = 4096  # who asks for the holder stays in the queue, for nobody takes them out
_CREDENTIALS = struct.Struct("3i")  # ucred: pid, uid, gid


class HeldError(Exception):
    """The name is another process's of this user, or root's: `pid`."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"held by pid {pid}")
        self.pid = pid


def take(folder: Path) -> int | None:
    """A descriptor that holds the name of a folder. Raises HeldError where another launcher has it.

    None where names are not to be had here, or somebody else sits on this one.
    """
    for attempt in range(10):  # who has bound it may not listen yet, or be about to go
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as taken:
            try:
                taken.bind(_name(folder))
                taken.listen(BACKLOG)
                return taken.detach()
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    return None
        if pid := holder(folder):
            raise HeldError(pid)
        time.sleep(0.01 * attempt)
    return None


def pass_on(descriptor: int | None) -> None:
    """In a child that was given the name, if it was to be had: it is the holder from now on."""
    if descriptor is None:
        return
    with contextlib.closing(socket.socket(fileno=os.dup(descriptor))) as name:
        name.listen(BACKLOG)


def holder(folder: Path) -> int | None:
    """The process of this user, or of root, that holds a folder's name; None where there is none to
    be seen.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as asking:
        asking.setblocking(False)
        try:
            asking.connect(_name(folder))
        except BlockingIOError:  # somebody filled the queue
            return _by_command(folder)
        except OSError:
            return None
        sent = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(sent)
    return pid if uid in (0, os.geteuid()) and is_here(pid) else None


def _name(folder: Path) -> bytes:
    """Containers that share a network may have the same path for different folders: hence the
    device.
    """
    import hashlib  # brings OpenSSL: a command that only looks does without

    real = folder.parent.resolve() / folder.name  # whatever is put in its place
    above = next(path for path in real.parents if path.exists())
    told = f"{real}\0{above.stat().st_dev}".encode(errors="surrogateescape")
    return f"\0glm5-serve/{os.geteuid()}/{hashlib.sha256(told).hexdigest()[:32]}".encode()


def _by_command(folder: Path) -> int | None:
    """The launcher of a folder by its command line, where the kernel cannot be asked."""
    places = {os.fsencode(folder), os.fsencode(folder.resolve())}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                entry.name.isdigit()
                and entry.stat().st_uid == os.geteuid()
                and int(entry.name) != os.getpid()
            ):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if not places.isdisjoint(words) and any(
                    word.endswith(b"supervise") for word in words
                ):
                    return int(entry.name)
    return None
