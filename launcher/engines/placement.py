"""Which GPUs of a host a plan takes. Pure."""

from __future__ import annotations

from launcher.engines.engine import dialect
from launcher.plan.plan import Plan

VISIBLE = "CUDA_VISIBLE_DEVICES"
MOST_GPUS = 64  # of one host


def devices(plan: Plan) -> tuple[str, ...]:
    """The GPUs that it takes, in the order of its ranks, as CUDA names them: by their numbers, or
    by (the beginning of) their UUIDs where the plan does.
    """
    if not plan.gpus:  # it runs on the CPU, or is a gateway
        return ()
    place = dialect(plan.engine).memory.place(plan)
    at = [place.first + place.step * rank for rank in range(min(plan.gpus, MOST_GPUS))]
    if not (seen := plan.env.get(VISIBLE, "").replace(" ", "")):
        return tuple(map(str, at))
    told = seen.split(",")
    return tuple(told[one] for one in at if one < len(told))
