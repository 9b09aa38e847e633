"""How an engine shares out what a GPU has left beside the weights, as a value; made in the engine's
folder, found by `dialect(name).memory`.

Sizes are bytes of one GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launcher.engines.options import Version
from launcher.engines.values import size
from launcher.knowledge.shape import Shape
from launcher.plan.plan import Plan

PAGE = 64  # tokens; of sparse attention whatever is asked for
BF16_ROW, RAW_ROW, PACKED_ROW = "bfloat16", "fp8", "packed fp8"


@dataclass(frozen=True)
class Demand:
    """What a plan asks of the pools."""

    cell: int  # of a token
    page: int = PAGE
    state: int = 0  # of a slot; 0: its layers keep none
    slots: int | None = None  # that it asks for
    drafts: int = 0  # tokens that are drafted at once
    running: int | None = None  # requests that it lets run


@dataclass(frozen=True)
class Pools:
    """What the pools hold; without states `slots` and `running` are None: they bound nothing."""

    tokens: int
    slots: int | None = None
    running: int | None = None  # requests that the slots let run


@dataclass(frozen=True)
class Memory:
    """An engine's formulas."""

    row: Callable[[str, str | None, Version, Shape], str]  # the layout of the KV cache
    demand: Callable[[Plan, Shape, str], Demand]  # of a plan, in a layout
    pools: Callable[[float, float, float, Demand], Pools]  # of free, weights, fraction
    auto_fraction: Callable[..., float]  # where none is asked for
    request_table: Callable[[int, int], int]  # bytes, of requests and context
    slots_for: Callable[[int], int]  # states that let so many requests run


def number(plan: Plan, *names: str, default: int) -> int:
    """The value of a flag that is a number, not below 0; the default where it is not set."""
    try:
        return max(size(plan.flag(*names) or ""), 0)
    except ValueError:
        return default
