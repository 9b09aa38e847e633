"""Figures of a sample: how they are computed, the same for every engine. Pure.

The time for a token is that of one request: from its first token to its last, by the tokens between
(one that made a single token has none). Nobody knows it of an answer that came in one piece, as
through a proxy that buffers. A request is good if it is known to have kept both limits of the
objective.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import median

from launcher.bench.record import Level, Objective, Round, Times
from launcher.engines.figures import Figures
from launcher.engines.generator import Answer, Sample

AT_ONCE = 1e-4  # seconds a token of one request: below it no server makes them, a buffer had them


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that a share of the others does not exceed, between two where it lies there."""
    if not values:
        return None
    ordered = sorted(values)
    at = (len(ordered) - 1) * share
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def times(seconds: Sequence[float]) -> Times:
    """Seconds as milliseconds at three shares."""
    p50, p95, p99 = (percentile(seconds, share) for share in (0.5, 0.95, 0.99))
    return Times(*(None if one is None else round(1000 * one, 3) for one in (p50, p95, p99)))


def per_token(answer: Answer) -> float | None:
    """Seconds a token after the first; None where there is none, or where nobody knows."""
    has_none = answer.output_tokens <= 1 or is_one_piece(answer)
    return None if has_none else answer.rest / (answer.output_tokens - 1)


def is_one_piece(answer: Answer) -> bool:
    """Whether tokens came all at once: apart is only how fast the client took them."""
    return answer.rest < AT_ONCE * (answer.output_tokens - 1)


def is_good(answer: Answer, objective: Objective) -> bool:
    """Whether a request kept the objective."""
    token = per_token(answer)
    return (
        bool(answer.text.strip())
        and not answer.error
        and not is_one_piece(answer)
        and 1000 * answer.first <= objective.ttft_ms
        and (token is None or 1000 * token <= objective.tpot_ms)
    )


def round_of(
    sample: Sample,
    counted: Figures,
    objective: Objective,
    concurrency: int,
    number: int,
    watts: float | None,
) -> Round:
    """The figures of one round; `counted` is what the server counted meanwhile, `watts` what its
    GPUs drew together.
    """
    answers = [one for one in sample.answers if not one.error]
    made = sum(one.output_tokens for one in answers)
    seconds = sample.seconds
    good = sum(is_good(one, objective) for one in answers)
    text = "\0".join(one.text for one in sample.answers)
    return Round(
        concurrency=concurrency,
        round=number,
        seconds=round(seconds, 3),
        requests=len(sample.answers),
        input_tokens=sum(one.input_tokens for one in answers),
        output_tokens=made,
        output_tok_s=round(made / seconds, 2) if seconds > 0 else 0.0,
        ttft_ms=times([one.first for one in answers]),
        tpot_ms=times([one for one in map(per_token, answers) if one is not None]),
        goodput_req_s=round(good / seconds, 3) if seconds > 0 else 0.0,
        good=good,
        one_piece=sum(is_one_piece(one) for one in answers),
        counted=counted.answered is not None,
        accept_length=_accepted(counted),
        cache_hits=_share(counted.cached, counted.prompts),
        watts=None if watts is None else round(watts, 1),
        joules_per_token=None if watts is None or not made else round(watts * seconds / made, 3),
        texts=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16],
    )


def _accepted(counted: Figures) -> float | None:
    """Tokens that a step of the model gave, the one that it makes itself included."""
    if counted.accept:
        return round(counted.accept, 3)
    if not counted.drafts or counted.accepted is None:
        return None
    return round(1 + counted.accepted / counted.drafts, 3)


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else round(part / whole, 4)


def level_of(rounds: Sequence[Round]) -> Level:
    """The rounds at one concurrency as one line: the median of each figure, and how far the rounds
    are apart.
    """
    speeds = [one.output_tok_s for one in rounds]
    return Level(
        concurrency=rounds[0].concurrency,
        rounds=len(rounds),
        requests=sum(one.requests for one in rounds),
        input_tokens=round(_mean([one.input_tokens / max(one.requests, 1) for one in rounds])),
        output_tokens=round(_mean([one.output_tokens / max(one.requests, 1) for one in rounds])),
        output_tok_s=median(speeds),
        slowest=min(speeds),
        fastest=max(speeds),
        ttft_ms=_middle([one.ttft_ms for one in rounds]),
        tpot_ms=_middle([one.tpot_ms for one in rounds]),
        goodput_req_s=median(one.goodput_req_s for one in rounds),
        good=sum(one.good for one in rounds),
        one_piece=sum(one.one_piece for one in rounds),
        counted=all(one.counted for one in rounds),
        accept_length=_median([one.accept_length for one in rounds]),
        cache_hits=_median([one.cache_hits for one in rounds]),
        joules_per_token=_median([one.joules_per_token for one in rounds]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _median(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return median(known) if known else None


def _middle(told: Sequence[Times]) -> Times:
    return Times(
        _median([one.p50 for one in told]),
        _median([one.p95 for one in told]),
        _median([one.p99 for one in told]),
    )
