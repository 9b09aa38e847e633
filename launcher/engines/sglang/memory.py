"""How SGLang shares out what a GPU has left beside the weights: KV cache and states. Formulas.

Sizes are bytes of one GPU. Read in SGLang 0.5.8 to 0.5.23 (pool_configurator.py,
kv_cache_configurator.py, mamba_utils.py, memory_hook.py) and held against logs of hosts in
tests/data/memory_points.json and memory_points_53.json.
"""

from __future__ import annotations

import math

from launcher.engines import memory
from launcher.engines.memory import (
    BF16_ROW,
    CHUNK,
    LEAST,
    NEEDED,
    PACKED_ROW,
    PAGE,
    RAW_ROW,
    Asked,
    Demand,
    Knobs,
    Memory,
    Place,
    Pools,
    Sources,
    Taken,
    fraction,
    number,
    pages,
    state,
)
from launcher.engines.options import Version, version
from launcher.knowledge import gpus
from launcher.knowledge.shape import Shape
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan

GIB = 1 << 30
SEEN = 90 * GIB  # the least card of which it is known with how little left one served
A_TOKEN = 1 << 18  # bytes of activations for each token of a chunk beyond CHUNK, at most
POOLED = (0, 5, 22)  # from here on pooled tokens share a key of the indexer, and a page
SLOTS_A_REQUEST = 5  # states that a request may hold with the prefix cache and overlap on
STATE_SHARE = 0.9  # SGLang's own --mamba-full-memory-ratio: states against KV cache


KNOBS = Knobs(
    tp="tp-size",
    pp="pp-size",
    fraction="mem-fraction-static",
    context="context-length",
    requests="max-running-requests",
    chunk="chunked-prefill-size",
    drafts="speculative-algorithm",
    slots="max-mamba-cache-size",
    states="mamba-ssm-dtype",
    longer="SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN",
    others=(
        "cpu-offload-gb",
        "encoder-only",
        "json-model-override-args",
        "kt-method",
        "kt-weight-path",
        "offload-group-size",
        "ple-offload-embedding",
    ),
)


def asked(plan: Plan) -> Asked:
    """What a plan says of memory."""
    return Asked(
        tp=number(plan, KNOBS.tp, default=1),
        pp=number(plan, KNOBS.pp, default=1),
        fraction=fraction(plan, KNOBS.fraction),
        context=number(plan, KNOBS.context, default=0),
        kv=plan.flag("kv-cache-dtype") or "auto",
        drafter=plan.flag(KNOBS.drafts) or "",
        depth=number(plan, "speculative-num-steps", default=0) if plan.flag(KNOBS.drafts) else 0,
        has_own_drafts=plan.flag("speculative-draft-model-path") is None,
        groups=_groups(plan),
    )


def _groups(plan: Plan) -> int:
    """The groups that attention DP makes of its ranks; each gets its share of chunks and requests
    (parallel_hook.py of 0.5.23).
    """
    has_copies = plan.flag("enable-dp-attention") is not None
    told = number(plan, "dp-size", default=1) if has_copies else 1
    return max(number(plan, "attn-dp-size", default=told), 1)


def place(plan: Plan) -> Place:
    """Where its ranks are: from a first GPU on, in steps."""
    return Place(
        number(plan, "base-gpu-id", default=0),
        max(number(plan, "gpu-id-step", default=1), 1),
        plan.flag("disaggregation-mode") or "",
        "--base-gpu-id",
    )


def taken(plan: Plan, total: int, _: Shape | None) -> Taken:
    """Bytes that must be left for graphs, activations and NCCL: all of it beside the fraction.

    What SGLang keeps for chunks where nothing is asked for (`auto_fraction`) is no need: GLM-5's
    cookbook has chunks of 131,072 tokens in the 38 GB that 0.80 of 192 GB leaves (reported).
    """
    chunk = number(plan, KNOBS.chunk, default=CHUNK) // _groups(plan)
    drafts = 2 * GIB if asked(plan).drafts else 0
    capped = plan.flag("max-total-tokens") is not None  # what the fraction gives is not taken
    floor = LEAST if total >= SEEN and not capped else 0
    return Taken(beside=NEEDED + drafts, chunks=max(0, chunk - CHUNK) * A_TOKEN, floor=floor)


def demand(plan: Plan, shape: Shape, layout: str, _: int) -> Demand:
    """What a plan asks of the pools of a model, its KV cache in that layout."""
    release = version(plan.release or "")
    said = asked(plan)
    steps = number(plan, "speculative-num-steps", default=0)
    drafts = number(plan, "speculative-num-draft-tokens", default=steps + 1)
    return Demand(
        cell=cell(shape, layout, tp=said.tp, pp=said.pp, release=release, mtp=said.drafts),
        page=PAGE * (shape.index_pool if release >= POOLED else 1),
        state=state(shape, max(said.tp // said.groups, 1), plan.flag(KNOBS.states) or "float32"),
        slots=number(plan, KNOBS.slots, default=0) or None,
        drafts=drafts if said.drafts else 0,
        running=number(plan, KNOBS.requests, default=0) // said.groups or None,
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


def kinds(layout: str) -> tuple[str, ...]:
    """The layouts that a KV cache of that one could have."""
    return BF16_ROW, PACKED_ROW if layout == PACKED_ROW else RAW_ROW


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

    From 0.5.18 layers that share another's index keep no key (GLM-5.2: 21 of 78 do), from 0.5.22
    pooled tokens share one. `mtp` adds a layer.
    """
    raw = s.kv_rank + s.rope
    packed = s.kv_rank + s.kv_rank // 128 * 4 + s.rope * 2
    width = {BF16_ROW: raw * 2, RAW_ROW: raw, PACKED_ROW: packed}[layout]
    if not s.kv_rank:
        width = 2 * s.head_dim * (2 if layout == BF16_ROW else 1)
    key = s.index_dim + s.index_dim // 128 * 4
    if release >= POOLED:
        key = math.ceil(key / s.index_pool)
    indexed = s.index_layers if release >= (0, 5, 18) else s.cached_layers
    return memory.cell(s, width, key, indexed, tp=tp, pp=pp, mtp=mtp)


def pools(rest: float, asked: Demand) -> Pools:
    """What the pools hold, of the bytes that the fraction leaves beside the weights."""
    if not asked.state:
        return Pools(pages(rest, asked))
    slots = asked.slots if asked.slots is not None else _slots(rest, asked)
    most = slots // SLOTS_A_REQUEST
    running = min(asked.running or most, most)
    drafted = asked.state * asked.drafts * (running + 1) if asked.drafts else 0
    return Pools(pages(rest - drafted - asked.state * (slots + 1), asked), slots, running)


def _slots(rest: float, asked: Demand) -> int:
    """State slots where --max-mamba-cache-size leaves them to SGLang."""
    budget = rest * STATE_SHARE / (1 + STATE_SHARE)
    first = asked.state * (1 + asked.drafts)
    return max(int((budget - first) // (asked.state * (1 + asked.drafts / SLOTS_A_REQUEST))), 0)


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


def own_fraction(plan: Plan, memory: int, shape: Shape) -> float:
    """What it takes of a card of so many bytes for a plan that asks for nothing."""
    said = asked(plan)
    return auto_fraction(
        memory,
        said.tp,
        said.pp,
        chunk=number(plan, KNOBS.chunk, default=CHUNK),
        graphs=min(number(plan, KNOBS.requests, default=0) or 512, 512),
        mla=bool(shape.kv_rank),
    )


def request_table(running: int, context: int) -> int:
    """SGLang's table from requests to tokens, outside the fraction: a context of a million makes it
    gigabytes.
    """
    return running * (context + 4) * 4


MEMORY = Memory(
    knobs=KNOBS,
    sources=Sources(
        (Known.SEEN, "tests/hosts: `Loaded weights leave no GPU memory`, InferenceX#2128"),
        (Known.REPORTED, "rtx6kpro, GLM-5 NVFP4 on 96 GB: 7.4 GiB worked, .98 ran out"),
        (Known.READ, "tp_worker.py: max_req_len"),
        (Known.READ, "memory_pool.py: req_to_token"),
        (Known.READ, "kv_cache_configurator.py of 0.5.23"),
        beyond=(Known.READ, "configs/model_config.py of 0.5.23"),
    ),
    base=gpus.free,
    asked=asked,
    taken=taken,
    row=row,
    kinds=kinds,
    place=place,
    demand=demand,
    pools=pools,
    own_fraction=own_fraction,
    request_table=request_table,
    slots_for=slots_for,
    cuts=True,
)
