"""How an engine shares out what a GPU has left beside the weights, as a value; made in the engine's
folder, found by `dialect(name).memory`.

Sizes are bytes of one GPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from launcher.engines.options import Version
from launcher.engines.values import size
from launcher.knowledge.shape import Shape
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan

PAGE = 64  # tokens; of sparse attention whatever is asked for
BF16_ROW, RAW_ROW, PACKED_ROW = "bfloat16", "fp8", "packed fp8"
# For graphs, activations and NCCL at chunks of 8192: 7.4 worked on a host (tests/data), 4.7 is
# risky.
NEEDED = 7 << 30
# The least that a published server has beside its fraction: .97 of 96 GB, 2.8 GiB (tests/data); at
# .98 of them it ran out. Nothing is known of smaller cards.
LEAST = 5 << 29
CHUNK = 8192  # tokens that this is for


@dataclass(frozen=True)
class Knobs:
    """What an engine calls the options that decide how memory is shared out."""

    tp: str
    pp: str
    fraction: str
    context: str
    requests: str
    chunk: str
    drafts: str
    pool: str = ""  # the bytes of the KV cache themselves; empty: it has no such option
    slots: str = ""  # for the states of requests
    states: str = ""  # their type
    longer: str = ""  # the variable that allows a context beyond the model's own
    others: tuple[str, ...] = ()  # with these a GPU holds another part than is reckoned here


@dataclass(frozen=True)
class Sources:
    """How it is known what an engine does, and where."""

    no_room: tuple[Known, str]  # where nothing is left for the KV cache, or too much is asked for
    little_left: tuple[Known, str]  # for what runs beside it
    too_long: tuple[Known, str]  # where a request is longer than the pool
    table: tuple[Known, str] = (Known.READ, "")  # what it keeps of each request
    slots: tuple[Known, str] = (Known.READ, "")  # of states
    beyond: tuple[Known, str] = (Known.READ, "")  # where a context is longer than the model's own


@dataclass(frozen=True)
class Asked:
    """What a plan says of memory, as the engine reads it."""

    tp: int
    pp: int
    fraction: float | None  # None: nothing is said, or no fraction
    context: int  # tokens of a request at most; 0: as the model's configuration says
    kv: str  # the type of the KV cache
    drafter: str  # what drafts by a layer for multi-token prediction; "": nothing does
    depth: int = 0  # tokens that are drafted a step
    has_own_drafts: bool = True  # that layer is the checkpoint's; otherwise that of another one
    copies: int = 1  # of the model, that share its experts
    groups: int = 1  # of attention DP: each has requests, a KV cache and attention of its own
    is_fitted: bool = False  # the engine shortens the context to what memory holds
    pool: int = 0  # bytes of the KV cache, whatever the fraction; 0: the fraction says

    @property
    def drafts(self) -> bool:
        """Whether a layer is one more."""
        return bool(self.drafter)


@dataclass(frozen=True)
class Place:
    """Where a server's ranks are on its host, and which part of the work it does."""

    first: int  # GPU, by number
    step: int  # from a rank's GPU to the next one's
    part: str  # "prefill" or "decode"; "": all of it, or nobody knows where it is
    option: str  # that chooses other GPUs


@dataclass(frozen=True)
class Taken:
    """What runs beside weights and KV cache: graphs, activations, NCCL."""

    least: int = 0  # out of what the fraction gives
    most: int = 0
    beside: int = 0  # out of what it leaves, at least
    chunks: int = 0  # and for a prompt as long as the chunks: none comes before it serves
    floor: int = 0  # of `beside`, below which no server is known to have served


@dataclass(frozen=True)
class Demand:
    """What a plan asks of the pools."""

    cell: int  # of a token
    page: int = PAGE
    state: int = 0  # of a slot, or a request; 0: its layers keep none
    slots: int | None = None  # that it asks for
    drafts: int = 0  # tokens that are drafted at once
    running: int | None = None  # requests that it lets run, of a group
    context: int = 0  # tokens of a request


@dataclass(frozen=True)
class Pools:
    """What the pools hold; without states `slots` and `running` are None: they bound nothing."""

    tokens: int
    slots: int | None = None
    running: int | None = None  # requests that the slots let run


@dataclass(frozen=True)
class Memory:
    """An engine's formulas. Those of a plan are for a card of so many bytes."""

    knobs: Knobs
    sources: Sources
    base: Callable[[int], int]  # what a fraction is one of, on such a card
    asked: Callable[[Plan], Asked]
    taken: Callable[[Plan, int, Shape | None], Taken]
    row: Callable[[str, str | None, Version, Shape], str]  # the layout of the KV cache
    kinds: Callable[[str], tuple[str, ...]]  # the layouts that it could have in place of one
    place: Callable[[Plan], Place]
    demand: Callable[[Plan, Shape, str, int], Demand]  # of a plan, in a layout
    pools: Callable[[float, Demand], Pools]  # of what is left for them
    own_fraction: Callable[[Plan, int, Shape], float]  # where none is asked for
    request_table: Callable[[int, int], int]  # bytes, of requests and context
    slots_for: Callable[[int], int]  # states that let so many requests run
    cuts: bool  # requests that are longer than the pool are cut to it; otherwise it does not start

    def at_once(self, plan: Plan) -> int | None:
        """Requests that run at once by its plan, of all copies; None where the engine decides."""
        told = plan.flag(self.knobs.requests) or ""
        return int(told) * self.asked(plan).copies if told.isdecimal() else None


@dataclass(frozen=True)
class Budget:
    """How a fraction parts a GPU."""

    free: int  # before the weights
    base: int  # what the fraction is one of
    held: float  # by the weights
    taken: Taken
    spare: float = 0.0  # of what the weights hold, a margin that they may not need

    def rest(self, fraction: float, *, at_best: bool = False) -> float:
        """What is left for the KV cache; below 0 where that is nothing."""
        runs = self.taken.least - self.spare if at_best else self.taken.most
        return self.base * fraction - self.held - runs

    def left(self, fraction: float) -> int:
        """What the fraction leaves, or the weights, where they take more than it."""
        beyond = self.base * (1 - fraction) - (self.base - self.free)
        return int(max(min(int(beyond), self.free - self.held), 0))

    @property
    def needed(self) -> int:
        """The least that must be there beside weights and KV cache for a start."""
        return self.taken.least + self.taken.beside

    @property
    def lowest(self) -> float:
        """The fraction below which nothing is left for the KV cache."""
        return (self.held + self.taken.most) / self.base

    @property
    def highest(self) -> float:
        """The largest fraction that leaves what is needed beside it."""
        return (self.free - self.taken.beside - self.taken.chunks) / self.base


def number(plan: Plan, *names: str, default: int, read: Callable[[str], int] = size) -> int:
    """The value of a flag that is a number, not below 0; the default where it is not set."""
    try:
        return max(read(plan.flag(*names) or ""), 0)
    except ValueError:
        return default


def fraction(plan: Plan, name: str, *, whole: bool = False) -> float | None:
    """What a plan says under that name; None where it says nothing, or no fraction. `whole`: 1 is
    one.
    """
    try:
        said = float(plan.flag(name) or "")
    except ValueError:
        return None
    return said if 0 < said < 1 or (whole and said == 1) else None


def cell(
    s: Shape, row: int, key: int, indexed: int, *, tp: int = 1, pp: int = 1, mtp: bool = False
) -> int:
    """KV bytes of one token on one GPU: `row` of a layer's attention, `key` of its indexer, which
    `indexed` layers keep.

    The latent of MLA is the same on every rank: `tp` does not divide it. `mtp` adds a layer.
    """
    stage = math.ceil(s.cached_layers / pp) + mtp
    if not s.kv_rank:
        return row * max(1, s.kv_heads // tp) * stage
    return row * stage + key * (math.ceil(indexed / pp) + mtp if s.index_dim else 0)


def state(s: Shape, tp: int, ssm: str) -> int:
    """Bytes that the KDA layers keep of one request, whatever its length; `ssm` is the type of
    their states.
    """
    if not s.linear_heads:
        return 0
    width = 2 if ssm in ("bfloat16", "bf16", "float16") else 4
    channels = s.linear_heads * s.linear_dim // tp
    return s.linear_layers * (
        channels * s.linear_dim * width + (s.linear_conv - 1) * 3 * channels * 2
    )


def pages(rest: float, asked: Demand) -> int:
    """Tokens that so many bytes hold, in whole pages."""
    return max(int(rest // asked.cell) // asked.page * asked.page, 0)
