"""Questions to a running server. Ready means: it generated a token. A port that answers proves nothing.

Endpoints as in SGLang 0.5.8 to 0.5.23 (`entrypoints/http_server.py`, read; exercised here on 0.5.23).
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

QUICK = 5.0  # seconds for what SGLang answers without its ranks
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True)
class Answer:
    """Whether the server did what was asked, and in words what it said.

    `excuse` says why no answer is no fault; `loads` is what its schedulers published of their work.
    """

    ok: bool
    detail: str
    excuse: str = ""
    loads: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Server:
    """Where the server listens, and its key."""

    host: str
    port: int
    key: str | None = None

    @property
    def url(self) -> str:
        """Its address as seen from this host."""
        host = LOOPBACK.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def generates(server: Server, within: float) -> Answer:
    """Does SGLang call itself up, and does a token come out? Asked while it starts.

    `/ping` is 200 from the moment SGLang's own warm-up is through, in all releases, and answers at once;
    `/health` would do too, but sleeps a second before it looks.
    """
    status, _ = _ask(server, "GET", "/ping", None, within)
    if status != 200:
        return Answer(False, f"/ping says {status}")
    body = {"text": "1", "sampling_params": {"max_new_tokens": 1, "temperature": 0}}
    status, text = _ask(server, "POST", "/generate", json.dumps(body), within)
    if status != 200:
        return Answer(False, f"/generate says {status}: {text[:200]}")
    tokens = json.loads(text).get("meta_info", {}).get("completion_tokens", 0)
    return Answer(tokens >= 1, f"generated {tokens} token")


def lives(server: Server, within: float) -> Answer:
    """Does anything still come out? Asked while it serves.

    `/health` is 200 when the server sent any token since it was asked, somebody else's included, so a queue
    of long requests in front of the question does not look like a hang. A paused server would fail it, and be
    called unhealthy by SGLang for having been asked; it is up (`/ping`) and not ready (`/ready`, from 0.5.20 on).
    """
    try:
        up = _ask(server, "GET", "/ping", None, QUICK)[0] == 200
    except TimeoutError:
        return Answer(False, f"no answer to /ping within {QUICK:g} s")
    if up and _status(server, "/ready") == 503:
        return Answer(False, "/ready says 503", excuse="generation is paused")
    status, text = _ask(server, "GET", "/health", None, within)
    detail = f"/health says {status}{': ' + text[:200] if text else ''}"
    return Answer(status == 200, detail, loads=_loads(server) if status == 200 else [])


def _status(server: Server, path: str) -> int:
    try:
        return _ask(server, "GET", path, None, QUICK)[0]
    except (OSError, http.client.HTTPException):
        return 0


def in_flight(server: Server) -> int | None:
    """How many requests the schedulers say they run or hold; None where nobody can tell.

    A prompt that is being read in chunks is in none of their counts (0.5.23, read): 0 alone proves nothing.
    """
    loads = _loads(server)
    return sum(load["num_running_reqs"] + load["num_waiting_reqs"] for load in loads) if loads else None


def _loads(server: Server) -> list[dict[str, Any]]:
    """What each replica's scheduler says of its work (`/v1/loads`, in all releases); may be nothing."""
    try:
        status, text = _ask(server, "GET", "/v1/loads", None, QUICK)
        loads = json.loads(text)["loads"] if status == 200 else []
        return [_whole(load) for load in loads if isinstance(load, dict)]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []


def _whole(load: dict[str, Any]) -> dict[str, Any]:
    """A load with the counts that are read of it, as numbers."""
    counts = {name: load.get(name) for name in ("num_running_reqs", "num_waiting_reqs")}
    return load | {name: count if isinstance(count, int) else 0 for name, count in counts.items()}


def ask(server: Server, first: bool, within: float) -> Answer:
    """One of the two questions; whatever goes wrong on the way is a no with a reason."""
    try:
        return (generates if first else lives)(server, within)
    except TimeoutError:
        return Answer(False, f"no answer within {within:g} s")
    except (OSError, http.client.HTTPException, ValueError, AttributeError, TypeError) as error:
        return Answer(False, f"{type(error).__name__}: {error}")


def _ask(server: Server, method: str, path: str, body: str | None, within: float) -> tuple[int, str]:
    status, answer = talk(server, method, path, body, within)
    return status, answer.decode(errors="replace")


def talk(server: Server, method: str, path: str, body: str | None, within: float) -> tuple[int, bytes]:
    """One question: the status and the whole answer. `within` seconds may pass without a byte.

    Raises OSError (TimeoutError among them) or HTTPException; an answer that breaks off is one of these, too.
    """
    headers = {"Content-Type": "application/json"} if body else {}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    host = LOOPBACK.get(server.host, server.host)
    connection = http.client.HTTPConnection(host, server.port, timeout=within)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()  # with a limit, it would not tell that the answer broke off
    finally:
        connection.close()
