"""Whether the server could listen at its address, and who holds the port where it cannot."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from launcher import printable
from launcher.address import bracketed
from launcher.errors import in_words
from launcher.host import peer, sockets

LOOPBACK = "127.0.0.1"
LONGEST = 120  # characters of the holder's command line
NEAR = 20  # ports of which a free one is looked for
PRIVILEGED, LAST = 1024, 65535  # the first one for everybody, and the last one of all


def obstacle(host: str, port: int) -> OSError | None:
    """Why an address cannot be listened on, in words (`strerror`); None if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            tried.bind(address)
            tried.listen(1)
    except OSError as error:
        return OSError(error.errno, _in_words(f"{host} port {port}", port, error))
    return None


def _in_words(where: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is in use by {_holder(port)}"
        case errno.EACCES:
            return f"{where} is for privileged users"
        case _:
            return f"cannot listen on {where}: {in_words(error)}"


def holder(port: int) -> int | None:
    """The process that listens on a port, as far as this user may look."""
    with contextlib.suppress(OSError, ValueError):
        inodes = {row.inode for table in sockets.TABLES for row in sockets.listening(table, port)}
        for pid in _processes():
            with contextlib.suppress(OSError):
                if any(peer.sockets_of(pid, inodes)):
                    return pid
    return None


def _holder(port: int) -> str:
    with contextlib.suppress(OSError):
        if pid := holder(port):
            return _described(pid)
    return "a process that this user may not see"


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _described(pid: int) -> str:
    """A process by its number, its command and its user. Raises OSError for one that is gone."""
    place = Path(f"/proc/{pid}")
    words = place.joinpath("cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
    command = printable.line(words.decode(errors="replace")[:LONGEST])
    return f"pid {pid} ({command}), {peer.user(place.stat().st_uid)}"


def refusal(host: str, port: int, error: OSError) -> str:
    """Why a port could not be listened on, in words: where a process has it, which one."""
    return _in_words(f"{host} port {port}", port, error)


def another(option: str, host: str, port: int, apart: Collection[int] = ()) -> str:
    """An option with an address that is free now, in place of one that cannot be listened on: near
    it, or where this host does not have that address, of loopback. `apart`: ports that are meant
    for something else.
    """
    for place, first in ((host, port + 1), (LOOPBACK, port)):
        near = range(first, first + NEAR) if first >= PRIVILEGED else range(8000, 8000 + NEAR)
        for number in near:
            if number <= LAST and number not in apart and obstacle(place, number) is None:
                return f"{option} {bracketed(place)}:{number}"
    return f"{option} {LOOPBACK}:PORT"
