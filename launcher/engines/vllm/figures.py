"""What a running vLLM says of its work: all of it in `/metrics`, which is always there, wants no
key, and costs it 3 ms (0.32.0, run).
"""

from __future__ import annotations

from launcher.engines.figures import Figures, buckets, samples, total
from launcher.engines.server import Server, talk

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV, GENERATED = "vllm:kv_cache_usage_perc", "vllm:generation_tokens_total"
ASKED, HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
DRAFTS, ACCEPTED = (
    "vllm:spec_decode_num_drafts_total",
    "vllm:spec_decode_num_accepted_tokens_total",
)
FIRST = "vllm:time_to_first_token_seconds_bucket"
NAMES = frozenset((RUNNING, WAITING, KV, GENERATED, ASKED, HITS, DRAFTS, ACCEPTED, FIRST))


def figures(server: Server, within: float, *, whole: bool) -> Figures:
    """What its replicas count; `whole` or not. Raises what `talk` does."""
    del whole  # there is nothing that costs less
    status, answer = talk(server, "GET", "/metrics", None, within)
    if status != 200:
        return Figures(lacks=(f"/metrics says {status}",))
    return of_metrics(answer.decode(errors="replace"))


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
        first=buckets(found, FIRST),
    )
