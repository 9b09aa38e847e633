"""Questions to a running vLLM.

Ready means: it generated a token. `/health` is 200 for as long as no process died: with workers
that are stopped, and for a server whose first request kills it (0.32.0, run). So what works is
told by its counters while it has requests, and by a token that is asked for while it has none.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

from launcher import counting
from launcher.engines.activity import Load
from launcher.engines.server import SILENCE, TOKENS, Answer, Server, is_count, talk
from launcher.engines.vllm.figures import metrics, of_replicas

QUICK = 5.0  # seconds for what the API server answers by itself
AT_ONCE = 1.5  # seconds for its engine's own word on whether it is paused
# What may be asked in its developer mode alone (VLLM_SERVER_DEV_MODE), as only there it can be told
# to do nothing; elsewhere each is a 404, which the API server says by itself.
RESTS = ("is_paused", "is_sleeping")
IDLE = 10.0  # seconds for a token of a server that has nothing else to do
TOKEN = json.dumps({"prompt": "1", "max_tokens": 1, "temperature": 0})


def first_token(server: Server, within: float) -> Answer:
    """Does a token come out? Asked while it starts: it listens once all is loaded and captured."""
    status, _ = _ask(server, "GET", "/health", None, within)
    if status != 200:
        return Answer(False, f"/health says {status}")
    return _token(server, within)


def alive(server: Server, within: float) -> Answer:
    """Does anything still come out? Asked while it serves.

    A server with requests is told by what they move (`activity.update` compares the loads); one
    without is asked for a token.
    """
    try:
        status, _ = _ask(server, "GET", "/health", None, QUICK)
    except TimeoutError:
        return Answer(False, f"no answer to /health within {QUICK:g} s")
    if status != 200:
        return Answer(False, f"/health says {status}")
    loads = _loads(server)
    if running := sum(load.running for load in loads):
        return Answer(
            True, f"{counting.of(running, 'request')} in flight", loads=loads, proves=False
        )
    return replace(_token(server, min(within, IDLE) if loads else within), loads=loads)


def leads(server: Server, within: float) -> Answer:
    """Is it up? Asked of the first of several nodes by the others, with what needs no key."""
    status, _ = _ask(server, "GET", "/health", None, within)
    return Answer(status == 200, f"/health says {status}")


def in_flight(server: Server) -> int | None:
    """How many requests it runs or holds; None where it does not say."""
    loads = _loads(server)
    return sum(load.running for load in loads) if loads else None


def paused(server: Server) -> bool:
    """Whether its engine says that it was told to generate nothing: one that hangs says nothing.

    Asked of one that failed, so that no other has such lines in its log.
    """
    return any(_says(server, word) for word in RESTS)


def _says(server: Server, word: str) -> bool:
    with contextlib.suppress(*SILENCE):
        status, text = _ask(server, "GET", f"/{word}", None, AT_ONCE)
        return status == 200 and json.loads(text).get(word) is True
    return False


def _token(server: Server, within: float) -> Answer:
    status, text = _ask(server, "POST", "/v1/completions", TOKEN, within)
    if status != 200:
        return Answer(False, server.says("/v1/completions", status, text))
    tokens = json.loads(text).get("usage", {}).get("completion_tokens", 0)
    if not is_count(tokens, TOKENS):
        return Answer(False, server.says("/v1/completions", status, text))
    return Answer(tokens >= 1, f"generated {tokens} token")


def _loads(server: Server) -> tuple[Load, ...]:
    """What each replica says of its work; none where it cannot be had."""
    with contextlib.suppress(*SILENCE):
        status, text = metrics(server, QUICK)
        return of_replicas(text) if status == 200 else ()
    return ()


def _ask(
    server: Server, method: str, path: str, body: str | None, within: float
) -> tuple[int, str]:
    status, answer = talk(server, method, path, body, within)
    return status, answer.decode(errors="replace")
