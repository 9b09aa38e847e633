"""What others measured of a plan's operating point: the published figures of the same model and
GPUs, as far as one may stand beside it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher import counting
from launcher.engines.engine import dialect
from launcher.knowledge import bench_points, models
from launcher.knowledge.bench_points import Point, drafts
from launcher.plan.plan import Plan

FIGURE = "output_tok_s"
# Requests at once that a point is for: the first figure from there on is its own.
LOADS = {"latency": (1, 32), "balanced": (32, 256), "throughput": (256, 1 << 20)}
DIVIDED = re.compile(r"dp-attention|\bdp [2-9]")


def beside(plan: Plan) -> str:
    """The figure to show beside a plan, in words, and what of it is another than the plan; "" where
    no published one is known.
    """
    told = [(list(_apart(plan, one)), one) for one in figures(plan)]
    if not told:
        return ""
    differs, first = min(told, key=lambda one: (len(one[0]), _load(one[1])))
    count = _load(first)
    what = f"{first.measured[FIGURE]:,.0f} tokens/s of {counting.of(count, 'request')}"
    apart = "; ".join(differs)
    return (
        f"{what}, {first.engine} {first.release} ({first.date}, {first.source})"
        + (f"; not alike: {apart}" if apart else "")
        + (f"; note: {first.note}" if first.note else "")
    )


def figures(plan: Plan) -> Iterator[Point]:
    """What is published for a plan's model, precision and GPUs at the load of its point."""
    low, high = LOADS.get(plan.point, (0, 0))
    if most := dialect(plan.engine).memory.at_once(plan):
        low = min(low, most)  # a small host has its point at a smaller load
    precision = "nvfp4" if "nvfp4" in plan.traits else "fp8" if "fp8" in plan.traits else ""
    for one in bench_points.table().rows:
        alike = (one.precision, one.gpu, one.gpus) == (precision, plan.gpu, plan.gpus)
        is_loaded = low <= _load(one) < high and FIGURE in one.measured
        if one.is_target and alike and is_loaded and _is_of(plan.model, one):
            yield one


def _is_of(model: str, point: Point) -> bool:
    name, version = models.checkpoint(model), point.model.lower()
    return re.match(rf"{re.escape(version)}(?!-flash|\.\d)(-|$)", name) is not None


def _load(point: Point) -> int:
    return point.concurrency or 0


def _named(config: str) -> Iterator[tuple[str, str]]:
    """The options of a row that stand there by their own name, with a value each; what it has in
    short (`tp 8`, `spec MTP3`) is read where it counts.
    """
    for part in config.split(", "):
        name, _, value = part.partition(" ")
        if "-" in name and value:
            yield name, value


def _apart(plan: Plan, point: Point) -> Iterator[str]:
    """What is not alike, a short text each."""
    if point.engine != plan.engine:
        yield f"by {point.engine}"
    if not point.is_of(models.checkpoint(plan.model)):
        yield f"of {point.checkpoint}"
    if point.edition:
        yield f"boards of {point.edition}"
    said, theirs = dialect(plan.engine).memory.asked(plan), drafts(point.config)
    if said.drafts != (theirs != 0):
        yield "with drafts" if not said.drafts else "without drafts"
    elif said.drafts and theirs not in (None, said.depth):
        yield f"{theirs} steps of drafts, not {said.depth}"
    for name, value in _named(point.config):
        if (ours := plan.flag(name)) and ours != value:
            yield f"{name} {value}, not {ours}"
    most = dialect(plan.engine).memory.at_once(plan)
    if most is not None and _load(point) > most:
        yield f"this plan runs {counting.of(most, 'request')} at once"
    if (said.groups > 1) != bool(DIVIDED.search(point.config)):
        yield "with attention DP" if said.groups == 1 else "without attention DP"
    if point.context == 0:
        yield "decoding alone"
    if point.accept_length_simulated:
        yield f"accepted drafts pinned to {point.accept_length_simulated:g}"
    if not point.judged:
        yield "nobody judged the text"
