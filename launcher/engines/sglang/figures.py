"""What a running SGLang says of its work.

`/v1/loads` costs it 0.5 ms and wants the key; `/metrics` costs it 9 ms, wants none, and is there
with `enable-metrics` alone (0.5.23, run). `generation_tokens_total` grows when a request ends, so
`realtime_tokens_total` is read. It makes each of them at first use: before its first request none
is there, and nothing is amiss.

What speculation lets through is told by each release in its own way (read: 0.5.9 to 0.5.23):
`decode_moments` of `/v1/loads` from 0.5.17 on, `spec_verify_calls_total` from 0.5.13 on, and in all
of them the gauge `spec_accept_length`, of the last forty steps. `speculative.accept_length` of
`/v1/loads` is a mean since its start, which hides what changed: it is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from launcher.counting import LARGEST
from launcher.engines.exposition import Samples, buckets, lacking, samples, total
from launcher.engines.figures import Figures, Steps
from launcher.engines.http import countdown
from launcher.engines.server import Server, talk

TOKENS = "sglang:realtime_tokens_total"  # by mode: prefill_compute, prefill_cache, decode
ANSWERED = "sglang:generation_tokens_total"
VERIFIED = "sglang:spec_verify_calls_total"  # with ANSWERED, when a request ends
ACCEPT, FIRST = "sglang:spec_accept_length", "sglang:time_to_first_token_seconds_bucket"
_REPLICA = re.compile(r'(?:^|,)dp_rank="(\d+)"')
NAMES = frozenset((TOKENS, ANSWERED, VERIFIED, ACCEPT, FIRST))
WITHOUT = "no first-token times and cache hits: set flags.enable-metrics = true"
# Sums over its steps of decoding (scheduler.py of 0.5.23): steps, requests, microseconds, requests
# squared, requests x microseconds, tokens. Steps beside a prefill are in none of them.
MOMENTS = 6


def figures(server: Server, within: float, *, whole: bool) -> Figures:
    """What its schedulers publish; `whole`: with what `/metrics` adds. Raises what `talk` does, and
    one of server.NO_ANSWER for an answer that is none.
    """
    left = countdown(within)
    status, loads = published(server, left())
    made = of_loads(loads) if status == 200 else Figures(lacks=(f"/v1/loads says {status}",))
    return _with_metrics(made, server, left()) if whole else made


def published(server: Server, within: float) -> tuple[int, list[Mapping[str, Any]]]:
    """The status of `/v1/loads` (in all releases), and the snapshot of each replica. Raises what
    `figures` does.
    """
    status, answer = talk(server, "GET", "/v1/loads", None, within)
    loads = json.loads(answer)["loads"] if status == 200 else []
    return status, [load for load in loads if isinstance(load, dict)]


def _with_metrics(made: Figures, server: Server, within: float) -> Figures:
    status, answer = talk(server, "GET", "/metrics", None, within)
    if status != 200:
        why = WITHOUT if status == 404 else f"/metrics says {status}"
        return replace(made, lacks=(*made.lacks, why), is_all=status == 404)
    return of_metrics(made, answer.decode(errors="replace"))


def of_metrics(made: Figures, text: str) -> Figures:
    """The same with what an exposition tells."""
    found = samples(text, NAMES)
    told = [value for _, value in found.get(ACCEPT, ()) if value]  # 0: it does not draft
    computed, cached = _mode(found, "prefill_compute"), _mode(found, "prefill_cache")
    has_served = made.steps is not None or ANSWERED in found or FIRST in found
    whole = replace(
        made,
        generated=_mode(found, "decode"),
        answered=total(found, ANSWERED),
        prompts=None if computed is None else computed + (cached or 0.0),
        cached=None if computed is None else cached or 0.0,
        accept=fmean(told) if told else None,
        first=buckets(found, FIRST),
        lacks=(*made.lacks, *lacking(found, (TOKENS,) if has_served else ())),
    )
    drafts, answered = total(found, VERIFIED), whole.answered
    if whole.steps or drafts is None or answered is None:
        return whole
    return replace(whole, drafts=drafts, accepted=answered - drafts)


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


def of_loads(loads: Sequence[Mapping[str, Any]]) -> Figures:
    """The snapshots of its replicas, together; fields as in 0.5.23 (`managers/load_snapshot.py`),
    those that an older release lacks are None.
    """
    running, waiting = _numbers(loads, "num_running_reqs"), _numbers(loads, "num_waiting_reqs")
    rates, moments = _numbers(loads, "gen_throughput"), [_moments(load) for load in loads]
    steps, rows, _, _, times, tokens = map(sum, zip(*moments, strict=True)) if loads else [0.0] * 6
    drafts = any(isinstance(load.get("speculative"), dict) for load in loads) and steps > 0
    return Figures(
        running=int(sum(running)) if running else None,
        waiting=int(sum(waiting)) if waiting else None,
        kv=max(_numbers(loads, "token_usage"), default=None),
        rate=sum(rates) if rates else None,
        drafts=rows if drafts else None,
        accepted=tokens - rows if drafts else None,
        steps=Steps(steps, rows, times / 1e6) if steps else None,
        at=min((at for at in _numbers(loads, "timestamp") if at), default=None),
    )


def _moments(load: Mapping[str, Any]) -> list[float]:
    """Its sums; of one that has not decoded yet, or does not say, they are nothing."""
    told = load.get("decode_moments")
    if not isinstance(told, list) or len(told) != MOMENTS:
        return [0.0] * MOMENTS
    return [_number(value) or 0.0 for value in told]


def _numbers(loads: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """What the replicas say of one thing, those that do."""
    return [told for load in loads if (told := _number(load.get(name))) is not None]


def _number(value: object) -> float | None:
    """A number of things, or a share; None for what is none."""
    if type(value) not in (int, float) or not 0 <= value <= LARGEST:  # type: ignore[operator]
        return None
    return float(value)  # type: ignore[arg-type]
