"""How a GPU's memory is shared out: weights, KV cache, and what is left to run with.

Formulas, no host.

Sizes are bytes of one GPU where nothing else is said. Read in SGLang 0.5.8 to 0.5.23
(pool_configurator.py, kv_cache_configurator.py, memory_hook.py) and held against logs of hosts in
tests/data/memory_points.json.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from launcher.knowledge import models

GIB = 1 << 30
PAGE = 64  # tokens; of GLM-5 whatever is asked for
NVFP4 = 0.5 + 1 / 16  # bytes a weight: four bits, and an fp8 scale for sixteen of them
BF16 = 2.0
MARGIN = 1.03  # on weights computed from a configuration: hosts showed 56 and 57.06 GiB for 55.6
WORKSPACE = 384 << 20  # FlashInfer's, outside the fraction
BF16_ROW, RAW_ROW, PACKED_ROW = "bfloat16", "fp8", "packed fp8"
# Parameters that every rank keeps whole (ReplicatedLinear and norms of deepseek_v2.py); all others
# are divided.
REPLICATED = (
    "q_a_proj",
    "kv_a_proj",
    "q_a_layernorm",
    "kv_a_layernorm",
    "indexer",
    "mlp.gate.",
    "norm",
    "e_score",
)
EMBEDDING = ("embed_tokens", "lm_head")


@dataclass(frozen=True)
class Shape:
    """What a model's configuration says about its sizes; those of GLM-5 where nothing is said of an
    MLA model.
    """

    layers: int
    hidden: int
    heads: int
    vocabulary: int
    context: int
    kv_rank: int = 0  # of MLA; 0: keys and values are kept head by head
    rope: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    q_rank: int = 0
    nope: int = 0
    v_head: int = 0
    index_dim: int = 0  # of the sparse attention's indexer; 0: none
    index_heads: int = 0
    index_layers: int = 0  # that keep a key for it
    experts: int = 0
    shared: int = 0
    expert_size: int = 0
    dense_size: int = 0
    dense_layers: int = 0
    mtp: int = 0  # layers of multi-token prediction
    tied: bool = False


def shape(config: Mapping[str, str]) -> Shape:
    """The shape that a configuration's scalars describe.

    Raises KeyError or ValueError where one is amiss.
    """

    def number(name: str, default: int | None = None) -> int:
        if name in config:
            return int(config[name])
        if default is None:
            raise KeyError(name)
        return default

    layers, heads, hidden = (
        number("num_hidden_layers"),
        number("num_attention_heads"),
        number("hidden_size"),
    )
    if layers < 1 or heads < 1 or hidden < 1:
        raise ValueError("a size that is no positive number")
    kv_rank, index_dim = number("kv_lora_rank", 0), number("index_head_dim", 0)
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        vocabulary=number("vocab_size"),
        context=number("max_position_embeddings"),
        kv_rank=kv_rank,
        rope=number("qk_rope_head_dim", 0),
        kv_heads=number("num_key_value_heads", heads),
        head_dim=number("head_dim", hidden // heads),
        q_rank=number("q_lora_rank", 0),
        nope=number("qk_nope_head_dim", 0),
        v_head=number("v_head_dim", 0),
        index_dim=index_dim,
        index_heads=number("index_n_heads", 0),
        index_layers=number("indexer_full_layers", layers) if index_dim else 0,
        experts=number("n_routed_experts", number("num_experts", 0)),
        shared=number("n_shared_experts", 0),
        expert_size=number("moe_intermediate_size", 0),
        dense_size=number("intermediate_size", 0),
        dense_layers=number("first_k_dense_replace", 0),
        mtp=number("num_nextn_predict_layers", 0),
        tied=config.get("tie_word_embeddings") == "True",
    )


@dataclass(frozen=True)
class Weights:
    """The bytes of a whole checkpoint by how ranks share them; `mtp_` are those of multi-token
    prediction.
    """

    divided: int  # over the ranks of a stage
    replicated: int  # on every rank
    embedding: int  # divided, on the first and the last stage
    absorbed: int  # copies of kv_b that SGLang makes while loading, divided
    mtp_divided: int = 0
    mtp_replicated: int = 0
    exact: bool = True  # from the files' headers; otherwise computed from the configuration

    def of_gpu(self, tp: int, pp: int = 1, *, mtp: bool = False) -> int:
        """What one GPU of the fullest stage holds."""
        stage = self.replicated + (self.divided + self.absorbed) / tp
        extra = self.mtp_replicated + self.mtp_divided / tp if mtp else 0
        ends = self.embedding / tp / (1 if pp == 1 else 2)
        return int((stage / pp + ends + extra) * (1 if self.exact else MARGIN))

    @property
    def total(self) -> int:
        """The checkpoint's own bytes, without multi-token prediction."""
        return self.divided + self.replicated + self.embedding


def from_headers(sizes: Iterable[tuple[str, int]], layers: int) -> Weights:
    """The weights of a checkpoint from the names and bytes of its tensors."""
    divided = replicated = embedding = absorbed = mtp_divided = mtp_replicated = 0
    for name, size in sizes:
        whole = any(part in name for part in REPLICATED) and ".experts." not in name
        if _layer(name) >= layers:
            mtp_replicated += size if whole else 0
            mtp_divided += 0 if whole else size
        elif any(part in name for part in EMBEDDING):
            embedding += size
        elif whole:
            replicated += size
        else:
            divided += size
            absorbed += size if "kv_b_proj.weight" in name and "scale" not in name else 0
    return Weights(divided, replicated, embedding, absorbed, mtp_divided, mtp_replicated)


def _layer(name: str) -> int:
    _, found, rest = name.partition("layers.")
    number = rest.partition(".")[0]
    return int(number) if found and number.isdecimal() and len(number) < 6 else -1


def from_shape(s: Shape, *, nvfp4: bool = True) -> Weights:
    """What a configuration comes to: experts NVFP4, all else BF16, as in the published
    checkpoints.
    """
    replicated, attention, kv_b = _attention(s)
    moe = s.layers - s.dense_layers if s.experts else 0
    experts = 3 * s.hidden * s.expert_size * s.experts
    shared = 3 * s.hidden * s.expert_size * s.shared
    gate = s.hidden * s.experts
    dense = 3 * s.hidden * s.dense_size * (s.layers - moe)
    mtp = 1 if s.mtp else 0
    return Weights(
        divided=int(
            moe * experts * (NVFP4 if nvfp4 else BF16)
            + BF16 * (s.layers * attention + moe * shared + dense)
        ),
        replicated=int(BF16 * (s.layers * replicated + moe * gate)),
        embedding=int(BF16 * s.vocabulary * s.hidden * (1 if s.tied else 2)),
        absorbed=int(BF16 * s.layers * kv_b),
        mtp_divided=int(BF16 * mtp * (attention + experts + shared)),
        mtp_replicated=int(BF16 * mtp * (replicated + gate + 2 * s.hidden**2)),
        exact=False,
    )


def _attention(s: Shape) -> tuple[int, int, int]:
    """Parameters of one layer's attention: on every rank, divided, and of kv_b, which is in the
    second.
    """
    if not s.kv_rank:
        return 2 * s.hidden, s.hidden * s.head_dim * (2 * s.heads + 2 * s.kv_heads), 0
    kv_b = s.kv_rank * s.heads * (s.nope + s.v_head)
    down = s.hidden * (s.q_rank + s.kv_rank + s.rope)
    up = (s.q_rank or s.hidden) * s.heads * (s.nope + s.rope)
    indexer = (
        s.q_rank * s.index_heads * s.index_dim + s.hidden * (s.index_dim + s.index_heads)
        if s.index_dim
        else 0
    )
    norms = 2 * s.hidden + s.q_rank + s.kv_rank
    return down + indexer + norms, up + kv_b + s.heads * s.v_head * s.hidden, kv_b


def row(kv: str, arch: str | None, release: tuple[int, ...], *, sparse: bool) -> str:
    """The layout of the KV cache: bfloat16, raw fp8, or fp8 packed with its scales.

    Sparse attention packs it on SM120 from 0.5.18 (sources differ on 0.5.17: the larger is taken)
    and in 0.5.9.
    """
    if not kv.startswith("fp8") and (kv != "auto" or arch is None):
        return BF16_ROW
    packed = sparse and ((arch == "sm120" and release >= (0, 5, 17)) or release[:3] == (0, 5, 9))
    return PACKED_ROW if packed else RAW_ROW


def cell(
    s: Shape, layout: str, *, tp: int = 1, pp: int = 1, elided: bool = False, mtp: bool = False
) -> int:
    """KV bytes of one token on one GPU.

    The latent of MLA is the same on every rank: `tp` does not divide it.

    `elided`: from 0.5.18 layers that share another's index keep no key (GLM-5.2: 21 of 78 do).
    `mtp` adds a layer.
    """
    stage = math.ceil(s.layers / pp)
    if not s.kv_rank:
        heads = max(1, s.kv_heads // tp)
        return 2 * heads * s.head_dim * (2 if layout == BF16_ROW else 1) * (stage + mtp)
    raw = s.kv_rank + s.rope
    packed = s.kv_rank + s.kv_rank // 128 * 4 + s.rope * 2
    width = {BF16_ROW: raw * 2, RAW_ROW: raw, PACKED_ROW: packed}[layout]
    key = s.index_dim + s.index_dim // 128 * 4
    indexed = math.ceil((s.index_layers if elided else s.layers) / pp) if s.index_dim else 0
    return width * (stage + mtp) + key * (indexed + mtp if s.index_dim else 0)


def tokens(free: float, weights: float, fraction: float, cell: int, page: int = PAGE) -> int:
    """How many tokens the KV cache holds: the fraction is one of the memory that was free before
    the weights.
    """
    return max(int((free * fraction - weights) // cell) // page * page, 0)


def least_fraction(free: float, weights: float) -> float:
    """The fraction at which the weights alone take all of it: SGLang's `Raise --mem-fraction-static
    above`.
    """
    return weights / free


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


def named(model: str) -> dict[str, str] | None:
    """The configuration of a model by the checkpoint's name, for one that is not here; None for
    unknown ones.
    """
    family = models.by_name(model)
    config = family.of_name(model).config if family else None
    return {key: str(value) for key, value in config.items()} if config else None
