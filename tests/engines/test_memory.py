"""SGLang's pools of GLM-5.3-Flash against what hosts logged; tests/data/memory_points_53.json names
each source.

Its points of vLLM wait for a planner of vLLM: their formula stands in the file.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st

from launcher.capacity import memory as capacity
from launcher.capacity.memory import GIB
from launcher.engines.sglang.memory import (
    BF16_ROW,
    PACKED_ROW,
    RAW_ROW,
    Demand,
    cell,
    pools,
    row,
    state,
)
from launcher.knowledge import models
from launcher.knowledge.models import Checkpoint
from launcher.knowledge.shape import Shape, shape

BEFORE, AFTER = (0, 5, 21), (0, 5, 22)  # tokens that are pooled share a key of the indexer from it
POINTS = {
    point["id"]: point
    for point in json.loads((TESTS / "data/memory_points_53.json").read_text())["points"]
    if point["engine"] == "sglang"
}
MEASURED = [id for id, point in POINTS.items() if "bytes_per_token_observed" in point]


def named(model: str) -> Shape:
    config = capacity.named(model)
    assert config is not None
    return shape(config)


FLASH = named("zai-org/GLM-5.3-Flash")


@pytest.mark.parametrize(
    ("layout", "release", "mtp", "expected"),
    [
        (BF16_ROW, BEFORE, False, 12_716),
        (BF16_ROW, BEFORE, True, 13_872),
        (RAW_ROW, BEFORE, False, 7_084),
        (RAW_ROW, BEFORE, True, 7_728),
        (BF16_ROW, AFTER, False, 11_627),
        (BF16_ROW, AFTER, True, 12_684),
        (RAW_ROW, AFTER, False, 5_995),
        (RAW_ROW, AFTER, True, 6_540),
        (PACKED_ROW, AFTER, False, 6_171),
        (PACKED_ROW, AFTER, True, 6_732),
    ],
)
def test_the_cells_of_flash(
    layout: str, release: tuple[int, ...], mtp: bool, expected: int
) -> None:
    assert cell(FLASH, layout, tp=4, release=release, mtp=mtp) == expected


@pytest.mark.parametrize("id", MEASURED)
def test_bytes_a_token_are_those_of_the_host(id: str) -> None:
    point = POINTS[id]
    layout = BF16_ROW if point["kv_cache_dtype"] == "bf16" else RAW_ROW

    # The log counts the layer for multi-token prediction as a pool of its own.
    assert cell(FLASH, layout, tp=4, release=BEFORE) == pytest.approx(
        point["bytes_per_token_observed"], rel=0.003
    )


@pytest.mark.parametrize("id", POINTS)
def test_a_pool_of_so_many_bytes_holds_so_many_tokens(id: str) -> None:
    """`kv_gb` of a log over the bytes a token are its tokens."""
    point = POINTS[id]
    size = point.get("kv_gb", point.get("kv_gb_derived"))
    layout = BF16_ROW if point["kv_cache_dtype"] == "bf16" else RAW_ROW
    made = size * GIB / cell(FLASH, layout, release=BEFORE)

    assert made == pytest.approx(point["kv_tokens"], rel=0.01)


def test_a_host_had_as_many_state_slots_and_tokens() -> None:
    """4x B200, .85, NEXTN 5/1/6: what was left beside the weights, shared out as SGLang does."""
    point: dict[str, Any] = POINTS["flash-b200-tp4ep4-fp8-trtllm-nextn516"]
    asked = Demand(
        cell=cell(FLASH, RAW_ROW, tp=4, release=BEFORE, mtp=True),
        state=state(FLASH, 4, point["mamba_ssm_dtype"]),
        drafts=6,
        running=point["max_running_requests"],
    )
    made = pools(point["rest_memory_gb_derived"] * GIB, asked)

    assert made.slots == point["mamba_slots"] == 446
    assert made.tokens == pytest.approx(point["kv_tokens"], rel=0.01)
    assert made.running == 16


@pytest.mark.parametrize(
    ("tp", "ssm", "megabytes"),
    [
        (2, "float32", 73.8),
        (2, "bfloat16", 38.2),
        (4, "float32", 36.9),
        (4, "bfloat16", 19.1),
        (8, "float32", 18.5),
        (8, "bfloat16", 9.5),
    ],
)
def test_a_state_is_divided_by_ranks(tp: int, ssm: str, megabytes: float) -> None:
    assert state(FLASH, tp, ssm) / 1e6 == pytest.approx(megabytes, abs=0.06)


def test_the_states_of_a_host_took_what_is_computed() -> None:
    """Two RTX PRO 6000 with a fork: 28 slots in bfloat16 were 1.07 GB."""
    assert 28 * state(FLASH, 2, "bfloat16") / 1e9 == pytest.approx(1.07, rel=0.01)


def test_models_without_such_layers_keep_no_state() -> None:
    assert state(named("zai-org/GLM-5"), 8, "float32") == 0
    assert pools(94 * GIB * 0.88 - 57 * GIB, Demand(61_464)).slots is None


@pytest.mark.parametrize(
    ("model", "expected"), [("zai-org/GLM-5.3-Flash", RAW_ROW), ("zai-org/GLM-5.3", PACKED_ROW)]
)
def test_pooled_tokens_are_kept_raw_on_sm120(model: str, expected: str) -> None:
    assert row("fp8_e4m3", "sm120", (0, 5, 23), named(model)) == expected


@given(
    free=st.floats(40, 300),
    weights=st.floats(10, 100),
    slots=st.integers(1, 2000) | st.none(),
    drafts=st.sampled_from([0, 2, 4, 6]),
    running=st.integers(1, 512) | st.none(),
)
def test_pools_never_hold_more_than_the_fraction_leaves(
    free: float, weights: float, slots: int | None, drafts: int, running: int | None
) -> None:
    asked = Demand(5_995, 256, state(FLASH, 4, "float32"), slots, drafts, running)
    made = pools((free * 0.85 - weights) * GIB, asked)

    assert made.tokens % 256 == 0
    assert made.slots is not None
    assert made.running is not None
    assert made.running <= made.slots // 5
    if made.tokens:
        assert made.tokens * 5_995 + made.slots * asked.state <= (free * 0.85 - weights) * GIB


@given(st.integers(5, 400), st.integers(0, 200))
def test_more_slots_let_more_run_and_leave_fewer_tokens(slots: int, more: int) -> None:
    one, two = (
        pools((94 * 0.85 - 46) * GIB, Demand(5_995, 256, state(FLASH, 4, "bfloat16"), count))
        for count in (slots, slots + more)
    )

    assert one.running is not None
    assert two.running is not None
    assert one.running <= two.running
    assert one.tokens >= two.tokens


PUBLISHED = [
    one
    for family in models.families()
    for one in family.checkpoints.values()
    if one.gib and capacity.precision(one.quantisation) and "4p67" not in one.id
]


@pytest.mark.parametrize("checkpoint", PUBLISHED, ids=lambda one: one.id)
def test_the_weights_of_a_checkpoint_come_to_its_files(checkpoint: Checkpoint) -> None:
    precision = capacity.precision(checkpoint.quantisation)
    assert precision is not None
    made = capacity.from_shape(named(checkpoint.id), precision)
    mtp = made.mtp_divided + made.mtp_replicated

    assert checkpoint.gib is not None
    assert (made.total + (mtp if checkpoint.mtp else 0)) / GIB == pytest.approx(
        checkpoint.gib, rel=0.08
    )


@pytest.mark.parametrize(("tp", "mtp", "gib"), [(4, True, 49.17), (2, False, 88.89)])
def test_the_weights_of_flash_are_those_of_the_host(tp: int, mtp: bool, gib: float) -> None:
    """nvidia/GLM-5.3-Flash-NVFP4, as vLLM logged them; 3 % is the margin of what is computed."""
    made = capacity.from_shape(FLASH, capacity.PRECISIONS["nvfp4"])

    assert made.of_gpu(tp, mtp=mtp) / GIB == pytest.approx(gib, rel=0.03)
