"""Operating points: what each one chooses, on which GPUs, and what it says where it cannot."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest
from conftest import World
from rig import healthy, packaged

from launcher.capacity import sizes
from launcher.capacity.estimate import fit
from launcher.config import layers
from launcher.config.load import PlanRequest, load
from launcher.config.published import beside
from launcher.config.resolve import resolve
from launcher.config.target import planned
from launcher.engines.engine import dialect
from launcher.engines.rules import left_out, rules
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.host.facts import Host, Model
from launcher.knowledge import bench_points, gpus
from launcher.plan.findings import Severity
from launcher.plan.plan import POINTS, Plan, Setting

ENVIRON = {"HOME": "/nowhere"}
RELEASES = {
    name: dialect(name).options.releases[dialect(name).options.releases.index(first) :]
    for name, first in (("sglang", "0.5.9"), ("vllm", "0.16.0"))
}


@cache
def at(name: str, point: str, release: str = "", *settings: str) -> Plan:
    return packaged.plan(name, release or None, None, f"operating_point={point}", *settings)


def depth(plan: Plan) -> int:
    return dialect(plan.engine).memory.asked(plan).depth


def groups(plan: Plan) -> int:
    return dialect(plan.engine).memory.asked(plan).groups


def fits(plan: Plan) -> list[str]:
    """What keeps a plan from starting on the product that it is for, by its sizes."""
    shape = sizes.shape(Model(), plan.model)
    made = fit(plan, shape, sizes.weights(Model(), plan.model, shape), Host(), None)
    return [said.what for said in made.said if said.severity is Severity.FAIL]


def refused(plan: Plan, release: str) -> list[str]:
    """The options that rules chose and the release does not take."""
    known = dialect(plan.engine).options.release(release)
    ours = [one for one in plan.settings if one.layer.startswith("rule") and one.option]
    return [one.name for one in ours if not known.accepts(one.name)]


@pytest.mark.parametrize("name", packaged.EVERY)
def test_each_point_of_each_profile_resolves_fits_and_is_accepted_and_drafts_less_under_more_load(
    name: str,
) -> None:
    """In the newest release and every other one; the next profile has those between."""
    engine = packaged.engine(name)
    turn = packaged.of(engine).index(name)
    *older, newest = RELEASES[engine]
    for release in (*older[turn % 2 :: 2], newest):
        plans = {point: at(name, point, release) for point in POINTS}
        depths = [depth(plan) for plan in plans.values()]
        pointed = {point: plan for point, plan in plans.items() if plan.ruled and plan.gpus}

        assert depths == sorted(depths, reverse=True), release
        for point, plan in pointed.items():
            assert plan.point == point
            assert not refused(plan, release), f"{release} {point}"
            assert not fits(plan), f"{release} {point}"


@pytest.mark.parametrize("name", [name for name in packaged.EVERY if "pro6000" in name])
@pytest.mark.parametrize("point", POINTS)
def test_a_glm_5_on_sm120_gets_no_attention_dp_and_is_told_so(name: str, point: str) -> None:
    plan = at(name, point)

    assert groups(plan) == 1
    if point != "latency":
        assert any(reason.startswith("no attention") for reason in plan.left_out)


def test_many_requests_of_glm_52_on_eight_b200_get_attention_dp_and_short_drafts() -> None:
    latency, balanced, throughput = (at("8xb200-glm52", point, "0.5.23") for point in POINTS)

    assert [(groups(one), depth(one)) for one in (latency, balanced, throughput)] == [
        (1, 5),
        (8, 2),
        (8, 0),
    ]
    assert balanced.flag("speculative-num-draft-tokens") == "3"
    assert balanced.flag("max-running-requests") == "256"
    assert "3,351 tokens/s of 64 requests" in beside(balanced)
    assert "accepted drafts pinned to 2" in beside(balanced)
    assert "not alike: mem-fraction-static 0.92, not 0.85" in beside(balanced)
    shallow = replace(balanced, settings=tuple(map(_with_one_step, balanced.settings)))
    assert "2 steps of drafts, not 1" in beside(shallow)
    assert {one.gpus for one in (latency, balanced, throughput)} == {8}


def _with_one_step(setting: Setting) -> Setting:
    return replace(setting, value="1") if setting.option == "speculative-num-steps" else setting


def test_balanced_is_what_a_profile_is_resolved_for_where_it_says_nothing() -> None:
    told = planned(PlanRequest("8xb200-glm52"), ENVIRON, Target("0.5.23"))[0]

    assert told.arguments == at("8xb200-glm52", "balanced", "0.5.23").arguments
    assert not told.notes, "nobody asked for it: what it leaves out is in --explain"


def test_the_words_of_a_profile_stand_over_its_point() -> None:
    words = ("flags.speculative-algorithm=false", "flags.dp-size=8", "flags.tp-size=4")
    off = at("8xb200-glm52", "latency", "0.5.23", words[0])
    mine = at("8xb200-glm52", "balanced", "0.5.23", *words[1:])

    assert depth(off) == 0
    assert off.flag("speculative-num-steps", "speculative-num-draft-tokens") is None
    assert groups(mine) == 1, "replicas that somebody asked for are no groups of attention"


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("8xpro6000-glm52", (), "hung or failed on SM120"),
        ("8xpro6000", (), "has no layer 78"),
        ("8xb200-glm52", ("flags.model-path=me/GLM-5.2-NVFP4-tuned",), "nobody knows whether"),
        ("8xb200-glm52", ("flags.pp-size=2",), "pipeline stages and drafts"),
        ("2x8xb200", (), "pipeline stages and drafts"),
        ("4xpro6000-glm53-flash", (), "no published run"),
        ("8xpro6000-vllm", (), "has no layer 78"),
        ("8xb200-glm52-vllm", ("flags.model=zai-org/GLM-5.2-FP8",), "this checkpoint's precision"),
        ("4xb200-glm53flash-vllm", (), "for this model on these GPUs by vLLM"),
    ],
)
def test_what_a_point_cannot_have_is_left_out_with_its_reason(
    name: str, settings: tuple[str, ...], why: str
) -> None:
    plan = at(name, "latency", "", *settings)

    assert depth(plan) == 0
    assert [reason for reason in plan.left_out if why in reason]
    assert [
        note for note in plan.notes if note.startswith("operating point latency") and why in note
    ]


@pytest.mark.parametrize(
    "name", ["8xb200-glm52", "8xb300-glm52", "4xb300-glm53-flash", "8xb200-glm52-vllm"]
)
def test_what_a_point_has_is_not_said_to_be_left_out(name: str) -> None:
    plan = at(name, "latency")

    assert depth(plan)
    assert not plan.left_out


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("model", ["Qwen/Qwen3-235B-A22B", "zai-org/GLM-4.6", "org/Llama-9"])
def test_a_model_of_another_family_gets_nothing_of_a_point(model: str, point: str) -> None:
    for name, option in (("8xb200-glm52", "model-path"), ("8xb200-glm52-vllm", "model")):
        plan = at(name, point, "", f"flags.{option}={model}")
        ours = [one for one in plan.settings if "/" in one.layer and point in one.layer]

        assert not [one for one in ours if one.option.startswith(("spec", "attn", "dp", "max-r"))]
        assert not plan.left_out or name.endswith("vllm"), plan.left_out


def test_the_cpu_and_a_command_without_rules_have_no_point_and_say_so() -> None:
    for name, why in (("cpu-demo", "runs on the CPU"), ("card", "rules are off")):
        plan = at(name, "latency")

        assert (plan.point, plan.left_out) == ("", ())
        assert [note for note in plan.notes if why in note]


def test_a_point_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="wanted latency, balanced or throughput, not 'fast'"):
        at("8xb200", "fast")


@pytest.mark.parametrize("engine", sorted(RELEASES))
def test_every_row_of_a_point_tells_its_source_and_none_is_run_on_a_gpu(engine: str) -> None:
    of_points = [rule for rule in rules(engine) if rule.when.points]

    assert len(of_points) > 10
    assert not left_out(dialect(engine).defaults).complaints
    for row in (*of_points, *left_out(dialect(engine).defaults).rows):
        assert row.source
        assert row.known in ("reported", "source"), "nobody of us has such a GPU"


def test_memory_of_attention_dp_is_whole_attention_a_gpu_and_a_pool_a_group() -> None:
    shape = sizes.shape(Model(), "nvidia/GLM-5.2-NVFP4")
    weights = sizes.weights(Model(), "nvidia/GLM-5.2-NVFP4", shape)
    one, eight = (weights.of_gpu(8, groups=count) for count in (1, 8))
    plan = at("8xb200-glm52", "balanced", "0.5.23")
    made = fit(plan, shape, weights, Host(), gpus.products()["b200"].memory)

    assert weights.of_gpu(1) > eight > one
    assert 20 < (eight - one) / 2**30 < 25, "78 layers of attention in BF16, 7 of 8 parts more"
    assert (made.groups, made.running) == (8, 256)
    assert made.requests[8192] == made.tokens // 8192 * 8


@pytest.mark.parametrize("name", layers.aliases())
def test_an_old_name_is_the_profile_at_its_point_with_a_note(name: str) -> None:
    old = planned(PlanRequest(name), ENVIRON, Target())[0]

    assert old.name == name
    assert old.notes[-1].startswith(f"{name} is an old name") or any(
        note.startswith(f"{name} is an old name: write -p") for note in old.notes
    )
    assert depth(old) in (3, 5)
    assert old.point == "latency"


def test_what_to_write_in_place_of_an_old_name_makes_the_same_plan() -> None:
    for name, found in layers.aliases().items():
        profile, *words = found.meaning.replace("--set ", "").split()
        new = planned(PlanRequest(profile, tuple(words)), ENVIRON, Target())[0]

        assert planned(PlanRequest(name), ENVIRON, Target())[0].arguments == new.arguments


def test_old_names_are_listed_as_such_and_are_chosen_for_no_host(world: World) -> None:
    told = json.loads(world.run("profiles", "--json").stdout)["profiles"]
    old = {one["name"]: one for one in told if one["place"] == "alias"}

    assert {*old} == {*layers.aliases()}
    assert old["8xb200-mtp"]["description"].startswith("old name of 8xb200 --set operating_point")


def test_an_old_name_can_be_extended_and_shadowed(world: World) -> None:
    folder = world.folder / "mine"
    folder.mkdir()
    (folder / "mine.toml").write_text('extends = "8xb200-glm52-mtp"\n')
    plan = planned(PlanRequest(str(folder / "mine.toml")), ENVIRON, Target("0.5.23"))[0]

    assert depth(plan) == 5


def test_explain_shows_the_figure_of_others_and_fit_what_each_point_costs(world: World) -> None:
    words = ("-p", "8xb200-glm52", "--release", "0.5.23")
    said = world.run("render", *words, "--explain").stdout
    told = json.loads(world.run("fit", *words, "--gpu", "b200", "--json").stdout)
    shown = world.run("fit", *words, "--gpu", "b200").stdout

    assert "operating point balanced: others got 3,351 tokens/s of 64 requests" in said
    assert {*told["points"]} == {*POINTS}
    assert [one["drafts"] for one in told["points"].values()] == [5, 2, 0]
    assert [one["groups"] for one in told["points"].values()] == [1, 8, 8]
    assert told["points"]["balanced"]["weights"] > told["points"]["latency"]["weights"]
    assert "balanced" in shown
    assert "<-" in shown.splitlines()[-2]


def test_nothing_is_shown_beside_a_point_that_nobody_measured() -> None:
    assert beside(at("8xpro6000-glm53", "throughput")) == ""
    assert not bench_points.table().complaints
    assert "GLM-5.3" not in beside(at("8xb200-glm52", "balanced"))


def test_a_host_that_is_seen_gets_the_point_too() -> None:
    ask = PlanRequest("8xpro6000", ("operating_point=throughput",))
    from pathlib import Path

    from launcher.engines.target import of

    plan = resolve(load(ask, ENVIRON), ask, Path("/state"), {}, of(healthy.host()))

    assert plan.flag("max-running-requests") == "64"
