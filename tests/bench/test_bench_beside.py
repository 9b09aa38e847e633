"""What others got: the table, which of its figures a run stands beside, and what differs."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from launcher.bench.beside import beside, differences, is_alike
from launcher.bench.point import rows_of, text_of
from launcher.bench.record import Level, Objective, Run, Times
from launcher.knowledge import bench_points, gpus
from launcher.knowledge.bench_points import Point, point
from launcher.knowledge.models import checkpoint
from launcher.operate.bench_about import precision_of, version_of
from launcher.plan.evidence import Known

POINTS = bench_points.table().rows
NAMED = {one.id: one for one in POINTS}


def run_of(one: Point) -> Run:
    """A run that is the figure."""
    return Run(
        time="2026-11-26T20:00:00Z",
        glm5_serve="0",
        profile="p",
        engine=one.engine,
        release=one.release,
        generator=one.generator,
        model=one.checkpoint,
        version=one.model,
        precision=one.precision,
        gpu=one.gpu,
        gpus=one.gpus,
        edition=one.edition,
        driver=None,
        scenario="throughput",
        tokens=1024,
        objective=Objective(2000, 50),
        options=dict([part.partition(" ")[::2] for part in one.config.split(", ")])
        if one.config
        else {},
        facts="",
        plan="",
    )


def level_of(one: Point, speed: float | None = None) -> Level:
    nobody = Times(None, None, None)
    return Level(
        concurrency=one.concurrency or 1,
        rounds=4,
        requests=8,
        input_tokens=one.input or 0,
        output_tokens=one.output or 0,
        output_tok_s=speed or one.measured.get("output_tok_s", 1.0),
        slowest=1,
        fastest=1,
        ttft_ms=nobody,
        tpot_ms=nobody,
        goodput_req_s=1,
        good=8,
        one_piece=0,
        counted=True,
        accept_length=None,
        cache_hits=None,
        joules_per_token=None,
    )


def test_every_row_of_the_table_is_one() -> None:
    table = bench_points.table()

    assert table.complaints == ()
    assert len(table.rows) >= 91
    assert all(Known.of(one.evidence) and one.source and one.measured for one in table.rows)


COMPARABLE = [
    one
    for one in POINTS
    if one.measured.get("output_tok_s") and one.concurrency is not None and one.is_target
]


@pytest.mark.parametrize("one", COMPARABLE, ids=lambda one: one.id)
def test_every_figure_is_comparable_to_itself(one: Point) -> None:
    """And what is said of it then is said of the figure, not of a difference."""
    run, level = run_of(one), level_of(one)
    told = beside(run, [level], [one])

    assert [(found.point, found.share) for found in told] == [(one.id, 1.0)]
    assert not [
        word for word in differences(run, level, one) if "ours" in word or "theirs is" in word
    ]


def ours(concurrency: int, options: dict[str, str], **level: Any) -> tuple[Run, Level]:
    """GLM-5.2 in NVFP4 on eight RTX PRO 6000, about 2,048 tokens in and 512 out."""
    one = NAMED["lil-52-mtp0-c1"]
    run = replace(run_of(one), engine="vllm", release="0.32.0", options={"tp": "8", **options})
    load = {"concurrency": concurrency, "input_tokens": 2048, "output_tokens": 512, **level}
    return run, replace(level_of(one), **load)


def shown(run: Run, level: Level) -> list[str]:
    return [one.point for one in beside(run, [level], POINTS)]


SGLANG = {"speculative-algorithm": "NEXTN", "speculative-num-steps": "3"}
VLLM = {"speculative-config": '{"method": "mtp", "num_speculative_tokens": 3}'}


@pytest.mark.parametrize("options", [{}, SGLANG, VLLM])
def test_the_same_load_comes_first_however_it_speculates(options: dict[str, str]) -> None:
    assert shown(*ours(32, options))[0] == "sgl29580-52-c32-vllm"


@pytest.mark.parametrize("options", [SGLANG, VLLM])
def test_of_other_loads_those_that_draft_alike_come_first(options: dict[str, str]) -> None:
    run, level = ours(1, options)
    told = beside(run, [level], POINTS)

    assert [bench_points.drafts(NAMED[one.point].config) for one in told] == [3, 3]
    assert not [word for one in told for word in one.differs if "drafts" in word]
    [same, other] = shown(run, replace(level, concurrency=32))
    assert same == "sgl29580-52-c32-vllm"
    assert bench_points.drafts(NAMED[other].config) == 3


def test_without_drafts_the_first_has_none_and_the_next_says_that_it_has() -> None:
    run, level = ours(1, {})
    first, second = beside(run, [level], POINTS)

    assert first.point == "lil-52-mtp0-c1"
    assert "theirs drafts tokens, ours none" in second.differs


def test_drafts_by_a_model_of_this_host_are_known_by_what_was_accepted() -> None:
    """An option that names a place is not in a record."""
    run, level = ours(1, {}, accept_length=2.4)

    assert "lil-52-mtp0-c1" not in shown(run, level)


def test_of_equals_the_newest_is_shown_whatever_their_order_in_the_file() -> None:
    one = NAMED["lil-52-mtp0-c1"]
    old, new = replace(one, id="old", date="2026-01"), replace(one, id="new", date="2026-08-01")
    run, level = ours(1, {})

    for points in ([old, new], [new, old]):
        assert [told.point for told in beside(run, [level], points)] == ["new", "old"]


def test_another_depth_is_nearer_than_no_drafts_at_all() -> None:
    one = NAMED["lil-52-mtp3-c1"]
    five = replace(one, id="five", date="2020", config="tp 8, spec EAGLE 5-1-6")
    untold = replace(one, id="untold", date="2020", config="tp 8, spec NEXTN")
    run, level = ours(1, SGLANG)
    told = beside(run, [level], [NAMED["lil-52-mtp0-c1"], five, untold])

    assert {one.point for one in told} == {"five", "untold"}
    assert "theirs drafts 5 tokens a step, ours 3" in "; ".join(
        word for one in told for word in one.differs
    )


def test_a_slow_host_is_never_shown_as_a_figure_to_reach() -> None:
    slow = NAMED["lil-issue25-slow-host-c1"]

    assert [one.id for one in POINTS if not one.is_target] == [slow.id]
    assert beside(run_of(slow), [level_of(slow)], [slow]) == ()
    assert not [one.id for one in POINTS if one.is_target and "slow host" in one.trust]


def test_what_a_reader_must_know_of_a_figure_goes_with_it() -> None:
    one = NAMED["lil-53flash-4x-none-c1"]
    (told,) = beside(run_of(one), [level_of(one)], [one])

    assert told.note == "other load on the host: conservative"


@pytest.mark.parametrize(
    "generator",
    ["vllm bench serve, 2048 in, 512 out", "exact, 300 out", "x --random-input-len 2048"],
)
def test_a_load_that_stands_in_the_generator_is_refused(generator: str) -> None:
    row = {
        **rows_of(run_of(NAMED["lil-52-mtp0-c1"]), [level_of(NAMED["lil-52-mtp0-c1"])])[0],
        "generator": generator,
    }

    with pytest.raises(ValueError, match="is of a load: write input and output"):
        point(1, row)


@pytest.mark.parametrize(
    "id", [f"slim-53flash-4x-c{count}" for count in (1, 8, 16)] + ["sgl29580-52-c32-vllm"]
)
def test_a_load_that_is_told_is_read(id: str) -> None:
    one = NAMED[id]
    far = replace(level_of(one), input_tokens=9000)

    assert one.input
    assert one.output
    assert f"{one.input:,} tokens of input, ours 9,000" in differences(run_of(one), far, one)
    assert "their load is not told" not in differences(run_of(one), far, one)


@pytest.mark.parametrize(
    ("config", "drafted"),
    [
        ("tp 8, spec MTP3, kv fp8", 3),
        ("spec DFlash2 k7", 7),
        ("spec EAGLE 5-1-6 adaptive", 5),
        ("spec mtp 5", 5),
        ("spec NEXTN, kv bf16", None),
        ("spec EAGLE, short draft", None),
        ("tp 8, spec none", 0),
        ("tp 8, speculative-attention-mode decode", 0),
        ("speculative-num-steps 3", 0),  # and no algorithm: it does not draft
        ("speculative-algorithm NEXTN, speculative-num-steps 3", 3),
        ('speculative-config {"method":"mtp","num_speculative_tokens":2}', 2),
        ("spec-method mtp, spec-tokens 4", 4),
        ("", 0),
    ],
)
def test_how_many_tokens_are_drafted(config: str, drafted: int | None) -> None:
    assert bench_points.drafts(config) == drafted


def test_input_tokens_are_never_taken_for_output() -> None:
    without = [one for one in POINTS if "output_tok_s" not in one.measured]

    assert without
    assert not [one.id for one in without if is_alike(run_of(one), one, one.concurrency or 1)]


@pytest.mark.parametrize(
    "other",
    [
        {"gpu": "b300"},
        {"gpu": None},
        {"gpus": 4},
        {"version": "GLM-5"},
        {"version": None},
        {"precision": "fp8"},
        {"precision": None},
    ],
)
def test_another_host_or_model_is_beside_nothing(other: dict[str, Any]) -> None:
    one = NAMED["lil-52-mtp0-c1"]

    assert beside(run_of(one), [level_of(one)], [one])
    assert not beside(replace(run_of(one), **other), [level_of(one)], [one])


def test_another_concurrency_is_beside_nothing() -> None:
    one = NAMED["lil-52-mtp0-c1"]

    assert not beside(run_of(one), [replace(level_of(one), concurrency=2)], [one])


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("cb-52-b200-ll-c1", ("accepted drafts pinned to 3.5", "computed from", "random text")),
        ("lil-52-mtp0-c1", ("at a context of 0: decoding alone", "nobody judged their text")),
        ("hf-51-6x-c1", ("their load is not told",)),
        ("orm-53flash-2x-c1", ("at a context of 18,944",)),
    ],
)
def test_what_a_figure_is_worth_is_said(id: str, words: tuple[str, ...]) -> None:
    one = NAMED[id]
    told = "; ".join(differences(run_of(one), level_of(one), one))

    assert all(word in told for word in words), told


def test_what_differs_is_said() -> None:
    one = NAMED["cb-52-b200-ll-c1"]
    ours = replace(run_of(one), engine="vllm", release="0.32.0", options={"tp": "8"})
    told = "; ".join(differences(ours, replace(level_of(one), input_tokens=2000), one))

    for word in (
        "theirs is sglang",
        "release dev-glm52",
        "their options: tp 8",
        "8,192 tokens of input, ours 2,000",
    ):
        assert word in told, told


def test_another_checkpoint_of_the_model_is_said() -> None:
    """One with fewer experts is faster by that alone."""
    one = next(point for point in POINTS if point.model == "GLM-5.1" and point.is_target)
    same, pruned = run_of(one), replace(run_of(one), model="glm-5.1-478b-nvfp4")

    assert f"their checkpoint: {one.checkpoint}" in differences(pruned, level_of(one), one)
    told = differences(replace(same, model=checkpoint(one.checkpoint)), level_of(one), one)
    assert "checkpoint" not in "; ".join(told)


def test_the_slow_host_is_at_45_percent_of_the_next_one() -> None:
    """rtx6kpro#25: 39.6 against 87.9 tok/s."""
    fast, slow = NAMED["lil-52-mtp0-c1"], NAMED["lil-issue25-slow-host-c1"]
    told = beside(run_of(slow), [level_of(slow)], [fast])

    assert round(told[0].share, 2) == 0.45


def test_a_saved_run_is_a_row_that_is_comparable_to_itself() -> None:
    one = NAMED["lil-52-mtp0-c1"]
    run, level = replace(run_of(one), gpu="b200"), level_of(one, 77.5)
    text = text_of(rows_of(run, [level]))
    (row,) = tomllib.loads(text)["point"]
    made = point(1, row)

    assert made.evidence == Known.SEEN
    assert made.judged
    assert [found.share for found in beside(run, [level], [made])] == [1.0]


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("nvidia/GLM-5.2-NVFP4", "GLM-5.2"),
        ("/models/GLM-5-FP8", "GLM-5"),
        ("zai-org/GLM-5.3-Flash", "GLM-5.3-Flash"),
        ("lukealonso/GLM-5.1-NVFP4-MTP", "GLM-5.1"),
        ("zai-org/GLM-4.6", None),
        ("/home/glm-5/other", None),
        ("tiny", None),
    ],
)
def test_which_glm_5_it_is(model: str, version: str | None) -> None:
    assert version_of(model) == version


@pytest.mark.parametrize("one", POINTS, ids=lambda one: one.id)
def test_a_server_of_a_figures_checkpoint_has_its_model_and_precision(one: Point) -> None:
    """Where the source names the checkpoint by its id."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", one.checkpoint) and "exl3" not in one.precision:
        assert version_of(one.checkpoint) == one.model
        assert precision_of(one.checkpoint) in (one.precision, None)


def test_every_product_of_the_table_is_known() -> None:
    assert {one.gpu for one in POINTS} <= {*gpus.products()}
