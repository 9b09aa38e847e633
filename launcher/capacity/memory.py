"""What a model's weights take of a GPU. Formulas, no host.

Sizes are bytes; held against logs of hosts in tests/data/memory_points.json. How an engine shares
out the rest is its own: `engines/sglang/memory.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from launcher.knowledge import models
from launcher.knowledge.shape import Shape, shape

GIB = 1 << 30
MARGIN = 1.03  # on weights computed from a configuration: hosts showed 56 and 57.06 GiB for 55.6


class Precision(NamedTuple):
    """Bytes a weight of a published checkpoint, and of its layer for multi-token prediction."""

    experts: float
    others: float
    mtp: float


# By quantisation, as models.toml calls it. NVFP4: four bits, and an fp8 scale for sixteen of them;
# FP8: a scale for each 128 x 128.
PRECISIONS = {
    "nvfp4": Precision(0.5 + 1 / 16, 2, 2),
    "fp8": Precision(*[1 + 4 / 128**2] * 3),
    "bf16": Precision(2, 2, 2),
}
BF16 = 2
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
    "f_a_proj",  # of KDA
    "g_a_proj",
)
EMBEDDING = ("embed_tokens", "lm_head")


@dataclass(frozen=True)
class Weights:
    """The bytes of a whole checkpoint by how ranks share them; `mtp_` are those of multi-token
    prediction.
    """

    divided: int  # over the ranks of a stage
    replicated: int  # on every rank
    embedding: int  # divided, on the first and the last stage
    absorbed: int  # copies of kv_b that are made while loading, divided
    mtp_divided: int = 0
    mtp_replicated: int = 0
    experts: int = 0  # those of `divided` that more ranks may share than its others
    attention: int = 0  # those of `divided` that groups of attention DP have each
    exact: bool = True  # from the files' headers; otherwise computed from the configuration

    def of_gpu(
        self, tp: int, pp: int = 1, *, mtp: bool = False, copies: int = 1, groups: int = 1
    ) -> int:
        """What one GPU of the fullest stage holds, of so many copies of the model that share its
        experts; or in so many groups that have attention and embeddings each, and share the rest.
        """
        stage = self.replicated + (self.divided + self.absorbed) / tp
        stage -= self.experts / tp * (1 - 1 / copies)
        stage += (self.attention + self.absorbed) / tp * (groups - 1)
        extra = self.mtp_replicated + self.mtp_divided / tp / copies if mtp else 0
        ends = self.embedding / tp / (1 if pp == 1 else 2) * (groups + 1) / 2
        return int((stage / pp + ends + extra) * (1 if self.exact else MARGIN))

    @property
    def total(self) -> int:
        """The checkpoint's own bytes, without multi-token prediction."""
        return self.divided + self.replicated + self.embedding

    def scaled(self, factor: float) -> Weights:
        """The same, shared alike, of files that are so many times as large: what they are is known
        by then, and needs no margin.
        """
        told = {
            one.name: int(getattr(self, one.name) * factor)
            for one in fields(self)
            if one.name != "exact"
        }
        return replace(self, **told, exact=True)


def from_headers(sizes: Iterable[tuple[str, int]], layers: int) -> Weights:
    """The weights of a checkpoint from the names and bytes of its tensors."""
    divided = replicated = embedding = absorbed = mtp_divided = mtp_replicated = 0
    experts = attention = 0
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
            experts += size if ".experts." in name else 0
            attention += size if "attn." in name else 0
            absorbed += size if "kv_b_proj.weight" in name and "scale" not in name else 0
    return Weights(
        divided, replicated, embedding, absorbed, mtp_divided, mtp_replicated, experts, attention
    )


def _layer(name: str) -> int:
    _, found, rest = name.partition("layers.")
    number = rest.partition(".")[0]
    return int(number) if found and number.isdecimal() and len(number) < 6 else -1


def from_shape(s: Shape, weighs: Precision) -> Weights:
    """What a configuration comes to in the published checkpoints of a precision."""
    replicated, attention, kv_b = _attention(s)
    linear = _linear(s)
    cached = s.cached_layers
    moe = s.layers - s.dense_layers if s.experts else 0
    experts = 3 * s.hidden * s.expert_size * s.experts
    shared = 3 * s.hidden * s.expert_size * s.shared
    gate = s.hidden * s.experts
    dense = 3 * s.hidden * s.dense_size * (s.layers - moe)
    mtp = 1 if s.mtp else 0
    return Weights(
        divided=int(
            moe * experts * weighs.experts
            + weighs.others
            * (cached * attention + s.linear_layers * linear[1] + moe * shared + dense)
        ),
        replicated=int(BF16 * (cached * replicated + s.linear_layers * linear[0] + moe * gate)),
        embedding=int(BF16 * s.vocabulary * s.hidden * (1 if s.tied else 2)),
        absorbed=int(BF16 * cached * kv_b),
        mtp_divided=int(weighs.mtp * mtp * (attention + experts + shared)),
        mtp_replicated=int(BF16 * mtp * (replicated + gate + 2 * s.hidden**2)),
        experts=int(moe * experts * weighs.experts),
        attention=int(weighs.others * (cached * attention + s.linear_layers * linear[1])),
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


def _linear(s: Shape) -> tuple[int, int]:
    """Parameters of one KDA layer: on every rank, and divided."""
    width = s.linear_heads * s.linear_dim
    gates = s.hidden * s.linear_heads + 2 * s.linear_dim * width
    return 2 * s.hidden * (s.linear_dim + 1), (4 * s.hidden + 3 * s.linear_conv) * width + gates


def precision(quantisation: str | None) -> Precision | None:
    """That of a quantisation as models.toml or a config.json calls it; None where its sizes are not
    known here.
    """
    word = (quantisation or "bf16").lower().replace("_", "-").partition("-")[0]
    return PRECISIONS.get(word)


def named(model: str) -> dict[str, str] | None:
    """The configuration of a model by the checkpoint's name, for one that is not here; None for
    unknown ones, and for those whose name says another size than its family's.
    """
    return None if resized(model) else _of_family(model)


def resized(model: str) -> str | None:
    """The word of a checkpoint's name that says another size than its family's; None: no word
    does.
    """
    config = _of_family(model)
    return models.resized(model, _parameters(shape(config))) if config else None


def _of_family(model: str) -> dict[str, str] | None:
    family = models.by_name(model)
    config = family.of_name(model).config if family else None
    return {key: str(value) for key, value in config.items()} if config else None


def _parameters(s: Shape) -> float:
    made = from_shape(s, Precision(1, 1, 1))
    return made.divided + (made.replicated + made.embedding) / BF16
