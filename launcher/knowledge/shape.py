"""What a model's configuration says about its sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from launcher.counting import is_endless


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
    own: int = 0  # tokens beyond which engines refuse a context; 0: positions are stretched
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
    index_pool: int = 1  # tokens that share a key of the indexer
    linear_layers: int = 0  # that keep a state of each request, and nothing of its tokens
    linear_heads: int = 0  # of these layers, where they are KDA
    linear_dim: int = 0
    linear_conv: int = 0

    @property
    def cached_layers(self) -> int:
        """Layers that keep something of each token."""
        return self.layers - self.linear_layers


def layout(count: int, heads: int) -> tuple[int, int]:
    """How so many GPUs share a model: tensor parallel as far as its heads divide, in stages beyond
    that.
    """
    tp = next(size for size in range(count, 0, -1) if count % size == 0 and heads % size == 0)
    return tp, count // tp


def shape(config: Mapping[str, str]) -> Shape:
    """The shape that a configuration's scalars describe.

    Raises ValueError where one is amiss, in words that follow "its config.json".
    """

    def number(name: str, default: int | None = None) -> int:
        told = config.get(name)
        if told is None and default is None:
            raise ValueError(f"does not say {name}")
        if told is None:
            return default or 0
        if is_endless(told) or not told.removeprefix("-").isdecimal():
            raise ValueError(f"says that {name} is {told[:20]}, wanted a whole number")
        return int(told)

    def size(name: str) -> int:
        if (said := number(name)) < 1:
            raise ValueError(f"says that {name} is {said}, wanted 1 or more")
        return said

    layers, heads, hidden = map(size, ("num_hidden_layers", "num_attention_heads", "hidden_size"))
    kv_rank, index_dim = number("kv_lora_rank", 0), number("index_head_dim", 0)
    linear = number("linear_layers", 0)
    if not 0 <= linear <= layers:
        raise ValueError(f"says {linear} linear layers of {layers} in all")
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        vocabulary=number("vocab_size"),
        context=(context := number("max_position_embeddings")),
        own=0 if "rope_factor" in config else max(context, number("model_max_length", 0)),
        kv_rank=kv_rank,
        rope=number("qk_rope_head_dim", 0),
        kv_heads=number("num_key_value_heads", heads),
        head_dim=number("head_dim", hidden // heads),
        q_rank=number("q_lora_rank", 0),
        nope=number("qk_nope_head_dim", 0),
        v_head=number("v_head_dim", 0),
        index_dim=index_dim,
        index_heads=number("index_n_heads", 0),
        index_layers=number("indexer_full_layers", layers - linear) if index_dim else 0,
        experts=number("n_routed_experts", number("num_experts", 0)),
        shared=number("n_shared_experts", 0),
        expert_size=number("moe_intermediate_size", 0),
        dense_size=number("intermediate_size", 0),
        dense_layers=number("first_k_dense_replace", 0),
        mtp=number("num_nextn_predict_layers", 0),
        tied=config.get("tie_word_embeddings") == "True",
        index_pool=max(number("index_kpool", 1), 1),
        linear_layers=linear,
        linear_heads=number("linear_num_heads", 0),
        linear_dim=number("linear_head_dim", 0),
        linear_conv=number("linear_conv_kernel_dim", 0),
    )
