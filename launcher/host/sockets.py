"""The kernel's tables of TCP sockets, `/proc/net/tcp` and `tcp6`, and addresses as they write
them.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PROC_NET = Path("/proc/net")
TABLES = ("tcp", "tcp6")
LISTEN, ESTABLISHED, CLOSE_WAIT = "0A", "01", "08"  # linux/net/tcp_states.h


@dataclass(frozen=True)
class Row:
    """One socket: its own address and port, its peer's, its state, the user who opened it, its
    inode.
    """

    address: str
    port: int
    peer: str
    state: str
    uid: int
    inode: int


@lru_cache(maxsize=16)
def resolve(host: str) -> tuple[str, ...]:
    """The numeric addresses of a host, in the resolver's order. Raises OSError or ValueError.

    A name is looked up once: where a server listens does not change, and a resolver may take its
    time. An address needs no resolver, and no descriptor.
    """
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return tuple(dict.fromkeys(str(info[4][0]) for info in found))


def packed(address: str) -> bytes:
    """A numeric address as bytes: 4, or 16.

    An IPv4 address in IPv6's clothes (`::ffff:`) is IPv4.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    inside = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (inside or parsed).packed


def in_table(address: bytes) -> str:
    """An address as the tables write it: words of 32 bits in this machine's byte order."""
    words = (address[at : at + 4] for at in range(0, len(address), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def mapped(address: bytes) -> bytes:
    """An IPv4 address as an IPv6 socket has it."""
    return bytes(10) + b"\xff\xff" + address


def lines(table: str) -> Iterator[str]:
    """The rows of a table as the kernel writes them; none of `tcp6` where there is no IPv6.

    Raises OSError.
    """
    try:
        file = (PROC_NET / table).open()
    except FileNotFoundError:
        if table == "tcp6" and (PROC_NET / "tcp").exists():
            return
        raise
    with file:
        next(file, None)  # the heading
        yield from file


def row_of(line: str) -> Row:
    """One row, read. Raises ValueError."""
    fields = line.split()
    address, _, port = fields[1].rpartition(":")
    return Row(address, int(port, 16), fields[2], fields[3], int(fields[7]), int(fields[9]))


def rows(table: str, port: int) -> Iterator[Row]:
    """The sockets whose own port is `port`, in any state. Raises OSError or ValueError."""
    mark = f":{port:04X} "
    for line in lines(table):
        if mark in line and (row := row_of(line)).port == port:
            yield row


def listening(table: str, port: int) -> list[Row]:
    """The sockets that listen on `port`, at any address. Raises OSError or ValueError.

    Linux lists those that listen first, before what may be a million connections; others that have
    these tables need not, so only whoever has found some stops there.
    """
    found: list[Row] = []
    for line in lines(table):
        if line.split(None, 4)[3] == LISTEN:
            row = row_of(line)
            found += [row] if row.port == port else []
        elif found:
            break
    return found


def receivers(address: str, port: int) -> list[Row]:
    """The listening sockets that a connection to a numeric address may go to.

    Raises OSError or ValueError.

    As the kernel chooses (inet_hashtables.c): the exact address before any address, IPv4's before
    IPv6's. What stands behind one of these gets nothing, so whoever binds `[::]` beside us for IPv6
    alone is not in our way.
    """
    read: dict[str, list[Row]] = {}
    for table, place in _places(packed(address)):
        if table not in read:
            read[table] = listening(table, port)
        if found := [row for row in read[table] if row.address == place]:
            return found
    return []


def _places(address: bytes) -> Iterator[tuple[str, str]]:
    """Where a socket may be bound to receive what is sent to `address`: table and address, the
    nearest first.
    """
    if len(address) == 4:
        yield "tcp", in_table(address)
        yield "tcp6", in_table(mapped(address))
        yield "tcp", in_table(bytes(4))
    else:
        yield "tcp6", in_table(address)
    yield "tcp6", in_table(bytes(16))


def bound(host: str) -> frozenset[str] | None:
    """Where who listens at a host is bound, as the tables write it; None for all addresses.

    Raises OSError or ValueError.
    """
    addresses = [packed(address) for address in resolve(host)] if host else []
    if not host or any(not any(address) for address in addresses):  # 0.0.0.0 and ::
        return None
    inside = [mapped(address) for address in addresses if len(address) == 4]
    return frozenset(map(in_table, addresses + inside))
