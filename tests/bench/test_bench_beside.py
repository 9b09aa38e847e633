"""What others got: the table, which of its figures a run stands beside, and what differs."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from launcher.bench.beside import beside, differences, is_alike
from launcher.bench.causes import causes, signs, watts
from launcher.bench.point import rows_of, text_of
from launcher.bench.record import Level, Objective, Run, Times
from launcher.engines.engine import generator
from launcher.host.facts import Driver, Gpu, known
from launcher.knowledge import bench_points, gpus
from launcher.knowledge.bench_points import Point, point
from launcher.operate.bench_about import precision_of, version_of
from launcher.plan.evidence import Known
from launcher.plan.findings import Finding, Severity

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
    one for one in POINTS if one.measured.get("output_tok_s") and one.concurrency is not None
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


def card(index: int, **facts: Any) -> Gpu:
    return Gpu(index, **{name: known(value) for name, value in facts.items()})


def host(*cards: Gpu) -> Driver:
    return Driver(gpus=known(cards))


BUSY = {"power_draw": 140.0, "power_limit": 600.0, "utilisation": 100}


def test_a_gpu_that_waits_is_known_by_its_power() -> None:
    told = signs([host(card(0, **BUSY), card(1, **BUSY))] * 3, {0, 1})

    assert watts(told) == 280
    every = signs([host(*(card(number, **BUSY) for number in range(8)))], set(range(8)))
    assert causes(every, [], [], [])[0].startswith("GPUs 0-7: 140 W of 600 W")
    assert causes(told, [], [], []) == (
        "GPUs 0, 1: 140 W of 600 W, though it is always busy: it waits, for other GPUs or memory,"
        " more than it computes",
    )


@pytest.mark.parametrize(
    "other",
    [
        {"power_draw": 400.0},  # it computes
        {"utilisation": 30},  # nobody asked it
    ],
)
def test_a_gpu_that_works_or_rests_is_no_cause(other: dict[str, Any]) -> None:
    assert causes(signs([host(card(0, **BUSY | other))], {0}), [], [], []) == ()


def test_what_is_not_ours_or_not_told_is_no_cause() -> None:
    assert signs([host(card(3, **BUSY))], {0}) == ()
    assert causes(signs([host(card(0))], {0}), [], [], []) == ()
    assert watts(signs([host(card(0), card(1, **BUSY))], {0, 1})) is None
    assert watts(()) is None


def test_slow_clocks_and_narrow_links_are_told() -> None:
    facts = {"clock_reasons": ("hw_thermal_slowdown",), "link_gen": 3, "link_gen_max": 5}
    narrow = {"link_width": 8, "link_width_max": 16}
    told = "; ".join(causes(signs([host(card(2, **facts, **narrow))], {2}), [], [], []))

    assert "GPU 2: heat slows the clocks down, by the hardware" in told
    assert "PCIe generation 3 of 5 under load" in told
    assert "PCIe lanes 8 of 16 under load" in told


def test_a_link_that_was_at_full_speed_once_is_no_cause() -> None:
    samples = [host(card(0, link_gen=now, link_gen_max=5)) for now in (1, 5, 1)]

    assert causes(signs(samples, {0}), [], [], []) == ()


def test_findings_of_doctor_and_lines_of_the_log_are_causes_too() -> None:
    found = [
        Finding(
            "acs-redirect", Severity.FAIL, "t", "8 bridges", fix="run it", group="IOMMU and ACS"
        ),
        Finding("p2p-status", Severity.OK, "t", "fine", group="peer-to-peer"),
        Finding("disk-space", Severity.WARN, "t", "little", group="disks"),
    ]
    line = (
        "Using default MoE kernel config. Performance might be sub-optimal! Config file not found"
    )
    told = causes((), found, [line], generator("sglang").slow)

    assert len(told) == 2
    assert told[0].startswith("its log tells: no tuned kernel configuration")
    assert told[1] == "acs-redirect: 8 bridges; fix: run it"


def test_groups_of_findings_are_those_that_there_are() -> None:
    from launcher.bench.causes import GROUPS, OTHERS
    from launcher.doctor.checks import every_check

    assert {*GROUPS} <= {check.group for check in every_check()}
    assert {*OTHERS} <= {check.id for check in every_check()}


def test_every_product_of_the_table_is_known() -> None:
    assert {one.gpu for one in POINTS} <= {*gpus.products()}
