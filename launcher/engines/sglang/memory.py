"""How SGLang shares out what a GPU has left beside the weights: KV cache and states. Formulas.

Sizes are bytes of one GPU. Read in SGLang 0.5.8 to 0.5.23 (pool_configurator.py,
kv_cache_configurator.py, mamba_utils.py, memory_hook.py) and held against logs of hosts in
tests/data/memory_points.json and memory_points_53.json.
"""

from __future__ import annotations

import math

from launcher.engines.memory import (
    BF16_ROW,
    PACKED_ROW,
    PAGE,
    RAW_ROW,
    Demand,
    Memory,
    Pools,
    number,
)
from launcher.engines.options import Version, version
from launcher.knowledge.shape import Shape
from launcher.plan.plan import Plan

POOLED = (0, 5, 22)  # from here on pooled tokens share a key of the indexer, and a page
SLOTS_A_REQUEST = 5  # states that a request may hold with the prefix cache and overlap on
STATE_SHARE = 0.9  # SGLang's own --mamba-full-memory-ratio: states against KV cache


def demand(plan: Plan, shape: Shape, layout: str) -> Demand:
    """What a plan asks of the pools of a model, its KV cache in that layout."""
    release = version(plan.release or "")
    tp = number(plan, "tp-size", default=1)
    mtp = plan.flag("speculative-algorithm") is not None
    steps = number(plan, "speculative-num-steps", default=0)
    return Demand(
        cell=cell(
            shape,
            layout,
            tp=tp,
            pp=number(plan, "pp-size", default=1),
            release=release,
            mtp=mtp,
        ),
        page=PAGE * (shape.index_pool if release >= POOLED else 1),
        state=state(shape, tp, plan.flag("mamba-ssm-dtype") or "float32"),
        slots=number(plan, "max-mamba-cache-size", default=0) or None,
        drafts=number(plan, "speculative-num-draft-tokens", default=steps + 1) if mtp else 0,
        running=number(plan, "max-running-requests", default=0) or None,
    )


def row(kv: str, arch: str | None, release: Version, shape: Shape) -> str:
    """The layout of the KV cache: bfloat16, raw fp8, or fp8 packed with its scales.

    Sparse attention packs it on SM120 from 0.5.18 (sources differ on 0.5.17: the larger is taken)
    and in 0.5.9; not where tokens are pooled, whose kernels (trtllm, tilelang) read raw rows.
    """
    if not kv.startswith("fp8") and (kv != "auto" or arch is None):
        return BF16_ROW
    sparse = bool(shape.index_dim) and shape.index_pool == 1
    packed = sparse and ((arch == "sm120" and release >= (0, 5, 17)) or release[:3] == (0, 5, 9))
    return PACKED_ROW if packed else RAW_ROW


def cell(
    s: Shape,
    layout: str,
    *,
    tp: int = 1,
    pp: int = 1,
    release: Version = (),
    mtp: bool = False,
) -> int:
    """KV bytes of one token on one GPU.

    The latent of MLA is the same on every rank: `tp` does not divide it. From 0.5.18 layers that
    share another's index keep no key (GLM-5.2: 21 of 78 do), from 0.5.22 pooled tokens share one.
    `mtp` adds a layer.
    """
    stage = math.ceil(s.cached_layers / pp)
    if not s.kv_rank:
        heads = max(1, s.kv_heads // tp)
        return 2 * heads * s.head_dim * (2 if layout == BF16_ROW else 1) * (stage + mtp)
    raw = s.kv_rank + s.rope
    packed = s.kv_rank + s.kv_rank // 128 * 4 + s.rope * 2
    width = {BF16_ROW: raw * 2, RAW_ROW: raw, PACKED_ROW: packed}[layout]
    key = s.index_dim + s.index_dim // 128 * 4
    if release >= POOLED:
        key = math.ceil(key / s.index_pool)
    indexed = s.index_layers if release >= (0, 5, 18) else s.cached_layers
    return width * (stage + mtp) + key * (math.ceil(indexed / pp) + mtp if s.index_dim else 0)


def state(s: Shape, tp: int, ssm: str) -> int:
    """Bytes of a state slot: what the KDA layers keep of one request, whatever its length.

    `ssm` is the type of --mamba-ssm-dtype.
    """
    if not s.linear_heads:
        return 0
    width = 2 if ssm in ("bfloat16", "bf16", "float16") else 4
    channels = s.linear_heads * s.linear_dim // tp
    return s.linear_layers * (
        channels * s.linear_dim * width + (s.linear_conv - 1) * 3 * channels * 2
    )


def pools(free: float, weights: float, fraction: float, asked: Demand) -> Pools:
    """What the pools hold: the fraction is one of the memory that was free before the weights."""
    rest = free * fraction - weights
    if not asked.state:
        return Pools(_pages(rest, asked))
    slots = asked.slots if asked.slots is not None else _slots(rest, asked)
    most = slots // SLOTS_A_REQUEST
    running = min(asked.running or most, most)
    drafted = asked.state * asked.drafts * (running + 1) if asked.drafts else 0
    return Pools(_pages(rest - drafted - asked.state * (slots + 1), asked), slots, running)


def _slots(rest: float, asked: Demand) -> int:
    """State slots where --max-mamba-cache-size leaves them to SGLang."""
    budget = rest * STATE_SHARE / (1 + STATE_SHARE)
    first = asked.state * (1 + asked.drafts)
    return max(int((budget - first) // (asked.state * (1 + asked.drafts / SLOTS_A_REQUEST))), 0)


def _pages(rest: float, asked: Demand) -> int:
    return max(int(rest // asked.cell) // asked.page * asked.page, 0)


def slots_for(running: int) -> int:
    """State slots that let so many requests run."""
    return SLOTS_A_REQUEST * running


def auto_fraction(
    total: int, tp: int, pp: int = 1, *, chunk: int = 8192, graphs: int = 512, mla: bool = True
) -> float:
    """What SGLang takes where nothing is asked for, without DP attention (memory_hook.py of
    0.5.23).
    """
    mib = total / (1 << 20)
    kept = 512 + max(chunk, 2048) * 1.5 + tp * pp / 8 * 1024 + graphs * 2 + (1536 if mla else 0)
    return round((mib - max(kept, 10240 if mib > 60 * 1024 else 0)) / mib, 3)


def request_table(running: int, context: int) -> int:
    """SGLang's table from requests to tokens, outside the fraction: a context of a million makes it
    gigabytes.
    """
    return running * (context + 4) * 4


MEMORY = Memory(row, demand, pools, auto_fraction, request_table, slots_for)
