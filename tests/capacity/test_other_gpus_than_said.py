"""A profile for other GPUs than those that were said: `fit` refuses it, `render` tells it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rig import packaged
from rig.healthy import host, with_gpus

from launcher.api.fit import FitRequest, estimate
from launcher.config.load import PlanRequest, load
from launcher.config.target import TargetOptions, planned
from launcher.engines.target import ARCHS, of
from launcher.host.facts import Model
from launcher.plan.findings import Severity

PRODUCTS = {"sm100": "b200", "sm103": "b300", "sm120": "rtx-pro-6000"}


def _needs(name: str) -> str | None:
    return load(PlanRequest(name), {}).profile.needs.arch


@pytest.mark.parametrize("name", packaged.EVERY)
def test_a_note_says_so_for_each_profile_that_needs_others_and_for_no_other(name: str) -> None:
    needs = _needs(name)

    for arch in ARCHS:
        told = [one for one in packaged.plan(name, "0.5.23", arch).notes if " is for sm" in one]
        is_other = needs not in (None, arch)
        assert told == [f"profile {name} is for {needs}, and not for {arch}"] * is_other


def test_of_a_profile_that_needs_none_nothing_is_said(tmp_path: Path) -> None:
    file = tmp_path / "open.toml"
    file.write_text('[flags]\nmodel-path = "nvidia/GLM-5-NVFP4"\ntp-size = 8\n')
    for arch in ARCHS:
        notes = planned(PlanRequest(str(file)), {}, TargetOptions(arch=arch))[0].notes
        assert not [one for one in notes if " is for sm" in one]


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("name", ["8xb200", "8xb300", "8xpro6000", "8xb200-vllm"])
def test_fit_refuses_it_once(name: str, arch: str) -> None:
    is_other = _needs(name) != arch

    for gpu in (PRODUCTS[arch], None):
        aim = TargetOptions(gpu=gpu, arch=arch)
        made = estimate(FitRequest(name, None, (), aim), {})
        told = [one for one in made.fit.said if " is for sm" in one.what]
        assert [one.severity for one in told] == [Severity.FAIL] * is_other
        assert not [note for note in made.notes if " is for sm" in note]
        assert not (is_other and made.fit.fits)


def test_facts_of_other_gpus_are_told_of_blackwells_and_of_none() -> None:
    for name, capability in (("NVIDIA B200", "10.0"), ("NVIDIA H100 80GB HBM3", "9.0")):
        shown = with_gpus(host(), *range(8), name=name, capability=capability)
        aim = TargetOptions(facts=replace(shown, model=Model()))
        notes = planned(PlanRequest("8xpro6000"), {}, aim)[0].notes
        made = estimate(FitRequest("8xpro6000", None, (), aim), {})
        assert [one for one in notes if one.startswith("profile 8xpro6000 is for sm120, and not")]
        assert len([one for one in made.fit.said if " is for sm" in one.what]) == 1
        assert not [one for one in made.notes if " is for sm" in one]


def test_gpus_that_were_said_stand_for_those_that_are_seen() -> None:
    seen = with_gpus(host(), *range(8), name="NVIDIA H100 80GB HBM3", capability="9.0")
    aim = TargetOptions(facts=seen, arch="sm120", gpu="rtx-pro-6000")

    assert not [one for one in planned(PlanRequest("8xpro6000"), {}, aim)[0].notes if "H100" in one]
    assert of(seen).mismatch("a", "sm120")
    assert not of(seen).mismatch("a", None)
