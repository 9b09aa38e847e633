"""Questions to a running SGLang.

Ready means: it generated a token. A port that answers proves nothing.

Endpoints as in SGLang 0.5.8 to 0.5.23 (`entrypoints/http_server.py`, read; exercised here on
0.5.23).
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.engines.activity import Load
from launcher.engines.http import countdown
from launcher.engines.server import PAUSED, SILENCE, TOKENS, Answer, Server, is_count, talk
from launcher.engines.sglang.figures import published

COUNTS = ("num_running_reqs", "num_waiting_reqs")
QUICK = 5.0  # seconds for what SGLang answers without its ranks
AT_ONCE = 1.5  # seconds for `/health`, which takes one, before it is looked whether it was paused


def first_token(server: Server, within: float) -> Answer:
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
        return Answer(False, server.says("/generate", status, text))
    tokens = json.loads(text).get("meta_info", {}).get("completion_tokens", 0)
    if not is_count(tokens, TOKENS):
        return Answer(False, server.says("/generate", status, text))
    return Answer(tokens >= 1, f"generated {tokens} token")


def alive(server: Server, within: float) -> Answer:
    """Does anything still come out? Asked while it serves.

    `/health` is 200 when the server sent any token since it was asked, somebody else's included, so
    a queue of long requests in front of the question does not look like a hang. A paused server
    would fail it, and be called unhealthy by SGLang for having been asked; it is up (`/ping`) and
    not ready (`/ready`, from 0.5.20 on). One that is paused while it is being asked is found so
    before it fails: from then on it would be down by `/ping` too.
    """
    left = countdown(within)
    try:
        up = _ask(server, "GET", "/ping", None, QUICK)[0] == 200
    except TimeoutError:
        return Answer(False, f"no answer to /ping within {QUICK:g} s")
    is_paused = up and _status(server, "/ready") == 503
    if is_paused:
        return Answer(False, "/ready says 503", excuse=PAUSED)
    try:
        status, text = _ask(server, "GET", "/health", None, min(within, AT_ONCE))
    except TimeoutError:
        if _status(server, "/ping") == 200 and _status(server, "/ready") == 503:
            return Answer(False, "/ready says 503", excuse=PAUSED)
        status, text = _ask(server, "GET", "/health", None, left())
    detail = server.says("/health", status, text)
    return Answer(status == 200, detail, loads=tuple(_loads(server)) if status == 200 else ())


def leads(server: Server, within: float) -> Answer:
    """Is it ready? Asked of the first of several nodes by the others, which say 200 to whatever
    they are asked, and only with what needs no key.

    Before 0.5.20 `/health` alone tells. One that is up and not ready is paused, or drains: its own
    launcher knows.
    """
    status = _ask(server, "GET", "/ready", None, within)[0]
    path = "/health" if status == 404 else "/ready"
    status = _ask(server, "GET", path, None, within)[0] if status == 404 else status
    is_up = status == 503 and _status(server, "/ping") == 200
    return Answer(status == 200, f"{path} says {status}", excuse=PAUSED if is_up else "")


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
    return sum(counts) if counts and all(map(is_count, counts)) else None


def _loads(server: Server) -> Iterator[Load]:
    """What each replica's scheduler says of its work; may be nothing."""
    for index, load in enumerate(_published(server)):
        rank = load["dp_rank"] if isinstance(load.get("dp_rank"), int) else index
        counts = {name: load[name] if is_count(load.get(name)) else 0 for name in COUNTS}
        yield Load(rank, counts["num_running_reqs"], {**load, **counts})


def _published(server: Server) -> list[Mapping[str, Any]]:
    """The load snapshots as they come; none where they cannot be had."""
    with contextlib.suppress(*SILENCE):
        return published(server, QUICK)[1]
    return []


def _ask(
    server: Server, method: str, path: str, body: str | None, within: float
) -> tuple[int, str]:
    status, answer = talk(server, method, path, body, within)
    return status, answer.decode(errors="replace")
