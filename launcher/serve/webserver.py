"""A web server of a few pages, for metrics and for who asks whether a server is ready: few
connections, short ones, and none that a page of another site makes.

A page in a browser may send requests to this host, and have its own name lead here (DNS rebinding):
so the Host must be one that is served. Whoever connects and says nothing, or says it slowly, is cut
off; a state folder that hangs holds up one thread, and not one for each who asks. The standard
library alone: the supervisor has it, too.
"""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from launcher.address import LOCAL, canonical

MOST = 16  # connections at a time; for one more who has not asked yet has to go
ROOM_WITHIN = 0.5  # seconds for that
ASK_WITHIN = 5.0  # seconds for a whole request
ANSWER_WITHIN = 10.0  # seconds for a page, and again for whoever takes it
LARGEST = 8192  # bytes of a request line and headers
_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(r"([A-Z]{1,20}) ([!-~]+) HTTP/1\.([01])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(?::\d{1,5})?")


@dataclass(frozen=True)
class Page:
    """What is answered."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[], Page]]  # by their paths; may raise NoError


class NoError(Exception):
    """A request that gets another answer than a page."""

    def __init__(self, status: HTTPStatus, why: str = "", **headers: str) -> None:
        super().__init__(why)
        self.status, self.headers = status, headers


@dataclass(frozen=True)
class Access:
    """Who is answered: by which names this is asked, with which token.

    Without names, by any (a Unix socket).
    """

    names: frozenset[str] | None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Request:
    """The head of a request; the names of its headers are lower case."""

    method: str
    path: str
    version: str
    headers: Mapping[str, list[str]]


class Collecting:
    """One collection at a time: whoever asks while one is under way waits for that one."""

    def __init__(self, collect: Callable[[], bytes]) -> None:
        self._collect = collect
        self._lock = threading.Lock()
        self._last: Future[bytes] | None = None

    def result(self, within: float) -> bytes:
        """What was collected.

        Raises TimeoutError after `within` seconds, and what the collection raises.
        """
        with self._lock:
            if self._last is None or self._last.done():
                fresh: Future[bytes] = Future()
                threading.Thread(target=self._run, args=(fresh,), daemon=True).start()
                self._last = fresh
            asked = self._last
        return asked.result(within)

    def page(self, content: str) -> Page:
        """What was collected, as a page. Raises NoError where it was not."""
        try:
            return Page(self.result(ANSWER_WITHIN), content=content)
        except TimeoutError:
            raise NoError(
                HTTPStatus.SERVICE_UNAVAILABLE, "the state folder does not answer"
            ) from None
        except Exception as error:  # ours
            print(f"glm5-serve metrics: {type(error).__name__}", file=sys.stderr)
            raise NoError(HTTPStatus.INTERNAL_SERVER_ERROR, type(error).__name__) from None

    def _run(self, asked: Future[bytes]) -> None:
        try:
            asked.set_result(self._collect())
        except Exception as error:
            asked.set_exception(error)


class WebServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Answers with its pages; an address with a slash in it is a Unix socket's."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 2 * MOST

    def __init__(self, address: Any, pages: Pages, access: Access) -> None:
        """Listen. Raises OSError."""
        self.pages, self.access = pages, access
        self._free = threading.BoundedSemaphore(MOST)
        self.silent: deque[socket.socket] = deque()  # who has not asked yet, longest first
        is_path = isinstance(address, str)
        self.address_family = (
            socket.AF_UNIX if is_path else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        )
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if one is free, or holds nobody but one who has not asked yet."""
        if not (self._free.acquire(blocking=False) or self._made_room()):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def _made_room(self) -> bool:
        """Whether there is a place for one more, once who has said nothing for longest is gone."""
        with contextlib.suppress(IndexError, OSError):
            self.silent.popleft().shutdown(socket.SHUT_RD)
            return self._free.acquire(timeout=ROOM_WITHIN)
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and be free again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went is no news."""


class Handler(socketserver.BaseRequestHandler):
    """One request, one answer."""

    server: WebServer

    def handle(self) -> None:
        """Read a request, judge it, answer it; whoever is too slow for that gets nothing."""
        with contextlib.suppress(TimeoutError):
            method = "GET"
            try:
                request = parsed(self._head())
                method = request.method
                require(request, self.server.access, self._address(), self.server.pages)
                page = self.server.pages[request.path]()
                self._say(page.status, method, page.body, {"Content-Type": page.content})
            except NoError as no:
                body = (
                    f"{no.status.value} {no.status.phrase}{': ' if str(no) else ''}{no}\n".encode()
                )
                self._say(
                    no.status,
                    method,
                    body,
                    {"Content-Type": "text/plain; charset=utf-8", **no.headers},
                )

    def _head(self) -> bytes:
        self.server.silent.append(self.request)
        try:
            return _head(self.request, time.monotonic() + ASK_WITHIN)
        finally:
            with contextlib.suppress(ValueError):
                self.server.silent.remove(self.request)

    def _address(self) -> str:
        """The address of this host that was connected to."""
        return str(self.request.getsockname()[0]) if self.server.access.names is not None else ""

    def _say(
        self, status: HTTPStatus, method: str, body: bytes, headers: Mapping[str, str]
    ) -> None:
        told = {
            **headers,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Cache-Control": "no-store",
        }
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            *(f"{name}: {value}" for name, value in told.items()),
        ]
        self.request.settimeout(ANSWER_WITHIN)  # of all that is sent together
        self.request.sendall(
            "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)
        )


def _head(end: socket.socket, deadline: float) -> bytes:
    """The request line and the headers. Raises TimeoutError, ConnectionError, NoError."""
    data = b""
    while not (found := _END.search(data)):
        if len(data) > LARGEST:
            raise NoError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        end.settimeout(max(0.001, deadline - time.monotonic()))
        piece = end.recv(LARGEST)
        if not piece:
            raise ConnectionAbortedError("it went before it had asked")
        data += piece
    return data[: found.start()]


def parsed(head: bytes) -> Request:
    """The head of a request. Raises NoError where it is none."""
    first, *rest = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    line, headers = _LINE.fullmatch(first), [_HEADER.fullmatch(each) for each in rest]
    if not line or not all(headers):
        raise NoError(HTTPStatus.BAD_REQUEST)
    said: dict[str, list[str]] = {}
    for header in filter(None, headers):
        said.setdefault(header[1].lower(), []).append(header[2])
    return Request(line[1], line[2].partition("?")[0], line[3], said)


def require(request: Request, access: Access, address: str, pages: Pages) -> None:
    """Raise NoError for a request that is not answered with a page; `address`: the one that was
    connected to.
    """
    if access.names is not None:
        _require_host(request, access.names | {canonical(address), LOCAL})
    if access.token is not None and not _is_allowed(request, access.token):
        raise NoError(
            HTTPStatus.UNAUTHORIZED, "a bearer token is wanted", **{"WWW-Authenticate": "Bearer"}
        )
    if request.method not in ("GET", "HEAD"):
        raise NoError(HTTPStatus.METHOD_NOT_ALLOWED, Allow="GET, HEAD")
    if request.path not in pages:
        raise NoError(HTTPStatus.NOT_FOUND, f"there is {', '.join(filter(None, pages))}")


def _require_host(request: Request, names: frozenset[str]) -> None:
    hosts = request.headers.get("host", [])
    if len(hosts) > 1 or (not hosts and request.version == "1"):
        raise NoError(HTTPStatus.BAD_REQUEST, "one Host is wanted")
    found = _HOST.fullmatch(hosts[0]) if hosts else None
    if hosts and (not found or canonical(found[1]) not in names):
        raise NoError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this Host is not served here: --host-name NAME has it served",
        )


def _is_allowed(request: Request, token: str) -> bool:
    import hmac  # it brings OpenSSL, which the supervisor does without

    scheme, _, said = " ".join(request.headers.get("authorization", [])).partition(" ")
    return hmac.compare_digest(said.strip().encode(), token.encode()) and scheme.lower() == "bearer"
