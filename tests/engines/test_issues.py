"""The rows of issues: each is sound, reached, silent elsewhere, and helped by its remedies; doctor
and lint say the same of the same plan.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from rig import packaged as shipped

from launcher.doctor.checks import checks, judge
from launcher.doctor.checks.rows import found
from launcher.engines import issues, options
from launcher.engines.conditions import conditions
from launcher.engines.engine import NAMES, dialect
from launcher.engines.issues import Issue, every_issue
from launcher.engines.match import Case
from launcher.engines.remedy import Remedy, any_of, applied, for_command, for_profile
from launcher.engines.tables import complaints
from launcher.engines.target import ARCHS, Target
from launcher.engines.traits import CHOICES, FAMILIES
from launcher.formats.launches import Launch
from launcher.formats.reading import read
from launcher.host.facts import Engine, Host, known
from launcher.knowledge import nccl
from launcher.lint.as_plan import as_plan
from launcher.lint.lint import lint
from launcher.plan.evidence import Known
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

ROWS = every_issue()
SGLANG = dialect("sglang").options
NEWEST = SGLANG.newest
NEWEST_RELEASE = SGLANG.release(NEWEST)
MTP = '{"method": "mtp", "num_speculative_tokens": 3}'
# Variables that neither NCCL nor an SGLang release is known to read by the catalogue, and who does.
READERS = {
    "CUDA_LAUNCH_BLOCKING": "CUDA",
    "PYTORCH_CUDA_ALLOC_CONF": "torch",
    "SAFETENSORS_FAST_GPU": "safetensors, once",
    "DUMPER_SERVER_PORT": "SGLang's dumper, from 0.5.10",
    "SGLANG_API_KEY": "nobody: the row says so",
    "SGL_API_KEY": "nobody: the row says so",
    "VLLM_API_KEY": "vLLM",
}
# What brings a trait of choices about, and what lets it go.
Chosen = tuple[Mapping[str, str | None], Mapping[str, str | None]]
ANYWHERE: Mapping[str, Chosen] = {
    "one-node": ({}, {"nnodes": "2"}),
    "reachable": ({"host": "0.0.0.0"}, {"host": "127.0.0.1"}),
    "serving": ({}, {"node-rank": "1", "headless": "true"}),
    "keyed": ({"api-key": "k"}, {"api-key": None}),
    "no-p2p": ({"NCCL_P2P_DISABLE": "1"}, {"NCCL_P2P_DISABLE": None}),
    "multi-gpu": ({}, {}),
    "expandable-segments": (
        {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"},
        {"PYTORCH_CUDA_ALLOC_CONF": None},
    ),
}
CHOSEN: Mapping[str, Mapping[str, Chosen]] = {
    "sglang": {
        **ANYWHERE,
        "dense-attention": ({"attention-backend": "flashinfer"}, {"attention-backend": None}),
        "speculative": ({"speculative-algorithm": "EAGLE"}, {"speculative-algorithm": None}),
        "top-k-1": ({}, {}),
        "pcie-ipc-allreduce": (
            {"SGLANG_ENABLE_PCIE_IPC_ALLREDUCE": "1"},
            {"SGLANG_ENABLE_PCIE_IPC_ALLREDUCE": None},
        ),
    },
    "vllm": {
        **ANYWHERE,
        "bf16-kv": ({"kv-cache-dtype": "bfloat16"}, {"kv-cache-dtype": None}),
        "speculative": ({"speculative-config": MTP}, {"speculative-config": None}),
        "over-two-ranks": ({"tensor-parallel-size": "8"}, {"tensor-parallel-size": "2"}),
        "pcie-ipc-ranks": ({"tensor-parallel-size": "8"}, {"tensor-parallel-size": "6"}),
        "pcie-ipc-allreduce": (
            {"VLLM_ALLREDUCE_USE_FLASHINFER_PCIE_IPC": "1"},
            {"VLLM_ALLREDUCE_USE_FLASHINFER_PCIE_IPC": None},
        ),
    },
}
OLDER = ("0.5.7",)  # than all that are known of any engine
# What each computed condition is true of, on the newest release that the row is about.
COMPUTED: Mapping[str, Mapping[str, str]] = {
    "heads": {"tp-size": "6"},
    "draft-config": {"speculative-config": '{"method": "eagle"}'},
    "fused-all-reduce": {"compilation-config": '{"pass_config": {"fuse_allreduce_rms": true}}'},
    "fused-fp4": {
        "compilation-config": '{"pass_config": {"fuse_allreduce_rms": true}}',
        "model": "nvidia/DeepSeek-V3.1-NVFP4",
    },
    "own-drafts": {},
    "fp8-checkpoint": {"model": "a/m-FP8"},
    "threaded-load": {"model-loader-extra-config": '{"enable_multithread_load": true}'},
    "memory-fraction": {"mem-fraction-static": "0.97"},
    "draft-tokens": {"speculative-num-steps": "3", "speculative-num-draft-tokens": "6"},
    "no-algorithm": {"speculative-algorithm": "EAGEL"},
    "not-json": {},
    "colon": {"served-model-name": "glm:5"},
    "few-states": {"max-mamba-cache-size": "79", "max-running-requests": "16"},
    "no-states": {"max-mamba-cache-size": "4", "max-running-requests": "16"},
    "few-gpus": {"CUDA_VISIBLE_DEVICES": "0,1,2,3"},
    "no-meeting": {"dist-init-addr": "10.0.0.1"},
    "open-rendezvous": {"dist-init-addr": "10.0.0.1:20000"},
    "on": {},
    "nonzero": {},
    "p2p-level": {"NCCL_P2P_LEVEL": "sys"},
    "nccl-name": {"NCCL_P2P_LEVLE": "SYS"},
    "nccl-number": {"NCCL_CUMEM_ENABLE": "on"},
    "between-hosts": {"NCCL_IB_HCA": "mlx5"},
    "for-debugging": {"NCCL_PROTO": "LL128"},
    "channels": {"NCCL_MIN_NCHANNELS": "8", "NCCL_MAX_NCHANNELS": "4"},
    "many-channels": {"NCCL_MIN_NCHANNELS": "128"},
    "big-buffer": {"NCCL_BUFFSIZE": "134217728"},
    "unread": {"SGLANG_ENABLE_SPEC_V3": "1"},
    "short-name": {"SGL_ENABLE_JIT_DEEPGEMM": "0"},
}
# The same where rows of a condition differ.
OF_ROW: Mapping[str, Mapping[str, str]] = {
    "vllm-attention-heads": {"tensor-parallel-size": "6"},
    "vllm-ranks-without-device": {"device-ids": "0,1,2,3"},
    "vllm-variables": {"VLLM_USE_V1": "1"},
    "vllm-variables-of-sglang": {"SGLANG_ENABLE_JIT_DEEPGEMM": "1"},
}


def engine_of(row: Issue) -> str:
    """That a row is of; of one of any engine the first."""
    return row.engine or NAMES[0]


def options_of(row: Issue) -> options.Catalogue:
    return dialect(engine_of(row)).options


def chosen_by(row: Issue, trait: str) -> Chosen:
    return CHOSEN[engine_of(row)][trait]


def ids(case: Case) -> set[str]:
    return {issue.id for issue in issues.issues(case)}


def settings(case: Case, **changed: str | None) -> Case:
    """The case with options and variables set, or not set (None)."""
    flags, env = dict(case.flags), dict(case.env)
    for name, value in changed.items():
        there = env if name.isupper() else flags
        there.pop(name, None)
        if value is not None:
            there[name] = value
    return replace(case, flags=flags, env=env)


def least(row: Issue) -> Case:
    """A case that has what a row asks for, and little else."""
    return _least(row.id)


@cache
def _least(id: str) -> Case:
    row = next(row for row in ROWS if row.id == id)
    told = (*(OLDER if row.lacking else ()), *options_of(row).releases)
    spans = [one for one in told if row.when.release.has(options.version(one))]
    chosen = row.when.traits & CHOICES
    model = (row.when.traits - CHOICES) | ({"glm-5"} if row.test == "heads" else set())
    said = {
        name: text
        for trait in sorted(chosen)
        for name, text in chosen_by(row, trait)[0].items()
        if text is not None
    }
    for trait in row.when.without & CHOICES:
        told = CHOSEN[engine_of(row)].get(trait, ({}, {}))[1]
        said |= {name: text for name, text in told.items() if text is not None}
    said |= {
        key.split("|")[0]: text
        for key, wanted in row.when.options.items()
        if (text := value(wanted, needed=key in row.blames[:1]))
    }
    said |= (
        OF_ROW.get(row.id, COMPUTED.get(row.test, {}))
        | out_of_bounds(row)
        | compared(row, said, holds=True)
    )
    if not any(name.startswith(blame.rstrip("*")) for blame in row.blames for name in said):
        said[row.blames[-1]] = "notjson" if row.test == "not-json" else "1"
    target = Target(spans[-1], (row.when.gpu or ("sm100",))[0], engine=engine_of(row))
    return settings(Case(target, {}, {}, 8, frozenset(model)), **said)


def none_of(wanted: tuple[str, ...]) -> str | None:
    """A value that a row does not ask for; None: not set."""
    if not any(one == "" or one.startswith("!") for one in wanted):
        return None
    barred = [one[1:] for one in wanted if one.startswith("!")]
    return barred[0] if barred else "another"


# Numbers that are tried for the options that a row compares.
NUMBERED = ("int", "float", "size", "scaled", "scaled_or_auto")
NUMBERS = ("1", "2", "3", "4", "8", "16", "100", "128", "0", "-1", "1.5", "0.5")


def compared(row: Issue, said: Mapping[str, str], *, holds: bool) -> dict[str, str]:
    """The first numbers for which the comparison of a row holds, or does not."""
    if row.when.where is None:
        return {}
    names = row.when.where.names
    for numbers in product(*([said[name]] if name in said else NUMBERS for name in names)):
        tried = dict(zip(names, numbers, strict=True))
        if bool(row.when.where.words(lambda name, tried=tried: float(tried[name]))) == holds:
            return tried
    raise AssertionError(f"{row.id}: {row.when.where.text}")


def out_of_bounds(row: Issue) -> dict[str, str]:
    return {name: f"{bounds.least - 1:g}" for name, bounds in [*row.bounds.items()][:1]}


def value(wanted: tuple[str, ...], *, needed: bool) -> str | None:
    plain = [one for one in wanted if one not in ("", "*") and not one.startswith("!")]
    if not needed and any(one == "" or one.startswith("!") for one in wanted):
        return None
    return plain[0] if plain else "7"


# -- each row ----------------------------------------------------------------------------------------


def test_every_row_that_is_shipped_can_be_read() -> None:
    assert complaints() == ()
    assert len(ROWS) > 60


def test_ids_are_their_own() -> None:
    names = [*(row.id for row in ROWS), *(check.id for check in checks())]

    assert len(names) == len(set(names))


def test_a_row_says_how_it_is_known_and_up_to_when_somebody_looked() -> None:
    for row in ROWS:
        first = row.what[0]
        own = ("GLM", "NVLS")
        assert row.known in set(Known), row.id
        assert row.source, row.id
        assert row.remedies, row.id
        if bool(row.engine):
            assert row.checked in options_of(row).releases, row.id
        else:
            assert row.checked.startswith("20"), f"{row.id}: wanted a day: it has other releases"
        assert first == first.lower() or row.what[:2].isupper() or row.what.startswith(own), row.id


def test_what_a_row_blames_somebody_reads() -> None:
    for row, name in [(one, name) for one in ROWS for name in one.blames]:
        if name.endswith("*"):
            assert name.isupper(), row.id
        elif name.isupper():
            is_known = name in nccl.NAMES | READERS.keys()
            assert is_known or options_of(row).read_by(name), (row.id, name)
        else:
            assert options_of(row).canonical(name) == name, (row.id, name)
            assert options_of(row).has(f"--{name}"), (row.id, name)


def test_every_condition_that_is_computed_is_some_rows() -> None:
    every = {(name, test) for name in NAMES for test in dialect(name).conditions}

    assert {(row.engine, row.test) for row in ROWS if row.test} >= every
    assert {row.test for row in ROWS if row.test} == {*conditions("")} | {test for _, test in every}
    assert set(COMPUTED) == {row.test for row in ROWS if row.test}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_is_reached(row: Issue) -> None:
    case = least(row)

    [told] = [issue for issue in issues.issues(case) if issue.id == row.id]
    assert case.value(told.name) is not None
    assert "{" not in told.what + told.fix


BOUNDED = [(row, name) for row in ROWS for name in row.bounds]


@pytest.mark.parametrize(("row", "name"), BOUNDED, ids=lambda one: getattr(one, "id", one))
def test_a_number_is_told_of_where_it_is_outside_its_bounds(row: Issue, name: str) -> None:
    bounds = row.bounds[name]
    inside = [bounds.least, bounds.most or bounds.least + 1000]
    outside = [bounds.least - 1, *([bounds.most + 1] if bounds.most else [])]

    def told(number: float) -> list[str]:
        case = settings(least(row), **{name: f"{number:g}"})
        return [issue.name for issue in issues.issues(case) if issue.id == row.id]

    assert name not in [one for number in inside for one in told(number)]
    assert all(name in told(number) for number in outside)
    assert name.isupper() or is_number(row, name)


def is_number(row: Issue, name: str) -> bool:
    known = options_of(row)
    return known.release(known.newest).options[f"--{name}"].type in NUMBERED


@pytest.mark.parametrize("row", [row for row in ROWS if row.when.where], ids=lambda row: row.id)
def test_what_a_row_compares_are_numbers(row: Issue) -> None:
    assert row.when.where is not None
    for name in row.when.where.names:
        assert options_of(row).canonical(name) == name
        assert is_number(row, name), name


def elsewhere(row: Issue) -> Iterator[Case]:
    """Cases that differ from the least one in one thing that the row asks for."""
    case, when = least(row), row.when
    for arch in set(ARCHS) - set(when.gpu) if when.gpu else ():
        yield replace(case, target=replace(case.target, arch=arch))
    for name in options_of(row).releases:
        if not when.release.has(options.version(name)):
            yield replace(case, target=replace(case.target, release=name))
    for trait in when.traits - CHOICES:
        yield replace(case, model=case.model - {trait})
    for trait in when.without - CHOICES:
        yield replace(case, model=case.model | {trait})
    for trait in when.traits & CHOICES:
        if gone := chosen_by(row, trait)[1]:
            yield settings(case, **gone)
    for names, wanted in when.options.items():
        yield settings(case, **dict.fromkeys(names.split("|"), none_of(wanted)))
    if when.where is not None:
        yield settings(case, **compared(row, {}, holds=False))
    told = [issue.name for issue in issues.issues(case) if issue.id == row.id]
    yield settings(case, **dict.fromkeys((*told, *row.blames)))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_is_silent_elsewhere(row: Issue) -> None:
    cases = list(elsewhere(row))

    assert cases
    assert not [case for case in cases if row.id in ids(case)]


def test_what_no_release_was_looked_at_for_is_a_note_and_no_verdict() -> None:
    for row in ROWS:
        case = least(row)
        told = ids(replace(case, target=replace(case.target, release="9.0.0")))

        if bool(row.engine):
            assert row.id not in told
        elif not row.when.release.last:
            assert row.id in told


def test_what_was_run_on_one_release_is_source_for_the_others() -> None:
    words = {"tp-size": "8", "nnodes": "3", "dist-init-addr": "a:1"}
    for release, evidence in (("0.5.23", Known.RUN), ("0.5.16", Known.READ)):
        [told] = issues.issues(Case(Target(release, "sm100"), words, {}, 8))
        assert (told.id, told.known) == ("nodes-share-ranks", evidence)


# -- remedies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "words", "is_told"),
    [
        ("0,1,2,3,4,5,6,7", {}, False),
        ("0,1,2,3", {}, True),
        ("GPU-0a,GPU-1b", {}, True),
        ("0,1,2,3,4,5,6,7", {"base-gpu-id": "1"}, True),
        ("all", {}, False),
        ("0,1,2,3,4,5,6,-1,7", {}, True),
        ("-1", {}, True),
        ("", {}, True),
    ],
)
def test_ranks_without_a_gpu_are_told(seen: str, words: dict[str, str], is_told: bool) -> None:
    case = Case(Target(NEWEST, "sm100"), words, {"CUDA_VISIBLE_DEVICES": seen}, 8)

    assert ("more-ranks-than-gpus" in ids(case)) == is_told


def test_groups_of_attention_dp_share_the_heads_of_a_group() -> None:
    def told(**words: str) -> set[str]:
        case = Case(Target(NEWEST, "sm100"), {}, {}, 8, frozenset({"glm-5"}))
        return ids(settings(case, **words)) & {"attention-heads"}

    assert told(**{"tp-size": "6"})
    assert not told(**{"tp-size": "6", "attn-dp-size": "6"})
    assert not told(**{"tp-size": "6", "dp-size": "3", "enable-dp-attention": ""})
    assert told(**{"tp-size": "6", "dp-size": "2", "enable-dp-attention": ""})


@pytest.mark.parametrize(
    ("transformers", "is_told"),
    [("4.57.1", True), ("5.1.0", True), ("5.2.0", False), ("5.3.0.dev0", False), ("", True)],
)
def test_what_is_installed_beside_the_engine_mends_a_row(transformers: str, is_told: bool) -> None:
    plan = shipped.plan("8xb200", "0.5.9", "sm100")
    packages = {"sglang": "0.5.9"} | ({"transformers": transformers} if transformers else {})
    told = found(Host(engine=Engine(packages=known(packages))), plan)

    assert ("glm-5-transformers" in told) == is_told


@pytest.mark.parametrize("release", SGLANG.releases)
def test_glm_5_does_not_load_with_the_pins_of_one_release(release: str) -> None:
    told = {
        model: "glm-5-transformers" in ids(Case(Target(release, "sm100"), {"model-path": "m"}, {}, 8, frozenset({model})))
        for model in ("glm-5", "glm-4.5", "deepseek-v3.2", "glm-5.3-flash")
    }  # fmt: skip

    assert told.pop("glm-5") == (release == "0.5.9")
    assert not any(told.values())


# What is told of releases that can do it, so that an upgrade brings it.
ADVICE = {
    "vllm-stop-aborts",
    "vllm-key-shown",
    "vllm-flash-autotune",
    "vllm-flash-illegal-address",
}


def helps(case: Case, row: Issue, *, mixed: bool = False) -> None:
    """Among other settings, another release has issues of its own."""
    before = issues.issues(case)
    for told in (issue for issue in before if issue.id == row.id):
        for remedy in told.remedies:
            if remedy.is_data:
                after = issues.issues(applied(case, remedy))
                assert (row.id, told.name) not in {(one.id, one.name) for one in after}
                others = {one.id for one in after} - {one.id for one in before}
                others -= ADVICE if remedy.release else set()
                assert not others or (remedy.release and mixed), remedy


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_remedy_makes_its_issue_go_and_brings_no_other(row: Issue) -> None:
    helps(least(row), row)


SHARES = 4  # of the rows, by which the shipped profiles take turns


@pytest.mark.parametrize("name", shipped.EVERY)
def test_a_remedy_helps_within_packaged_profiles(name: str) -> None:
    """The row's least case put into the profile; each profile has its share of the rows."""
    turn = shipped.of(shipped.engine(name)).index(name) % SHARES
    rows = [row for row in ROWS if engine_of(row) == shipped.engine(name)]
    for row in rows[turn::SHARES]:
        wanted = least(row)
        plan = shipped.plan(name, wanted.target.release, wanted.target.arch)
        case = issues.of_plan(plan)
        said = {**wanted.flags, **wanted.env}
        own = case.model - FAMILIES if wanted.model & FAMILIES else case.model
        case = replace(case, model=own | wanted.model, gpus=8)
        helps(settings(case, **said), row, mixed=True)


def test_a_remedy_is_worded_for_a_profile_and_for_a_command() -> None:
    within = SGLANG.release(NEWEST)
    told = Remedy({"kv-cache-dtype": "bfloat16", "NCCL_DEBUG": "WARN"}, ("page-size",))
    switch = Remedy({"enable-metrics": ""}, text="to see it")
    newer = Remedy(release=">=0.5.18", package="sglang")

    assert for_profile(told) == (
        "set flags.kv-cache-dtype = bfloat16 and env.NCCL_DEBUG = WARN and flags.page-size = false"
    )
    assert (
        for_command(told, within)
        == "--kv-cache-dtype bfloat16 and NCCL_DEBUG=WARN and leave out --page-size"
    )
    assert for_profile(switch) == "set flags.enable-metrics = true (to see it)"
    assert for_command(switch, within) == "add --enable-metrics (to see it)"
    assert for_profile(newer) == for_command(newer, within) == "install sglang>=0.5.18"
    assert any_of((newer, switch), for_profile).count(", or ") == 1
    old = SGLANG.release("0.5.12")
    assert for_command(Remedy(unset=("dsa-prefill-backend",)), old) == (
        "leave out --nsa-prefill-backend"
    )


@given(
    st.dictionaries(st.sampled_from(["tp-size", "NCCL_DEBUG"]), st.sampled_from("12"), max_size=2),
    st.lists(st.sampled_from(["host", "NCCL_PROTO"]), unique=True),
)
def test_applied_twice_is_applied_once(told: dict[str, str], unset: list[str]) -> None:
    case = Case(Target(NEWEST, "sm120"), {"host": "h"}, {"NCCL_PROTO": "LL"}, 8)
    remedy = Remedy(told, tuple(unset))
    once = applied(case, remedy)

    assert (once.flags, once.env) == (applied(once, remedy).flags, applied(once, remedy).env)
    assert all(once.value(name) == text for name, text in told.items())
    assert not [name for name in unset if once.value(name) is not None]


@pytest.mark.parametrize("release", SGLANG.releases)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("model", [frozenset[str](), frozenset({"glm-5.3-flash"})])
def test_one_release_mends_all_advisories_that_a_release_mends(
    host: str, model: frozenset[str], release: str
) -> None:
    words = {"model-path": "m", "host": host, "disaggregation-mode": "decode"}
    case = Case(Target(release, "sm100"), words, {}, 8, model)
    told = [issue for issue in issues.issues(case) if issue.advisory]
    named = {one.release for issue in told for one in issue.remedies if one.release}

    assert len(named) <= 1
    for remedy in [one for issue in told for one in issue.remedies if one.release]:
        left = [issue for issue in issues.issues(applied(case, remedy)) if issue.advisory]
        assert not [issue for issue in left if any(one.release for one in issue.remedies)]


# -- doctor and lint ---------------------------------------------------------------------------------


def by_doctor(plan: Plan, release: str) -> set[str]:
    packages = {dialect(plan.engine).package: release}
    return set(found(Host(engine=Engine(packages=known(packages))), plan))


def by_lint(launch: Launch, target: Target) -> set[str]:
    return {
        concern.id
        for entry in lint(launch, target)
        for concern in entry.concerns
        if concern.id is not None
    }


@pytest.mark.parametrize("name", shipped.EVERY)
def test_doctor_and_lint_say_the_same_of_a_packaged_profile(name: str) -> None:
    """The newest release and every other one, each with one of the architectures in turn; the next
    profile has those between.
    """
    kind = shipped.engine(name)
    turn = shipped.of(kind).index(name)
    first = turn // 2 % len(ARCHS)
    archs = cycle([*ARCHS[first:], *ARCHS[:first]])
    *known_here, newest = dialect(kind).options.releases
    for arch, release in zip(archs, (*known_here[turn % 2 :: 2], newest), strict=False):
        plan = shipped.plan(name, release, arch)
        launch = replace(Launch.of(plan.arguments, plan.env), engine=kind)
        target = Target(release, plan.arch, engine=kind)

        assert by_doctor(plan, release) == by_lint(launch, target), release


LAUNCHES = (
    "--model-path zai-org/GLM-5 --attention-backend flashinfer --kv-cache-dtype fp8_e4m3",
    "--model-path lukealonso/GLM-5-NVFP4 --speculative-algorithm EAGLE --page-size 16",
    "--model nvidia/GLM-5.2-NVFP4 --tp 6 --trust-remote-code --tool-call-parser glm45",
    "--model-path Qwen/Qwen3.5-397B --trust-remote-code --moe-runner-backend flashinfer_trtllm",
    "--model-path zai-org/GLM-5.3-Flash --host 0.0.0.0 --api-key k --dsa-prefill-backend tilelang",
    "--model-path deepseek-ai/DeepSeek-V3.2 --kv-cache-dtype fp8_e5m2 --host 0.0.0.0",
    "--model-path /models/current --mem-fraction-static 0.97 --enable-custom-logit-processor",
    "--model-path m --enable-dp-attention --disable-cuda-graph --cuda-graph-max-bs-decode 8",
    "--model-path m --dp-size 2 --enable-dp-attention --dist-init-addr 10.0.0.1:1 --nnodes 2",
    "--model-path GLM-5 --nsa-prefill-backend trtllm --speculative-eagle-topk 4",
)
VARIABLES = (
    "",
    "NCCL_DEBUG=INFO NCCL_PROTO=LL128 NCCL_P2P_LEVEL=sys NCCL_MIN_CHANNELS=8 NCCL_IB_HCA=x",
    "NCCL_P2P_DISABLE=1 NCCL_P2P_LEVEL=SYS NCCL_SHM_DISABLE=1 NCCL_BUFFSIZE=134217728",
    "SGL_ENABLE_JIT_DEEPGEMM=0 SGLANG_ENABLE_SPEC_V2=1 SGLANG_NO_SUCH=1 DUMPER_SERVER_PORT=1",
    "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE=1 PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
)


@pytest.mark.parametrize(("words", "variables"), [*zip(LAUNCHES, 2 * VARIABLES, strict=True)])
def test_doctor_and_lint_say_the_same_of_a_launch(words: str, variables: str) -> None:
    """Each release with one of the architectures in turn, the newest with all; the next launch has
    the others.
    """
    [launch] = read(f"{variables} python3 -m sglang.launch_server {words}").launches
    seen = set()
    first = LAUNCHES.index(words) % len(ARCHS)
    turns = zip(cycle([*ARCHS[first:], *ARCHS[:first]]), SGLANG.releases, strict=False)
    for arch, release in dict.fromkeys((*turns, *product(ARCHS, [NEWEST]))):
        target, within = Target(release, arch), SGLANG.release(release)
        plan = as_plan(launch, within.given(launch.words), target, within)

        assert by_doctor(plan, release) == by_lint(launch, target)
        seen |= by_lint(launch, target)
    assert seen


@pytest.mark.parametrize("words", [*LAUNCHES, "--model-path m --bogus 1", "--model-path m --tp x"])
@pytest.mark.parametrize("release", ["0.5.9", "0.5.16", NEWEST])
def test_doctor_and_lint_agree_on_what_the_parser_refuses(words: str, release: str) -> None:
    [launch] = read(f"python3 -m sglang.launch_server {words}").launches
    target, within = Target(release, "sm120"), SGLANG.release(release)
    plan = as_plan(launch, within.given(launch.words), target, within)
    host = Host(engine=Engine(packages=known({"sglang": release})))
    [options_] = judge(host, plan, only=["engine-options"])
    refused = [entry for entry in lint(launch, target) if entry.verdict.is_refused]

    assert (options_.severity is Severity.FAIL) == bool(refused)


@pytest.mark.parametrize("engine", NAMES)
def test_a_new_release_lists_every_row_of_an_engine_to_look_at_again(engine: str) -> None:
    said = subprocess.run(
        [sys.executable, ROOT / "scripts/stale.py", f"{engine}==9.0.0"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert said.returncode == 1
    for row in ROWS:
        told = f"issues.toml {row.id}: checked for {row.checked}" in said.stdout
        assert told == (row.engine == engine), row.id


# -- rows that are none ------------------------------------------------------------------------------

GOOD = """
[{id}]
severity = "risky"
blames = ["tp-size"]
what = "w"
remedies = [{{ text = "t" }}]
evidence = "source"
source = "s"
checked = "0.5.23"
"""


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('severty = "risky"', "severty: no such key"),
        ('test = "moon"', "test: 'moon' is not one of heads"),
        ('when = { gpus = ["sm120"] }', "when: gpus is not one of"),
        ('when = { traits = ["glm5"] }', "when: nobody knows the trait glm5"),
        ('shows = "later"', "shows: 'later' is not one of at parse"),
        ('advisory = "CVE"\n[two]', "no severity"),
        ('[bad.when]\nrelease = "0.5.17"', "'0.5.17' is not a span of releases"),
    ],
)
def test_a_row_that_is_none_is_named_and_costs_itself_alone(
    row: str, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "issues.toml"
    file.write_text(GOOD.format(id="good") + GOOD.format(id="bad") + row)
    table = issues.read(file, "sglang")

    assert "good" in [issue.id for issue in table.rows]
    [complaint] = table.complaints
    assert complaint.startswith(("issues.toml, bad: ", "issues.toml, two: "))
    assert says in complaint


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("severity", '"bad"', "severity: 'bad' is not one of breaks"),
        ("evidence", '"rumour"', "evidence: 'rumour' is not one of tested"),
        ("remedies", "[{ sets = { a = 1 } }]", "sets: no such key"),
        ("remedies", "[{}]", "remedies: an empty one"),
        ("remedies", '[{ release = "0.5.18" }]', "'0.5.18' is not a span"),
        ("what", '"the {moon}"', "what: nobody fills in {moon}"),
        ("remedies", '[{ text = "{moon}" }]', "remedies: nobody fills in {moon}"),
        ("blames", '"tp-size"', "blames: 'tp-size' is no list of texts"),
    ],
)
def test_a_key_that_is_wrong_is_named(key: str, text: str, says: str, tmp_path: Path) -> None:
    lines = [
        f"{key} = {text}" if line.startswith(f"{key} ") else line
        for line in GOOD.format(id="bad").splitlines()
    ]
    file = tmp_path / "issues.toml"
    file.write_text("\n".join(lines))

    [complaint] = issues.read(file, "sglang").complaints
    assert complaint.startswith("issues.toml, bad: ")
    assert says in complaint


def test_without_a_row_that_is_none_the_rest_goes_on_and_it_is_told(tmp_path: Path) -> None:
    """A copy of the product with one bad row: doctor tells it, and judges by the others."""
    shutil.copytree(ROOT / "launcher", tmp_path / "launcher", symlinks=False)
    file = tmp_path / "launcher/knowledge/variables.toml"
    file.write_text(f"{file.read_text()}\n[bad]\nseverity = 'dire'\n")
    words = ["doctor", "-p", "8xpro6000", "--set", "env.NCCL_DEBUG=INFO", "--json"]
    environ = {name: text for name, text in os.environ.items() if not name.startswith("GLM5")}
    said = subprocess.run(
        [sys.executable, "-m", "launcher", *words],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    told: list[dict[str, Any]] = json.loads(said.stdout)["findings"]
    evidence = {one["id"]: one["evidence"] for one in told}

    assert "left out: variables.toml, bad: severity: 'dire'" in evidence["known-issues"]
    assert "NCCL_DEBUG=INFO" in evidence["nccl-debug"]


def test_no_remedy_is_joined_to_another_twice() -> None:
    assert not [row.id for row in ROWS if "or or " in any_of(row.remedies, for_profile)]
