"""HTTP from a command: requests over connections that know who listens and that end.

The supervisor's own questions go by `engines/http.py`, without requests: its memory is why. What
both have in common is the connection: the server's own port, one deadline and so many bytes for all
of an answer. A redirect is an answer as any other; a proxy of the environment is not asked.
"""

from __future__ import annotations

import http.client
import socket
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.packages import urllib3  # type: ignore[attr-defined]

from launcher.address import to_ask
from launcher.engines.http import LIMIT, PIECE, TOO_LONG, TooLongError, ours_or_theirs, reach
from launcher.engines.server import Server, unanswered


class _Connection(urllib3.connection.HTTPConnection):  # type: ignore[misc]  # it has no types
    """One that is made by `reach`, in place of a look-up of its own."""

    within: tuple[Server, float]

    def _new_conn(self) -> socket.socket:
        server, until = self.within
        return reach(to_ask(server.host), server.port, until, server.peer)


class _Adapter(HTTPAdapter):
    """Connections to one server, until a moment (monotonic seconds)."""

    def __init__(self, server: Server, until: float) -> None:
        self.within = server, until
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **how: Any) -> None:
        """Have plain HTTP go by our own connection."""
        super().init_poolmanager(*args, **how)
        connection = type("Connection", (_Connection,), {"within": self.within})
        pool = type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": connection})
        self.poolmanager.pool_classes_by_scheme = {"http": pool}


def talk(
    server: Server, method: str, path: str, body: str | None, within: float
) -> tuple[int, bytes]:
    """The same as `engines.server.talk`: the status and the whole answer, 1 MiB at most, in
    `within` seconds for all of it.

    Raises OSError (TimeoutError among them) where there is no answer or one that breaks off,
    TooLongError, UnaskedError, ForeignError.
    """
    headers = {"Content-Type": "application/json"} if body else {}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    with requests.Session() as session, ours_or_theirs():
        session.trust_env = False
        session.mount("http://", _Adapter(server, time.monotonic() + within))
        try:
            answer = session.request(
                method, f"{server.url}{path}", data=body, headers=headers,
                allow_redirects=False, stream=True,
            )  # fmt: skip
            return answer.status_code, _whole(answer)
        except requests.RequestException as error:
            raise _cause(error) from error


def _whole(answer: requests.Response) -> bytes:
    if int(answer.headers.get("Content-Length") or 0) > LIMIT:
        raise TooLongError(f"an answer of more than {LIMIT} bytes")
    pieces, size = [], 0
    for piece in answer.iter_content(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > LIMIT:  # unpacked
            raise TooLongError(f"an answer of more than {LIMIT} bytes")
    return b"".join(pieces)


def _cause(error: BaseException) -> BaseException:
    """What it comes of: an error of ours, or of the kernel, that requests has wrapped."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, TooLongError):
            return seen
        if type(seen) in TOO_LONG:
            return TooLongError(str(seen))
        if isinstance(seen, http.client.HTTPException):
            return ConnectionError(unanswered(seen))
        if isinstance(seen, OSError) and not isinstance(seen, requests.RequestException):
            return seen
        seen = seen.__cause__ or seen.__context__
    return ConnectionError("its answer is not HTTP")
