"""What a running vLLM says of its work: all of it in `/metrics`, which is always there, wants no
key, and costs it 3 ms (0.32.0, run). Names are those of all releases from 0.16 on.
"""

from __future__ import annotations

from launcher.engines.activity import Load
from launcher.engines.exposition import Samples, buckets, by_label, lacking, samples, total
from launcher.engines.figures import Figures, Steps
from launcher.engines.server import Server, talk

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
# The share of the KV cache in use moves with each piece of a long prompt, whose tokens are counted
# once it was read.
KV, GENERATED, READ = (
    "vllm:kv_cache_usage_perc",
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
)
ASKED, HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
DRAFTS, ACCEPTED = (
    "vllm:spec_decode_num_drafts_total",
    "vllm:spec_decode_num_accepted_tokens_total",
)
FIRST = "vllm:time_to_first_token_seconds_bucket"
# A latency for each request and step, and each step once (v1/metrics/loggers.py of 0.32.0).
LATENCIES, LATENCY = (
    "vllm:inter_token_latency_seconds_count",
    "vllm:inter_token_latency_seconds_sum",
)
STEPS = "vllm:iteration_tokens_total_count"
WORK = (RUNNING, WAITING, GENERATED, READ, KV)  # what moves while it has something to do
ALWAYS = (RUNNING, WAITING, KV, GENERATED)  # from its start on
NAMES = frozenset((*WORK, ASKED, HITS, DRAFTS, ACCEPTED, FIRST, LATENCIES, LATENCY, STEPS))


def figures(server: Server, within: float, *, whole: bool) -> Figures:
    """What its replicas count; `whole` or not. Raises what `talk` does."""
    del whole  # there is nothing that costs less
    status, text = metrics(server, within)
    return of_metrics(text) if status == 200 else Figures(lacks=(f"/metrics says {status}",))


def metrics(server: Server, within: float) -> tuple[int, str]:
    """The status of `/metrics`, and what it says. Raises what `talk` does."""
    status, answer = talk(server, "GET", "/metrics", None, within)
    return status, answer.decode(errors="replace")


def of_metrics(text: str) -> Figures:
    """What an exposition tells; names as in 0.32.0 (`v1/metrics/loggers.py`)."""
    found = samples(text, NAMES)
    running, waiting = total(found, RUNNING), total(found, WAITING)
    return Figures(
        running=None if running is None else int(running),
        waiting=None if waiting is None else int(waiting),
        kv=max((value for _, value in found.get(KV, ())), default=None),
        generated=total(found, GENERATED),
        answered=total(found, GENERATED),
        prompts=total(found, ASKED),
        cached=total(found, HITS),
        drafts=total(found, DRAFTS),
        accepted=total(found, ACCEPTED),
        steps=_steps(found),
        first=buckets(found, FIRST),
        lacks=lacking(found, ALWAYS),
    )


def _steps(found: Samples) -> Steps | None:
    count, rows = total(found, STEPS), total(found, LATENCIES)
    if not count or rows is None:
        return None
    return Steps(count, rows, total(found, LATENCY) or 0.0, total(found, READ) or 0.0)


def of_replicas(text: str) -> tuple[Load, ...]:
    """What an exposition tells of each replica's work; clients have no say in it."""
    told = by_label(samples(text, frozenset(WORK)), "engine", WORK)
    return tuple(
        Load(int(replica), int(shown[RUNNING] + shown.get(WAITING, 0)), shown)
        for replica, shown in sorted(told.items())
        if replica.isascii() and replica.isdecimal() and len(replica) < 7 and RUNNING in shown
    )
