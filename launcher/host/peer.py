"""Who would take a connection to the server's port: the server, nobody, or a stranger.

A port that answers may be anybody's: while a model loads, for minutes, nobody has bound it. So
before anything is sent, the sockets that listen there are looked up in the kernel's tables, and
each must be a descriptor of one of the server's processes, whichever. Whoever connects looks before
it does, and again before its first byte: a listener that was there both times with the same inode,
and ours, was there between them, too, and nobody else could be.

A process of the same user may share the port with the server if both ask for it (SO_REUSEPORT).
That is a stranger. One that traces the server, or reads its key's file, is not kept out by anything
here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from launcher import printable
from launcher.errors import in_words
from launcher.host import sockets
from launcher.host.sockets import Row

USERS = Path("/etc/passwd")  # not the resolver of users: that may ask the network, and wait


class Whose(Enum):
    """Whose the listening sockets are."""

    OURS = "ours"
    NOBODY = "nobody"
    FOREIGN = "foreign"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """Whose it is, and why that is so in words; for a foreign one, who holds the port.

    `inodes` are the sockets that were found: two verdicts that agree in all speak of the same
    listeners.
    """

    whose: Whose
    detail: str
    inodes: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Peer:
    """Knows a server by its processes: `members` gives those that live.

    Made anew for each run of the server, because what was found out is kept: which descriptor a
    socket is. That is one look instead of thousands, and it is looked whether it still is.
    """

    members: Callable[[], Sequence[int]]
    _ours: dict[int, Path] = field(default_factory=dict, compare=False, repr=False)
    _others: dict[int, Path] = field(default_factory=dict, compare=False, repr=False)

    def check(self, host: str, port: int) -> Verdict:
        """Who would take a connection now.

        Never raises. Whatever keeps it from being known makes it unknown, and says why: no
        descriptor or memory left for this process, a `/proc` that is not there, processes that may
        not be looked at, a resolver that fails.
        """
        try:
            verdict = self._look(host, port)
            # A worker that was forked, or a listener that left, between two looks at one thing: so
            # look twice.
            return (
                verdict if verdict.whose in (Whose.OURS, Whose.NOBODY) else self._look(host, port)
            )
        except Exception as error:
            why = in_words(error)
            return Verdict(
                Whose.UNKNOWN, f"who listens on port {port} could not be looked up: {why}"
            )

    def _look(self, host: str, port: int) -> Verdict:
        for address in sockets.resolve(host):
            if found := sockets.receivers(address, port):
                return self._judge(found)
        return Verdict(Whose.NOBODY, f"nobody listens on port {port} of {host}")

    def _judge(self, found: Sequence[Row]) -> Verdict:
        inodes = frozenset(row.inode for row in found)
        strange = [row for row in found if not _is(self._ours.get(row.inode), row.inode)]
        if not strange:
            return Verdict(Whose.OURS, "the server listens", inodes)
        members = self.members()
        if not members:
            return Verdict(Whose.UNKNOWN, "no process of the server is to be seen", inodes)
        closed = self._search(members, {row.inode for row in strange})
        strange = [row for row in strange if not _is(self._ours.get(row.inode), row.inode)]
        if strange:
            return self._stranger(strange[0], members, closed, inodes)
        return Verdict(Whose.OURS, "the server listens", inodes)

    def _search(self, members: Iterable[int], wanted: Collection[int]) -> list[int]:
        """Find the descriptors that are these sockets; the processes that may not be looked at."""
        missing, closed = set(wanted), []
        for pid in members:
            try:
                for inode, path in sockets_of(pid, missing):
                    self._ours[inode] = path
                    missing.discard(inode)
            except PermissionError:
                closed.append(pid)
            if not missing:
                break
        return closed

    def _stranger(
        self, row: Row, members: Sequence[int], closed: list[int], inodes: frozenset[int]
    ) -> Verdict:
        """The verdict over a socket that none of the members that were looked at has."""
        path = self._holder(row.inode)
        pid = int(path.parts[2]) if path else None
        if path and pid and not set(lineage(pid)).isdisjoint(members):  # forked after the look
            self._ours[row.inode] = path
            return Verdict(Whose.OURS, "the server listens", inodes)
        if pid is None and closed:
            why = f"the descriptors of the server's process {closed[0]} may not be read"
            what = f"whether a listener of {user(row.uid)} is the server cannot be told"
            return Verdict(Whose.UNKNOWN, f"{what}: {why}", inodes)
        who = f"{name_of(pid)} (pid {pid})" if pid else "a process that cannot be seen from here"
        return Verdict(Whose.FOREIGN, f"{who} of {user(row.uid)}", inodes)

    def _holder(self, inode: int) -> Path | None:
        """The descriptor of whichever process has a socket, as far as this user may look."""
        if not _is(self._others.get(inode), inode):
            self._others.pop(inode, None)
            for pid in [
                int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()
            ]:
                with contextlib.suppress(PermissionError):
                    self._others.update(sockets_of(pid, {inode}))
                if inode in self._others:
                    break
        return self._others.get(inode)


def sockets_of(pid: int, wanted: Collection[int]) -> Iterator[tuple[int, Path]]:
    """Those of the sockets that a process has, each with its descriptor; none of one that is gone.

    Raises PermissionError where it may not be looked at, and any other OSError that is this
    process's own trouble.
    """
    names = {f"socket:[{inode}]": inode for inode in wanted}
    try:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            if (inode := names.get(_link(path))) is not None:
                yield inode, path
    except (FileNotFoundError, ProcessLookupError):
        return


def _link(path: Path) -> str:
    """What a descriptor is; empty if it was closed meanwhile."""
    try:
        return str(path.readlink())
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _is(path: Path | None, inode: int) -> bool:
    return path is not None and _link(path) == f"socket:[{inode}]"


def lineage(pid: int) -> Iterator[int]:
    """A process and all above it.

    Raises OSError where it cannot be looked up; one that is gone has none.
    """
    while pid > 1:
        yield pid
        try:
            text = Path(f"/proc/{pid}/stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return
        pid = int(text.rpartition(b")")[2].split()[1])


def name_of(pid: int) -> str:
    """What a process calls itself, whatever that is, in letters that do nothing to a terminal."""
    try:
        text = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
    except OSError:
        return "a process"
    return printable.line(text)


def user(uid: int) -> str:
    """A user as a person says it, without asking a resolver of users."""
    try:
        lines = USERS.read_text(errors="replace").splitlines()
    except OSError:
        return f"uid {uid}"
    entries = (line.split(":") for line in lines)
    name = next((e[0] for e in entries if len(e) > 2 and e[2] == str(uid)), None)
    return f"user {name} (uid {uid})" if name and name.isprintable() else f"uid {uid}"
