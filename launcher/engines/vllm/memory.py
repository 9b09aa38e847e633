"""How vLLM shares out a GPU: weights, what runs beside them, KV cache. Formulas.

Sizes are bytes of one GPU. A fraction is one of all memory, and what runs comes out of it, too.
Read in vLLM 0.16 to 0.33 (v1/worker/utils.py, gpu_worker.py, kv_cache_utils.py, mla_attention.py)
and held against logs of hosts in tests/data; none of it was run by us on a GPU.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from launcher.engines import memory
from launcher.engines.memory import (
    BF16_ROW,
    CHUNK,
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
from launcher.engines.values import scaled
from launcher.knowledge import gpus
from launcher.knowledge.shape import Shape
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan

GIB = 1 << 30
BLOCK = 16  # tokens; of attention that is not sparse
FP8_CLASS = (0, 32)  # from here on `auto` is fp8 for sparse attention on SM100
ESTIMATES = (0, 21)  # from here on what graphs are estimated to take is kept off the KV cache
PACKED = ("sm90", "sm120", "sm121")  # where fp8 of sparse attention has its scales beside it
# What activations and workspaces take: 6.9 GiB at 8192 tokens a step (GLM-5.1 on 8x RTX PRO 6000),
# 2.6 at 1024 (GLM-5.3-Flash on two), with windows of 131,072.
STEADY, AT_CHUNK, WINDOW = 2.0 * GIB, 4.9 * GIB, 131072
# Of graphs up to 256 wide: 1.2 were taken, 4.8 estimated before; 2.4 and 6.0 with MTP. Wider ones
# were no more: 0.25.1 kept 2.5 off for those up to 512 with MTP.
GRAPHS, OF_DRAFTS = (1.0 * GIB, 4.8 * GIB), 1.2 * GIB
# Of sparse attention, while it measures and ever after: keys of the indexer for so many windows
# (source: get_max_prefill_buffer_size of v1/attention/backends/mla/indexer.py; vllm#55221). A graph
# has a score of each place of the window for each of its tokens, one of the drafts, too: inference,
# from three starts of 0.25.1 whose windows cost 9.3 kB a token in all.
WINDOWS, SCORE = 40, 4
WIDEST = {"sm100": 1024, "sm103": 1024}  # of graphs, where nothing is said; 512 elsewhere
# What a request costs beside its tokens, in states of float32: fitted on two logs of GLM-5.3-Flash,
# held against three. With MTP of three tokens twice as much.
STATES = 4.335
KNOBS = Knobs(
    tp="tensor-parallel-size",
    pp="pipeline-parallel-size",
    fraction="gpu-memory-utilization",
    context="max-model-len",
    requests="max-num-seqs",
    chunk="max-num-batched-tokens",
    drafts="speculative-config",
    pool="kv-cache-memory-bytes",
    longer="VLLM_ALLOW_LONG_MAX_MODEL_LEN",
    others=(
        "cpu-offload-gb",
        "cpu-offload-params",
        "enable-eplb",
        "hf-overrides",
        "num-gpu-blocks-override",
        "offload-backend",
        "offload-group-size",
    ),
)


def asked(plan: Plan) -> Asked:
    """What a plan says of memory."""
    is_said = plan.flag(KNOBS.fraction) is not None
    return Asked(
        tp=number(plan, KNOBS.tp, default=1),
        pp=number(plan, KNOBS.pp, default=1),
        fraction=fraction(plan, KNOBS.fraction, whole=True) if is_said else _default(plan),
        context=number(plan, KNOBS.context, default=0, read=scaled),
        kv=plan.flag("kv-cache-dtype") or "auto",
        drafter="MTP" if _drafts(plan) else "",
        depth=_drafts(plan),
        copies=_copies(plan),
        is_fitted=(plan.flag(KNOBS.context) or "").strip().lower() in ("auto", "-1"),
        pool=number(plan, KNOBS.pool, default=0, read=scaled),
    )


def _default(plan: Plan) -> float:
    """The fraction of a release where none is said."""
    return 0.9 if () < version(plan.release or "") < (0, 20) else 0.92


def _drafts(plan: Plan) -> int:
    """Tokens that the checkpoint's own layer drafts at once; 0: it drafts none."""
    told = _told(plan, KNOBS.drafts)
    is_own = str(told.get("method")).endswith("mtp")
    count = str(told.get("num_speculative_tokens", 1))
    return int(count) if is_own and count.isdecimal() else 0


def _told(plan: Plan, name: str) -> Mapping[str, object]:
    """An option that is JSON; nothing of one that is none."""
    try:
        told = json.loads(plan.flag(name) or "{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def place(plan: Plan) -> Place:
    """Where its ranks are: on the GPUs that are seen, unless they are named."""
    role = _told(plan, "kv-transfer-config").get("kv_role")
    part = {"kv_producer": "prefill", "kv_consumer": "decode"}.get(str(role), "")
    is_named = plan.flag("device-ids") is not None
    return Place(0, 1, "" if is_named else part, "--device-ids")


def taken(plan: Plan, total: int, shape: Shape | None) -> Taken:
    """Bytes of what runs on a card of so many, all of it within the fraction; graphs beside it in a
    release that estimates none. Without a shape nothing is known of the window.
    """
    chunk = number(plan, KNOBS.chunk, default=_chunk(total), read=scaled)
    longer = (asked(plan).context or shape.context or WINDOW) - WINDOW if shape else 0
    is_sparse = shape is not None and shape.index_dim > 0
    keys = WINDOWS * index_key(shape) * longer if shape and is_sparse else 0
    runs = int(STEADY + AT_CHUNK * chunk / CHUNK + keys)
    least, most = _graphs(plan, total, max(longer, 0) if is_sparse else 0)
    estimates = plan.env.get("VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS", "1") != "0"
    if not estimates or () < version(plan.release or "") < ESTIMATES:
        return Taken(runs, runs, beside=least)
    return Taken(runs + least, runs + most)


def _chunk(total: int) -> int:
    """Tokens of a step that a server takes on a card of so many bytes."""
    return 16384 if total >= 160 * GIB else 8192 if total >= 70 * GIB else 2048


def _requests(plan: Plan, total: int) -> int:
    """Requests at once, where nothing is said as many as a card of so many bytes gets."""
    return number(plan, KNOBS.requests, default=1024 if total >= 70 * GIB else 256)


def _graphs(plan: Plan, total: int, longer: int) -> tuple[int, int]:
    """The least and the most that graphs take, of a window that is so many tokens longer."""
    if plan.flag("enforce-eager") is not None:
        return 0, 0
    drafts = _drafts(plan)
    wide = min(2 * _requests(plan, total) * (1 + drafts), WIDEST.get(plan.arch or "", 512))
    wide = number(plan, "max-cudagraph-capture-size", default=wide)
    scores = SCORE * wide * longer * (2 if drafts else 1)
    least, most = GRAPHS
    return int(least), int(most + (OF_DRAFTS if drafts else 0) + scores)


def demand(plan: Plan, shape: Shape, layout: str, total: int) -> Demand:
    """What a plan asks of the pools of a model, its KV cache in that layout."""
    said, drafts = asked(plan), _drafts(plan)
    shared = max(number(plan, "decode-context-parallel-size", default=1), 1)
    held = state(shape, said.tp, "float32") * STATES * (2 if drafts else 1)
    return Demand(
        cell=math.ceil(cell(shape, layout, tp=said.tp, pp=said.pp, mtp=said.drafts) / shared),
        page=PAGE if shape.index_dim else BLOCK,
        state=int(held),
        drafts=drafts,
        running=_requests(plan, total),
    )


def row(kv: str, arch: str | None, release: Version, shape: Shape) -> str:
    """The layout of the KV cache. Sparse attention packs it on SM120 whatever is asked: bfloat16 is
    refused there.
    """
    if not shape.index_dim:
        return RAW_ROW if kv.startswith("fp8") else BF16_ROW
    if arch in PACKED[1:] or kv == "fp8_ds_mla" or (arch in PACKED and kv.startswith("fp8")):
        return PACKED_ROW
    is_fp8 = arch in ("sm100", "sm103") and (not release or release >= FP8_CLASS)
    return RAW_ROW if kv.startswith("fp8") or (kv == "auto" and is_fp8) else BF16_ROW


def kinds(layout: str) -> tuple[str, ...]:
    """The layouts that a KV cache of that one could have: what is packed is never anything else."""
    return (PACKED_ROW,) if layout == PACKED_ROW else (BF16_ROW, RAW_ROW)


def cell(s: Shape, layout: str, *, tp: int = 1, pp: int = 1, mtp: bool = False) -> int:
    """KV bytes of one token on one GPU.

    Layers that share another's index keep no key, in any release; a packed row has room for 64
    values of rotary embedding, whether a model has them or not. `mtp` adds a layer.
    """
    raw = s.kv_rank + s.rope
    packed = s.kv_rank + s.kv_rank // 128 * 4 + 64 * 2
    width = {BF16_ROW: raw * 2, RAW_ROW: raw, PACKED_ROW: packed}[layout]
    if not s.kv_rank:
        width = 2 * s.head_dim * (2 if layout == BF16_ROW else 1)
    key = math.ceil(index_key(s) / s.index_pool)
    return memory.cell(s, width, key, s.index_layers, tp=tp, pp=pp, mtp=mtp)


def index_key(s: Shape) -> int:
    """Bytes of a key of the indexer: FP8, and a scale for 128 of them."""
    return s.index_dim + s.index_dim // 128 * 4


def pools(rest: float, asked: Demand) -> Pools:
    """What the pool holds of so many bytes. Where layers keep states it is so many whole requests:
    vLLM calls their tokens its size.
    """
    if not (asked.state and asked.context):
        return Pools(pages(rest, asked))
    request = asked.cell * asked.context + asked.state
    return Pools(max(int(rest / request * asked.context), 0))


MEMORY = Memory(
    knobs=KNOBS,
    sources=Sources(
        (Known.READ, "v1/worker/utils.py and gpu_worker.py of 0.33.0"),
        (Known.REPORTED, "rtx6kpro: GLM-5.1, graphs took 1.2 to 2.4 GiB"),
        (Known.READ, "v1/core/kv_cache_utils.py of 0.33.0"),
        beyond=(Known.READ, "config/model.py of 0.32.0"),
    ),
    base=gpus.counted,
    asked=asked,
    taken=taken,
    row=row,
    kinds=kinds,
    place=place,
    demand=demand,
    pools=pools,
    own_fraction=lambda plan, total, shape: _default(plan),
    request_table=lambda requests, context: 0,
    slots_for=lambda running: running,
    cuts=False,
)


def _copies(plan: Plan) -> int:
    """Copies of attention that share the experts: fused_moe/config.py divides these by the product
    of tensor, data and prefill context parallel sizes, with expert parallelism or without (source).
    """
    sizes = ("data-parallel-size", "prefill-context-parallel-size")
    return math.prod(max(number(plan, name, default=1), 1) for name in sizes)
