"""`doctor` and `lint` say of room what `fit` says, on the same host and of the same command."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from launcher.api.fit import FitRequest, estimate
from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.target import TargetOptions
from launcher.doctor.checks import judge
from launcher.engines.target import Target
from launcher.lint.concerns import Verdict
from launcher.lint.run import judge as read_as
from launcher.plan.findings import Severity

HOST = TargetOptions(facts=ROOT / "tests/hosts/asus8x.json")
AS_LINT_HAS_IT = {
    Severity.OK: Verdict.FINE,
    Severity.WARN: Verdict.RISKY,
    Severity.FAIL: Verdict.BREAKS,
}
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


@pytest.mark.parametrize("context", range(100_000, 600_000, 50_000))
def test_lint_says_of_a_context_what_fit_says(context: int, tmp_path: Path) -> None:
    """What may have no room is risky, what has none breaks; and no word where it has."""
    said = ("tensor-parallel-size=8", "max-num-seqs=16", f"max-model-len={context}")
    aim = TargetOptions.of(None, "rtx-pro-6000", None, None)
    settings = (*(f"flags.{one}" for one in said), "rules.enabled=false")
    ask = FitRequest("8xpro6000-glm52-vllm", None, settings, aim)
    made = estimate(ask, {"HOME": str(tmp_path)}).fit
    words = " ".join(f"--{one.replace('=', ' ')}" for one in said)
    target = Target(None, "sm120", "rtx-pro-6000", memory=made.memory, engine="vllm")
    [judged] = read_as(f"vllm serve nvidia/GLM-5.2-NVFP4 {words}", target).launches
    entries = next(iter(judged.releases.values()))
    [entry] = [one for one in entries if one.name == "--max-model-len"]
    worst = max((one.severity for one in made.said), default=Severity.OK)

    assert entry.verdict is AS_LINT_HAS_IT[worst], (worst, entry)
    assert worst is Severity.OK or made.said[0].what in entry.why
    in_doubt = made.tokens < context <= made.at_best
    assert in_doubt == (entry.verdict is Verdict.RISKY)
