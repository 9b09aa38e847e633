"""Questions to a running server.

Ready means: it generated a token. A port that answers proves nothing.

What could not be asked is not told as what did not answer (see `engines/http.py`), nor is what
somebody else said.

Endpoints as in SGLang 0.5.8 to 0.5.23 (`entrypoints/http_server.py`, read; exercised here on
0.5.23).
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from launcher.address import to_ask
from launcher.engines.http import ForeignError, Request, UnaskedError, exchange
from launcher.host.peer import Peer

# What reading an answer may fail of when it is none: not JSON, not of this shape, nested too deep.
NO_ANSWER = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
COUNTS = ("num_running_reqs", "num_waiting_reqs")
QUICK = 5.0  # seconds for what SGLang answers without its ranks


@dataclass(frozen=True)
class Answer:
    """Whether the server did what was asked, and in words what it said.

    `excuse` says why no answer is no fault; `loads` is what its schedulers published of their work.

    `unknown`: it could not be asked, so nothing is known of it: this process or host has no
    descriptor, port, buffer, memory, thread or address left for it, or a filter in the way; the
    resolver failed; or whether it is the server who listens could not be looked up (no /proc,
    processes that may not be looked at, a host too slow to tell). A connection that is refused,
    reset or timed out is none of these: it is a no.

    `foreign` is who holds the port instead of the server, in words. It was not asked, and its word
    counts for nothing; that the server does not answer at its port is a fact.
    """

    ok: bool
    detail: str
    excuse: str = ""
    loads: list[dict[str, Any]] = field(default_factory=list)
    unknown: bool = False
    foreign: str = ""


@dataclass(frozen=True)
class Server:
    """Where the server listens, its key, and how it is known; without `peer`, whoever listens is
    it.
    """

    host: str
    port: int
    key: str | None = None
    peer: Peer | None = field(default=None, compare=False)

    @property
    def url(self) -> str:
        """Its address as seen from this host."""
        host = to_ask(self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def generates(server: Server, within: float) -> Answer:
    """Does SGLang call itself up, and does a token come out? Asked while it starts.

    `/ping` is 200 from the moment SGLang's own warm-up is through, in all releases, and answers at
    once; `/health` would do too, but sleeps a second before it looks.
    """
    status, _ = _ask(server, "GET", "/ping", None, within)
    if status != 200:
        return Answer(False, f"/ping says {status}")
    body = {"text": "1", "sampling_params": {"max_new_tokens": 1, "temperature": 0}}
    status, text = _ask(server, "POST", "/generate", json.dumps(body), within)
    if status != 200:
        return Answer(False, f"/generate says {status}: {text[:200]}")
    tokens = json.loads(text).get("meta_info", {}).get("completion_tokens", 0)
    if not _is_count(tokens):
        return Answer(False, f"/generate says {text[:200]}")
    return Answer(tokens >= 1, f"generated {tokens} token")


def lives(server: Server, within: float) -> Answer:
    """Does anything still come out? Asked while it serves.

    `/health` is 200 when the server sent any token since it was asked, somebody else's included, so
    a queue of long requests in front of the question does not look like a hang. A paused server
    would fail it, and be called unhealthy by SGLang for having been asked; it is up (`/ping`) and
    not ready (`/ready`, from 0.5.20 on).
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


def _is_count(value: object) -> bool:
    """Whether it is a number of things: no bool, no infinity, nothing that only its writer can
    mean.
    """
    return type(value) is int and 0 <= value < 1 << 63


def _status(server: Server, path: str) -> int:
    """The status of an endpoint that may not be there, 0 for no answer.

    Raises UnaskedError or ForeignError: what was not asked is not answered by silence.
    """
    try:
        return _ask(server, "GET", path, None, QUICK)[0]
    except (OSError, http.client.HTTPException):
        return 0


def in_flight(server: Server) -> int | None:
    """How many requests the schedulers say they run or hold; None where nobody can tell.

    A prompt that is being read in chunks is in none of their counts (0.5.23, read): 0 alone proves
    nothing.
    """
    counts: list[Any] = [load.get(name) for load in _published(server) for name in COUNTS]
    return sum(counts) if counts and all(map(_is_count, counts)) else None


def _loads(server: Server) -> list[dict[str, Any]]:
    """What each replica's scheduler says of its work; may be nothing."""
    return [_whole(load) for load in _published(server)]


def _published(server: Server) -> list[dict[str, Any]]:
    """The load snapshots as they come (`/v1/loads`, in all releases); none where they cannot be
    had.
    """
    try:
        status, text = _ask(server, "GET", "/v1/loads", None, QUICK)
        loads = json.loads(text)["loads"] if status == 200 else []
        return [load for load in loads if isinstance(load, dict)]
    except (OSError, http.client.HTTPException, UnaskedError, ForeignError, *NO_ANSWER):
        return []


def _whole(load: dict[str, Any]) -> dict[str, Any]:
    """A load with the counts that are read of it, as numbers."""
    return load | {name: load[name] if _is_count(load.get(name)) else 0 for name in COUNTS}


def ask(server: Server, first: bool, within: float) -> Answer:
    """One of the two questions, in a few times `within` seconds at most.

    Whatever goes wrong on the way is a no with a reason, or unknown.
    """
    try:
        return (generates if first else lives)(server, within)
    except ForeignError as foreign:
        return Answer(False, str(foreign), foreign=foreign.who)
    except (UnaskedError, MemoryError) as error:
        return Answer(False, f"it could not be asked: {error or 'no memory'}", unknown=True)
    except TimeoutError:
        return Answer(False, f"no answer within {within:g} s")
    except (OSError, http.client.HTTPException, *NO_ANSWER) as error:
        return Answer(False, f"{type(error).__name__}: {error}")


def _ask(
    server: Server, method: str, path: str, body: str | None, within: float
) -> tuple[int, str]:
    status, answer = talk(server, method, path, body, within)
    return status, answer.decode(errors="replace")


def talk(
    server: Server, method: str, path: str, body: str | None, within: float
) -> tuple[int, bytes]:
    """One question: the status and the whole answer, of 1 MiB at most, in `within` seconds for all
    of it.

    Raises OSError (TimeoutError among them) or HTTPException where there is no answer, or one that
    breaks off; UnaskedError where it could not be asked; ForeignError where somebody else holds the
    port.
    """
    headers = {"Content-Type": "application/json"} if body else {}
    if server.key:
        headers["Authorization"] = f"Bearer {server.key}"
    host = to_ask(server.host)
    return exchange(host, server.port, Request(method, path, body, headers), within, server.peer)
