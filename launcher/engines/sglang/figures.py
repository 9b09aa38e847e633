"""What a running SGLang says of its work.

`/v1/loads` costs it 0.5 ms and wants the key; `/metrics` costs it 9 ms, wants none, and is there
with `enable-metrics` alone (0.5.23, run). `generation_tokens_total` grows when a request ends, so
`realtime_tokens_total` is read.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from statistics import fmean
from typing import Any

from launcher.engines.figures import Figures, Samples, buckets, samples, total
from launcher.engines.server import Server, talk

TOKENS = "sglang:realtime_tokens_total"  # by mode: prefill_compute, prefill_cache, decode
ANSWERED = "sglang:generation_tokens_total"
ACCEPT, FIRST = "sglang:spec_accept_length", "sglang:time_to_first_token_seconds_bucket"
_REPLICA = re.compile(r'(?:^|,)dp_rank="(\d+)"')
NAMES = frozenset((TOKENS, ANSWERED, ACCEPT, FIRST))
WITHOUT = "no first-token times and cache hits: set flags.enable-metrics = true"


def figures(server: Server, within: float, *, whole: bool) -> Figures:
    """What its schedulers publish; `whole`: with what `/metrics` adds. Raises what `talk` does, and
    ValueError, TypeError or KeyError for an answer that is none.
    """
    status, answer = talk(server, "GET", "/v1/loads", None, within)
    if status == 200:
        made = of_loads(json.loads(answer)["loads"])
    else:
        made = Figures(lacks=(f"/v1/loads says {status}",))
    return _with_metrics(made, server, within) if whole else made


def _with_metrics(made: Figures, server: Server, within: float) -> Figures:
    status, answer = talk(server, "GET", "/metrics", None, within)
    if status != 200:
        why = WITHOUT if status == 404 else f"/metrics says {status}"
        return replace(made, lacks=(*made.lacks, why))
    return of_metrics(made, answer.decode(errors="replace"))


def of_metrics(made: Figures, text: str) -> Figures:
    """The same with what an exposition tells."""
    found = samples(text, NAMES)
    accepted = [value for _, value in found.get(ACCEPT, ()) if value]  # 0: it does not draft
    computed, cached = _mode(found, "prefill_compute"), _mode(found, "prefill_cache")
    return replace(
        made,
        generated=_mode(found, "decode"),
        answered=total(found, ANSWERED),
        prompts=None if computed is None else computed + (cached or 0.0),
        cached=None if computed is None else cached or 0.0,
        accept=fmean(accepted) if accepted else made.accept,
        first=buckets(found, FIRST),
    )


def _mode(found: Samples, mode: str) -> float | None:
    """Tokens of one mode. The replicas each have their own; the ranks of one, which all tell them
    with `enable-metrics-for-all-schedulers`, have the same.
    """
    by_replica: dict[str, float] = {}
    for labels, value in found.get(TOKENS, ()):
        if f'mode="{mode}"' in labels:
            replica = _REPLICA.search(labels)
            name = replica[1] if replica else ""
            by_replica[name] = max(value, by_replica.get(name, 0.0))
    return sum(by_replica.values()) if by_replica else None


def of_loads(loads: list[dict[str, Any]]) -> Figures:
    """The snapshots of its replicas, together; fields as in 0.5.23 (`managers/load_snapshot.py`),
    those that an older release lacks are None.
    """
    steps = [load["speculative"]["accept_length"] for load in loads if load.get("speculative")]
    return Figures(
        running=_sum(loads, "num_running_reqs"),
        waiting=_sum(loads, "num_waiting_reqs"),
        kv=max(
            (float(load["token_usage"]) for load in loads if "token_usage" in load), default=None
        ),
        rate=_sum(loads, "gen_throughput"),
        accept=sum(steps) / len(steps) if steps else None,
        at=min((float(load["timestamp"]) for load in loads if load.get("timestamp")), default=None),
    )


def _sum(loads: list[dict[str, Any]], name: str) -> Any:
    told = [load[name] for load in loads if isinstance(load.get(name), int | float)]
    return sum(told) if told else None
