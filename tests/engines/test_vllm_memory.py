"""How vLLM shares out a GPU, against what its starts logged; the files of tests/data name each
source.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import TESTS
from hypothesis import given
from hypothesis import strategies as st
from rig import healthy

from launcher.capacity import memory as capacity
from launcher.capacity.estimate import fit
from launcher.capacity.memory import GIB
from launcher.capacity.outcome import Fit
from launcher.engines import startup
from launcher.engines.memory import BF16_ROW, PACKED_ROW, RAW_ROW, Demand
from launcher.engines.vllm.log import LOG
from launcher.engines.vllm.memory import MEMORY, cell, row
from launcher.host.facts import Host
from launcher.knowledge.shape import Shape, shape
from launcher.plan.plan import Plan, Setting

CARD = 97887 << 20  # RTX PRO 6000, of which CUDA counts 94.97 GiB
B200 = 183359 << 20


def plan(release: str | None = "0.33.0", **options: object) -> Plan:
    settings = tuple(
        Setting(f"--{name}", str(value), "test", "", option=name)
        for key, value in options.items()
        for name in [key.replace("_", "-")]
    )
    return replace(
        healthy.plan(), engine="vllm", settings=settings, release=release, arch="sm120", env={}
    )


def mtp(count: int) -> str:
    return json.dumps({"method": "mtp", "num_speculative_tokens": count})


def named(model: str) -> Shape:
    config = capacity.named(model)
    assert config is not None
    return shape(config)


GLM5, GLM52, FLASH = map(named, ("zai-org/GLM-5", "zai-org/GLM-5.2", "zai-org/GLM-5.3-Flash"))


def points(file: str) -> dict[str, dict[str, Any]]:
    told = json.loads((TESTS / f"data/{file}.json").read_text())["points"]
    return {point["id"]: point for point in told}


LOGGED = points("memory_points_vllm")


@pytest.mark.parametrize("id", LOGGED)
def test_the_tokens_of_a_start_are_those_of_its_log(id: str) -> None:
    point = LOGGED[id]
    options = {"speculative_config": mtp(point["mtp"])} if point["mtp"] else {}
    asked = MEMORY.demand(plan(tensor_parallel_size=8, **options), GLM5, PACKED_ROW, CARD)

    made = MEMORY.pools(point["kv"] * GIB, asked).tokens
    assert made == pytest.approx(point["tokens"], rel=0.001)


@pytest.mark.parametrize("id", LOGGED)
def test_what_a_start_left_for_the_cache_is_what_is_reckoned(id: str) -> None:
    """That build kept no graphs off it; what it estimated for them is kept off since 0.21."""
    point = LOGGED[id]
    options = {"speculative_config": mtp(point["mtp"])} if point["mtp"] else {}
    old = MEMORY.taken(plan("0.20.0", max_cudagraph_capture_size=256, **options), CARD, None)
    new = MEMORY.taken(plan("0.33.0", max_cudagraph_capture_size=256, **options), CARD, None)
    left = MEMORY.base(CARD) / GIB * point["utilization"] - point["weights"] - old.most / GIB

    assert left == pytest.approx(point["kv"], abs=0.2)
    assert old.beside <= point["graphs"] * GIB
    assert (new.most - old.most) / GIB == pytest.approx(point["estimated"], abs=0.1)


WINDOWS = json.loads((TESTS / "data/memory_points_vllm.json").read_text())["windows"]


def served(point: dict[str, Any]) -> Fit:
    """What is reckoned of a start of stock vLLM, by what is published of its checkpoint."""
    made = plan(
        "0.25.1",
        tensor_parallel_size=point["tp"],
        gpu_memory_utilization=point["utilization"],
        speculative_config=mtp(point["mtp"]),
        max_model_len=point["max_model_len"],
    )
    nvfp4 = capacity.precision("nvfp4")
    assert nvfp4 is not None
    return fit(made, GLM52, capacity.from_shape(GLM52, nvfp4), Host(), CARD)


@pytest.mark.parametrize("point", WINDOWS, ids=lambda point: point["id"])
def test_the_cache_of_a_start_is_within_what_is_reckoned_for_its_window(
    point: dict[str, Any],
) -> None:
    made = served(point)

    assert made.tokens * made.cell <= point["kv"] * GIB <= made.at_best * made.cell
    if "tokens" in point:
        assert point["kv"] * GIB == pytest.approx(point["tokens"] * made.cell, rel=0.001)


def test_a_window_that_served_is_not_doubted_and_one_that_was_refused_does_not_fit() -> None:
    small, large, refused = map(served, WINDOWS)

    assert not any("may not fit" in said.what for made in (small, large) for said in made.said)
    assert not any("does not fit" in said.what for made in (small, large) for said in made.said)
    assert any("does not fit" in said.what for said in refused.said)


def test_a_longer_window_costs_sparse_attention_its_keys_whatever_runs() -> None:
    """40 windows of keys are kept (vllm#55221: 5036 MB, 132 bytes each of 1,000,000 tokens)."""
    long, usual = (plan(max_model_len=size) for size in (1_131_072, 131_072))

    def longer(model: Shape | None) -> tuple[float, float]:
        now, then = (MEMORY.taken(each, CARD, model) for each in (long, usual))
        return now.least - then.least, now.most - then.most

    least, most = longer(GLM52)
    assert least == pytest.approx(5036.4 * 2**20, rel=0.001)
    assert most > least, "and the scores in its graphs"
    assert longer(None) == (0, 0)
    assert longer(replace(GLM52, index_dim=0)) == (0, 0)
    eager = plan(max_model_len=1_131_072, enforce_eager=True)
    assert MEMORY.taken(eager, CARD, GLM52).most < MEMORY.taken(long, CARD, GLM52).most


CELLS = points("memory_points")
SHARED = [id for id, one in CELLS.items() if id.startswith("vllm-glm51") and "kv_gb" in one]


@pytest.mark.parametrize("id", SHARED)
def test_ranks_that_share_contexts_each_keep_a_part_of_a_token(id: str) -> None:
    point = CELLS[id]
    made = plan(
        tensor_parallel_size=8,
        speculative_config=mtp(3),
        decode_context_parallel_size=point.get("dcp") or 1,
    )
    tokens = MEMORY.pools(point["kv_gb"] * GIB, MEMORY.demand(made, GLM5, PACKED_ROW, CARD)).tokens

    assert tokens == pytest.approx(point["kv_tokens"], rel=0.001)


FLASHES = {
    id: point
    for id, point in points("memory_points_53").items()
    if point["engine"].startswith("vllm") and "tokens_predicted" in point
}


@pytest.mark.parametrize("id", FLASHES)
def test_the_size_of_flash_is_that_of_whole_requests(id: str) -> None:
    point = FLASHES[id]
    options = {"speculative_config": mtp(3)} if point["spec"] else {}
    asked = MEMORY.demand(
        plan(tensor_parallel_size=point["tp"], **options), FLASH, PACKED_ROW, CARD
    )
    made = MEMORY.pools(point["kv_gb"] * GIB, replace(asked, context=point["max_model_len"]))

    assert made.tokens == pytest.approx(point["kv_tokens"], rel=0.003)


@pytest.mark.parametrize(
    ("model", "layout", "mtp", "expected"),
    [
        (GLM5, PACKED_ROW, False, 61_464),
        (GLM5, PACKED_ROW, True, 62_252),
        (GLM5, RAW_ROW, False, 55_224),
        (GLM52, PACKED_ROW, False, 53_940),
        (GLM52, PACKED_ROW, True, 54_728),
        (GLM52, RAW_ROW, False, 47_700),
        (GLM52, BF16_ROW, False, 92_628),
        (FLASH, PACKED_ROW, False, 7_579),
        (FLASH, PACKED_ROW, True, 8_268),
    ],
)
def test_the_bytes_of_a_token(model: Shape, layout: str, mtp: bool, expected: int) -> None:
    assert cell(model, layout, tp=8, mtp=mtp) == expected


DENSE = replace(GLM5, index_dim=0)


@pytest.mark.parametrize(
    ("kv", "arch", "release", "model", "expected"),
    [
        ("auto", "sm120", (0, 24), GLM5, PACKED_ROW),
        ("fp8", "sm120", (0, 33), GLM5, PACKED_ROW),
        ("bfloat16", "sm120", (0, 33), GLM5, PACKED_ROW),
        ("auto", "sm100", (0, 32), GLM5, RAW_ROW),
        ("auto", "sm103", (0, 33), FLASH, RAW_ROW),
        ("auto", "sm100", (), GLM5, RAW_ROW),
        ("auto", "sm100", (0, 31), GLM5, BF16_ROW),
        ("fp8_e4m3", "sm100", (0, 30), GLM5, RAW_ROW),
        ("bfloat16", "sm100", (0, 33), GLM5, BF16_ROW),
        ("auto", None, (0, 33), GLM5, BF16_ROW),
        ("auto", "sm120", (0, 33), DENSE, BF16_ROW),
        ("fp8", "sm120", (0, 33), DENSE, RAW_ROW),
    ],
)
def test_the_layout_follows_gpu_release_and_model(
    kv: str, arch: str | None, release: tuple[int, ...], model: Shape, expected: str
) -> None:
    assert row(kv, arch, release, model) == expected


@pytest.mark.parametrize(
    ("release", "said", "expected"),
    [
        ("0.33.0", {}, 0.92),
        ("0.19.1", {}, 0.9),
        (None, {}, 0.92),
        ("0.33.0", {"gpu_memory_utilization": 0.865}, 0.865),
        ("0.33.0", {"gpu_memory_utilization": 1}, 1),
        ("0.33.0", {"gpu_memory_utilization": "1.5"}, None),
        ("0.33.0", {"gpu_memory_utilization": "x"}, None),
    ],
)
def test_the_fraction_of_a_release(
    release: str | None, said: dict[str, object], expected: float | None
) -> None:
    assert MEMORY.asked(plan(release, **said)).fraction == expected


@pytest.mark.parametrize(
    ("said", "tokens", "is_fitted"),
    [("128k", 128_000, False), ("128K", 131_072, False), ("auto", 0, True), ("-1", 0, True)],
)
def test_a_context_is_read_as_vllm_reads_it(said: str, tokens: int, is_fitted: bool) -> None:
    made = MEMORY.asked(plan(max_model_len=said))

    assert (made.context, made.is_fitted) == (tokens, is_fitted)


@pytest.mark.parametrize(
    ("said", "drafts"),
    [
        (mtp(3), True),
        ('{"method": "glm5_next_mtp", "num_speculative_tokens": 2}', True),
        ('{"method": "ngram", "num_speculative_tokens": 4}', False),
        ('{"model": "m", "num_speculative_tokens": 4}', False),
        ("{", False),
        ("[]", False),
        ("", False),
    ],
)
def test_only_its_own_layer_is_one_more(said: str, drafts: bool) -> None:
    assert MEMORY.asked(plan(speculative_config=said)).drafts == drafts


def test_a_card_decides_what_is_served_at_once_where_nothing_is_said() -> None:
    least, usual, large = (
        MEMORY.demand(plan(), GLM5, PACKED_ROW, size).running for size in (32607 << 20, CARD, B200)
    )

    assert (least, usual, large) == (256, 1024, 1024)
    assert MEMORY.taken(plan(), B200, None).least > MEMORY.taken(plan(), CARD, None).least


def test_what_runs_shrinks_with_the_steps_and_without_graphs() -> None:
    usual = MEMORY.taken(plan(max_num_batched_tokens="8k", max_num_seqs=16), CARD, None)
    short = MEMORY.taken(plan(max_num_batched_tokens=1024, max_num_seqs=16), CARD, None)
    eager = MEMORY.taken(plan(enforce_eager=True, max_num_batched_tokens=8192), CARD, None)

    assert short.least / GIB == pytest.approx(2.6 + 1, abs=0.1)
    assert short.most < usual.least < usual.most
    assert eager.least == eager.most < usual.least
    many, few = (plan(max_model_len=262144, max_num_seqs=count) for count in (1024, 16))
    wide, narrow = (MEMORY.taken(each, CARD, GLM5).most for each in (many, few))
    assert wide > narrow, "wider graphs of a longer window"


@given(
    rest=st.floats(-10, 200),
    context=st.integers(1, 1 << 20),
    state=st.integers(0, 1 << 30),
    more=st.floats(0, 50),
)
def test_a_pool_never_holds_more_than_its_bytes(
    rest: float, context: int, state: int, more: float
) -> None:
    asked = Demand(7_579, state=state, context=context)
    made = MEMORY.pools(rest * GIB, asked).tokens

    assert made * 7_579 <= max(rest, 0) * GIB
    assert MEMORY.pools((rest + more) * GIB, asked).tokens >= made


# -- what its log tells of it ------------------------------------------------------------------


def test_its_log_tells_the_step_and_the_context() -> None:
    """The words of 0.32.0; those of 0.20 have a line for the concurrency alone."""
    made = startup.begin(0)
    for line in (
        "(APIServer pid=1) INFO 11-26 10:00:00 [model.py:2152] Using max model len 202752",
        "(APIServer pid=1) INFO 11-26 10:00:01 [scheduler.py:308] Chunked prefill is enabled with"
        " max_num_batched_tokens=8192.",
    ):
        made = startup.read(made, line, 1, LOG)
    assert (made.prefill, made.context) == (8192, 202_752)

    told = "Maximum concurrency for 131,072 tokens per request: 2.60x"
    for words in (f"GPU KV cache size: 341,504 tokens, {told}", told):
        line = f"(EngineCore pid=2) INFO 11-26 10:05:00 [kv_cache_utils.py:2327] {words}"
        assert startup.read(made, line, 2, LOG).context == 131_072
        assert startup.read(made, line, 2, LOG).prefill == 8192


def test_nobody_but_the_engine_tells_them() -> None:
    made = startup.read(startup.begin(0), "Using max model len 7", 1, LOG)

    assert (made.prefill, made.context) == (None, None)
