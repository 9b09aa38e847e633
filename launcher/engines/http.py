"""One HTTP question to a server, and its answer: who is asked is known first, and nothing goes on
for ever.

Three ways not to get an answer are told apart. The server did not give one: OSError (refused,
reset, TimeoutError) or HTTPException. It could not be asked, by a shortage of this process or host:
UnaskedError. Somebody else listens there: ForeignError, and nothing was sent.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.errors import in_words
from launcher.host import sockets
from launcher.host.peer import Peer, Whose

LIMIT = 1 << 20  # bytes of one answer: status line, headers, whatever came before them, and body
PIECE = 1 << 16  # bytes of a body that are read at a time
OTHER_SOURCE = "127.0.0.2"  # to ask from, when clients have used up the ports of 127.0.0.1

# What a connection fails of when the other side is why: refused, reset, aborted, shut, timed out.
# All else that an OSError can say is this side's: EMFILE, ENFILE, ENOMEM, ENOBUFS, EAGAIN and
# EADDRNOTAVAIL (no ports left), EADDRINUSE, EPERM and EACCES (a filter of this host), ENETDOWN,
# ENETUNREACH, EHOSTUNREACH, EAFNOSUPPORT, and the resolver's errors.
THEIRS = (ConnectionError, TimeoutError)


class UnaskedError(Exception):
    """The server could not be asked, for a reason that is not the server's; that is no answer of
    any kind.
    """


class ForeignError(Exception):
    """Another process holds the server's port.

    `who` says which, in words; nothing was sent to it.
    """

    def __init__(self, port: int, who: str) -> None:
        super().__init__(
            f"port {port} is held by {who}, not by this server; nothing was sent to it"
        )
        self.who = who


class TooLongError(http.client.HTTPException):
    """The answer, or a part of it, is longer than any sane one."""


# What http.client raises for too many, or too long, headers.
TOO_LONG = (http.client.HTTPException, http.client.LineTooLong)


@dataclass(frozen=True)
class Request:
    """What is asked."""

    method: str
    path: str
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Bounded(socket.socket):
    """A socket that gives and takes until a moment (`until`: monotonic seconds) and takes `room`
    bytes at most.

    Past these it raises TimeoutError and TooLongError.
    """

    until = 0.0
    room = LIMIT

    def left(self) -> float:
        """Seconds until then."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def connect(self, address: Any) -> None:
        self.settimeout(self.left())
        super().connect(address)

    def sendall(self, *data: Any) -> None:
        self.settimeout(self.left())  # for all of it
        super().sendall(*data)

    def recv_into(self, *buffer: Any) -> int:
        self.settimeout(self.left())
        got = super().recv_into(*buffer)
        self.room -= got
        if self.room < 0:
            raise TooLongError(f"an answer of more than {LIMIT} bytes")
        return got


def countdown(seconds: float) -> Callable[[], float]:
    """One deadline for several questions: the seconds that are left of so many.

    It raises TimeoutError once none are.
    """
    until = time.monotonic() + seconds

    def left() -> float:
        if (rest := until - time.monotonic()) <= 0:
            raise TimeoutError("timed out")
        return rest

    return left


Hold = Callable[[Bounded], None]  # who may want to end a connection before its answer


def exchange(
    host: str,
    port: int,
    request: Request,
    within: float,
    peer: Peer | None,
    hold: Hold = lambda made: None,
) -> tuple[int, bytes]:
    """The status and the whole body of an answer.

    `within` seconds are for all of it, the look at who listens included; `hold` is handed the
    connection before anything is sent. A redirect is an answer as
    any other. Without `peer` whoever listens is asked. Raises OSError, HTTPException, UnaskedError
    or ForeignError; an answer that breaks off is one of the first two.
    """
    until = time.monotonic() + within
    with ours_or_theirs(), contextlib.closing(http.client.HTTPConnection(host, port)) as connection:
        connection.auto_open = 0  # one connection, the one that was looked at
        connection.sock = made = reach(host, port, until, peer)
        hold(made)
        connection.request(request.method, request.path, request.body, dict(request.headers))
        return _answer(connection)


@contextlib.contextmanager
def ours_or_theirs() -> Iterator[None]:
    """Tell our own trouble from the other side's."""
    try:
        yield
    except OSError as error:
        if isinstance(error, THEIRS) or error.errno == errno.ENOTCONN:
            raise
        raise UnaskedError(in_words(error)) from error
    except MemoryError as error:
        raise UnaskedError(in_words(error)) from error
    except (ImportError, LookupError, UnicodeError) as error:
        raise UnaskedError("a module or codec of Python's could not be read") from error


def _answer(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    try:
        with connection.getresponse() as response:
            return response.status, _body(response)
    except http.client.HTTPException as error:
        if type(error) in TOO_LONG:
            raise TooLongError(str(error)) from error
        raise


def _body(response: http.client.HTTPResponse) -> bytes:
    if (response.length or 0) > LIMIT:  # it would be given the memory before it is read
        raise TooLongError(f"an answer of {response.length} bytes, more than {LIMIT}")
    body = b"".join(iter(lambda: response.read(PIECE), b""))
    if response.length:  # read in pieces, it does not tell that the answer broke off
        raise http.client.IncompleteRead(body, response.length)
    return body


def reach(host: str, port: int, until: float, peer: Peer | None) -> Bounded:
    """A connection to the first address of the host where somebody listens.

    `until`: monotonic seconds. Raises what `exchange` does.
    """
    refused = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    for address in sockets.resolve(host):
        try:
            return _known(address, port, until, peer) if peer else _connected(address, port, until)
        except ConnectionRefusedError as error:
            refused = error
    raise refused


def _known(address: str, port: int, until: float, peer: Peer) -> Bounded:
    """A connection that the server itself has got: looked at before, and again before anything is
    sent.
    """
    before = _ours(peer, address, port, until)
    made = _connected(address, port, until)
    try:
        if _ours(peer, address, port, until) != before:
            raise UnaskedError(f"port {port} passed to another listener meanwhile")
    except BaseException:
        made.close()
        raise
    return made


def _ours(peer: Peer, address: str, port: int, until: float) -> frozenset[int]:
    """The server's listening sockets, where it is the server who listens."""
    verdict = peer.check(address, port)
    match verdict.whose:
        case Whose.NOBODY:
            raise ConnectionRefusedError(errno.ECONNREFUSED, verdict.detail)
        case Whose.FOREIGN:
            raise ForeignError(port, verdict.detail)
        case Whose.UNKNOWN:
            raise UnaskedError(verdict.detail)
    if time.monotonic() >= until:  # a slow look is no slow answer
        raise UnaskedError("it took this host too long to look up who listens")
    return verdict.inodes


def _connected(address: str, port: int, until: float) -> Bounded:
    try:
        return _connection(address, port, until)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL or not address.startswith("127."):
            raise
        return _connection(address, port, until, OTHER_SOURCE)


def _connection(address: str, port: int, until: float, source: str | None = None) -> Bounded:
    made = Bounded(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.until = until
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            made.bind((source, 0))
        made.connect((address, port))
    except BaseException:
        made.close()
        raise
    return made
