"""Questions to a running vLLM.

Ready means: it generated a token. `/health` is 200 for as long as no process died: with workers
that are stopped, and for a server whose first request kills it (0.32.0, run). So what works is
told by its counters while it has requests, and by a token that is asked for while it has none.
"""

from __future__ import annotations

import http.client
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from launcher.engines.activity import Load
from launcher.engines.http import ForeignError, UnaskedError
from launcher.engines.server import NO_ANSWER, Answer, Server, talk
from launcher.engines.signs import Counted, total

QUICK = 5.0  # seconds for what the API server answers by itself
AT_ONCE = 1.5  # seconds for its engine's own word on whether it is paused
# What may be asked in its developer mode alone (VLLM_SERVER_DEV_MODE), as only there it can be told
# to do nothing; elsewhere each is a 404, which the API server says by itself.
RESTS = ("is_paused", "is_sleeping")
IDLE = 10.0  # seconds for a token of a server that has nothing else to do
# Its gauges and counters, in all releases from 0.16 on. The share of the KV cache in use moves with
# each piece of a long prompt, whose tokens are counted once it was read.
RUNNING, WAITING = "num_requests_running", "num_requests_waiting"
MOVING = ("generation_tokens_total", "prompt_tokens_total", "kv_cache_usage_perc")
# What it counts of its steps (v1/metrics/loggers.py of 0.32.0): a latency for each request and
# step, and each step once; drafts of speculation, and their tokens that were right.
LATENCIES, LATENCY = "inter_token_latency_seconds_count", "inter_token_latency_seconds_sum"
STEPS, USED, PROMPTS = "iteration_tokens_total_count", "kv_cache_usage_perc", "prompt_tokens_total"
DRAFTS, RIGHT = "spec_decode_num_drafts_total", "spec_decode_num_accepted_tokens_total"
WORK = (RUNNING, WAITING, LATENCIES, LATENCY, STEPS, USED, PROMPTS, DRAFTS, RIGHT)
_SAMPLE = re.compile(r"^vllm:(\w+)\{([^}\n]*)\} (\d+(?:\.\d+)?(?:e[-+]?\d{1,2})?)$", re.MULTILINE)
_REPLICA = re.compile(r'(?:^|,)engine="(\d{1,6})"')
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
        return Answer(True, f"{running} requests in flight", loads=loads, proves=False)
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
    try:
        status, text = _ask(server, "GET", f"/{word}", None, AT_ONCE)
        return status == 200 and json.loads(text).get(word) is True
    except (OSError, http.client.HTTPException, UnaskedError, ForeignError, *NO_ANSWER):
        return False


def _token(server: Server, within: float) -> Answer:
    status, text = _ask(server, "POST", "/v1/completions", TOKEN, within)
    if status != 200:
        return Answer(False, f"/v1/completions says {status}: {text[:200]}")
    tokens = json.loads(text).get("usage", {}).get("completion_tokens", 0)
    if type(tokens) is not int:
        return Answer(False, f"/v1/completions says {text[:200]}")
    return Answer(tokens >= 1, f"generated {tokens} token")


def counted(server: Server) -> Counted | None:
    """What it counts of its work; None where it is not to be had."""
    return counted_of(_metrics(server))


def _loads(server: Server) -> tuple[Load, ...]:
    """What each replica says of its work; none where it cannot be had."""
    return loads_of(_metrics(server))


def _metrics(server: Server) -> str:
    """Its metrics; "" where they cannot be had."""
    try:
        status, text = _ask(server, "GET", "/metrics", None, QUICK)
    except (OSError, http.client.HTTPException, UnaskedError, ForeignError, *NO_ANSWER):
        return ""
    return text if status == 200 else ""


def loads_of(text: str) -> tuple[Load, ...]:
    """What an exposition of metrics tells of each replica's work; clients have no say in it."""
    return tuple(
        Load(replica, int(shown[RUNNING] + shown.get(WAITING, 0)), shown)
        for replica, shown in _by_replica(text, (RUNNING, WAITING, *MOVING))
    )


def counted_of(text: str) -> Counted | None:
    """What an exposition of metrics tells of all replicas' steps; clients have no say in it."""
    shown = [found for _, found in _by_replica(text, WORK)]
    return total([_counted(each) for each in shown]) if shown else None


def _counted(shown: Mapping[str, float]) -> Counted:
    said = defaultdict(float, shown)
    return Counted(
        running=int(said[RUNNING]),
        waiting=int(said[WAITING]),
        used=said[USED],
        steps=said[STEPS],
        rows=said[LATENCIES],
        row_seconds=said[LATENCY],
        passes=said[DRAFTS],
        passed=said[DRAFTS] + said[RIGHT],
        prompts=said[PROMPTS],
    )


def _by_replica(text: str, names: Collection[str]) -> Iterator[tuple[int, dict[str, float]]]:
    """Those of its figures that are named, of each replica that says what it runs."""
    found: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for name, labels, value in _SAMPLE.findall(text):
        if name in names and (replica := _REPLICA.search(labels)):
            found[int(replica[1])][name] = float(value)
    return ((replica, shown) for replica, shown in sorted(found.items()) if RUNNING in shown)


def _ask(
    server: Server, method: str, path: str, body: str | None, within: float
) -> tuple[int, str]:
    status, answer = talk(server, method, path, body, within)
    return status, answer.decode(errors="replace")
