"""`doctor` says of room what `fit` says, on the same host."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from launcher.api.fit import FitRequest, estimate
from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.target import TargetOptions
from launcher.doctor.checks import judge
from launcher.plan.findings import Severity

HOST = TargetOptions(facts=ROOT / "tests/hosts/asus8x.json")
PROFILES = sorted(path.stem for path in PACKAGED.glob("[0-9]xpro6000*.toml"))


@pytest.mark.parametrize("profile", PROFILES)
def test_doctor_says_of_room_what_fit_says(profile: str, tmp_path: Path) -> None:
    """No less, and nothing where fit has no word."""
    knobs = load(PlanRequest(profile), {}).dialect.memory.knobs
    seen = set()
    for share in ("", "0.6", "0.97"):
        for context in ("", "400000", "2000000"):
            told = {knobs.fraction: share, knobs.context: context}
            settings = tuple(f"flags.{name}={value}" for name, value in told.items() if value)
            made = estimate(FitRequest(profile, None, settings, HOST), {"HOME": str(tmp_path)})
            [found] = judge(made.host, made.plan, only=("model-fits",))
            worst = max((one.severity for one in made.fit.said), default=Severity.OK)
            seen.add(worst)

            assert found.severity == worst, (settings, found, made.fit.said)
            assert worst is Severity.OK or found.evidence in [one.what for one in made.fit.said]
    assert len(seen) > 1
