"""Whether a plan fits its GPUs: weights, KV cache, requests, and what is left to run with. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from launcher.capacity import verdicts
from launcher.capacity.memory import MARGIN, Weights
from launcher.capacity.outcome import Fit, Row
from launcher.engines.engine import dialect
from launcher.engines.memory import Asked, Budget, Demand, Memory
from launcher.engines.options import version
from launcher.host.facts import Host
from launcher.knowledge import gpus
from launcher.knowledge.shape import Shape
from launcher.plan.plan import Plan

FRACTIONS = (0.80, 0.82, 0.85, 0.88, 0.90, 0.92, 0.95)
CLOSE = 0.001  # of a fraction
CONTEXTS = (8192, 32768, 65536, 131072, 202752)


def asked(plan: Plan) -> Asked:
    """What a plan says of memory, as its engine reads it."""
    return dialect(plan.engine).memory.asked(plan)


def budget(
    plan: Plan, memory: int, held: float, shape: Shape | None = None, *, exact: bool = True
) -> Budget:
    """How a plan parts a GPU of so many bytes of which the weights hold some, with a margin where
    they are computed: one that counts only where too little room ends the start.
    """
    formulas = dialect(plan.engine).memory
    spare = 0.0 if exact or formulas.cuts else held * (1 - 1 / MARGIN)
    taken = formulas.taken(plan, memory, shape)
    return Budget(gpus.free(memory), formulas.base(memory), held, taken, spare)


def fit(
    plan: Plan,
    shape: Shape,
    weights: Weights,
    host: Host,
    memory: int | None,
    speed: float | None = None,
) -> Fit:
    """How a plan fits GPUs of `memory` bytes, and what there is to say of that; None: as the
    product that it was resolved for, or what this is made for.
    """
    made = figures(plan, shape, weights, host, memory, speed)
    return replace(made, said=tuple(verdicts.said(made, plan, shape, host)))


def figures(
    plan: Plan,
    shape: Shape,
    weights: Weights,
    host: Host,
    memory: int | None,
    speed: float | None = None,
) -> Fit:
    """The same with nothing said of it: most of the time that it takes."""
    total = memory or gpus.of(plan.gpu).memory
    formulas, said = dialect(plan.engine).memory, asked(plan)
    held = weights.of_gpu(said.tp, said.pp, mtp=said.drafts, copies=said.copies, groups=said.groups)
    parts = budget(plan, total, held, shape, exact=weights.exact)
    layout = formulas.row(said.kv, plan.arch, version(plan.release or ""), shape)
    demand = formulas.demand(plan, shape, layout, total)
    demand = replace(demand, context=said.context or shape.context)
    fraction = _fraction(plan, said, parts, formulas.own_fraction(plan, total, shape))
    rest, best = (said.pool or parts.rest(fraction, at_best=best) for best in (False, True))
    pools = formulas.pools(rest, demand)
    context = min(demand.context, pools.tokens) if said.is_fitted else demand.context
    return Fit(
        gpus=plan.gpus,
        memory=total,
        assumed=memory is None,
        free=parts.free,
        weights=held,
        checkpoint=_checkpoint(weights, said),
        exact=weights.exact,
        layout=layout,
        cell=demand.cell,
        fraction=fraction,
        base=parts.base,
        automatic=said.fraction is None or plan.flag(formulas.knobs.fraction) is None,
        pool=said.pool,
        kv=pools.tokens * demand.cell,
        tokens=pools.tokens,
        at_best=formulas.pools(best, demand).tokens,
        slots=pools.slots,
        slot=demand.state,
        working=(parts.taken.least, parts.taken.most),
        left=parts.left(fraction),
        beside=parts.taken.beside + parts.taken.chunks,
        floor=parts.taken.floor,
        needed=parts.needed,
        least=parts.lowest,
        useful=_useful(formulas, parts, replace(demand, context=context)),
        most=parts.highest,
        context=context,
        own=shape.own,
        running=_all(demand.running, said.groups),
        admitted=_all(pools.running, said.groups),
        drafts=said.depth,
        groups=said.groups,
        requests={
            size: count * said.groups
            for size, count in _requests(formulas, rest, demand, context).items()
        },
        rows=tuple(
            _rows(formulas, parts, _kinds(plan, shape, layout, total, demand.context), fraction)
        ),
        host_memory=None if memory is None else host.system.memory_total.otherwise(0) or None,
        disk_free=None if memory is None else _disk(host),
        disk_speed=speed,
        cold_load=weights.total / speed if speed else None,
    )


def _fraction(plan: Plan, said: Asked, parts: Budget, own: float) -> float:
    """That which is asked for, else the engine's own; what it comes to where the plan gives the KV
    cache its bytes.
    """
    if said.pool:
        return parts.lowest + said.pool / parts.base
    return said.fraction or own


def _useful(formulas: Memory, parts: Budget, demand: Demand) -> float:
    """The least fraction, within a thousandth, that has room for one request of the context; above
    1 where none has.
    """
    first, last = max(parts.lowest, 0.0), 1.0
    if formulas.pools(parts.rest(last), demand).tokens < demand.context:
        return 2.0
    while last - first > CLOSE:
        middle = (first + last) / 2
        holds = formulas.pools(parts.rest(middle), demand).tokens >= demand.context
        first, last = (first, middle) if holds else (middle, last)
    return last


def _checkpoint(weights: Weights, said: Asked) -> int:
    drafts = weights.mtp_divided + weights.mtp_replicated if said.drafts else 0
    return weights.total + drafts


def _all(running: int | None, groups: int) -> int | None:
    """What so many groups run, each of them some."""
    return None if running is None else running * groups


def _requests(formulas: Memory, rest: float, demand: Demand, context: int) -> dict[int, int]:
    """How many requests of so many tokens a group has room for."""
    pools = {
        size: formulas.pools(rest, replace(demand, context=size))
        for size in (*CONTEXTS, context)
        if 0 < size <= context
    }
    return {
        size: min(one.tokens // size, one.tokens if one.running is None else one.running)
        for size, one in pools.items()
    }


def _kinds(plan: Plan, shape: Shape, layout: str, memory: int, context: int) -> dict[str, Demand]:
    formulas = dialect(plan.engine).memory
    return {
        kind: replace(formulas.demand(plan, shape, kind, memory), context=context)
        for kind in formulas.kinds(layout)
    }


def _rows(formulas: Memory, parts: Budget, kinds: dict[str, Demand], asked: float) -> Iterator[Row]:
    for fraction in sorted({*FRACTIONS, asked}):
        rest = parts.rest(fraction)
        tokens = {kind: formulas.pools(rest, one).tokens for kind, one in kinds.items()}
        yield Row(fraction, tokens, parts.left(fraction))


def _disk(host: Host) -> int | None:
    mount = host.system.mounts.otherwise({}).get("model")
    return mount.free.otherwise(0) or None if mount else None
