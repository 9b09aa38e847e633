"""`doctor` and `lint` say of room what `fit` says, on the same host and of the same command."""

from __future__ import annotations

import re
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
from launcher.output.estimate import run
from launcher.plan.findings import Severity

HOST = TargetOptions(facts=ROOT / "tests/hosts/asus8x.json")
TOLD_AS = {Severity.OK: "it fits\n", Severity.WARN: "it fits", Severity.FAIL: "it does not fit\n"}
AS_LINT_HAS_IT = {
    Severity.OK: Verdict.FINE,
    Severity.WARN: Verdict.RISKY,
    Severity.FAIL: Verdict.BREAKS,
}
FRACTIONS, CONTEXTS = ("", "0.6", "0.97"), ("", "400000", "2000000")
PROFILES = sorted(path.stem for path in PACKAGED.glob("[0-9]xpro6000*.toml"))


@pytest.mark.parametrize("profile", PROFILES)
def test_doctor_says_of_room_what_fit_says(profile: str, tmp_path: Path) -> None:
    """No less, and nothing where fit has no word. Each profile as it is, and at each fraction with
    each context once: all pairs of them by turns.
    """
    knobs = load(PlanRequest(profile), {}).dialect.memory.knobs
    first = PROFILES.index(profile) % len(CONTEXTS)
    seen = set()
    pairs = zip(FRACTIONS, CONTEXTS[first:] + CONTEXTS[:first], strict=True)
    for share, context in {("", ""), *pairs}:
        told = {knobs.fraction: share, knobs.context: context}
        settings = tuple(f"flags.{name}={value}" for name, value in told.items() if value)
        made = estimate(FitRequest(profile, None, settings, HOST), {"HOME": str(tmp_path)})
        [found] = judge(made.host, made.plan, only=("model-fits",))
        worst = max((one.severity for one in made.fit.said), default=Severity.OK)
        seen.add(worst)

        assert found.severity == worst, (settings, found, made.fit.said)
        assert worst is Severity.OK or found.evidence in [one.what for one in made.fit.said]
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("setting", "severity"),
    [
        ("mem-fraction-static=0.9", Severity.OK),
        ("mem-fraction-static=0.95", Severity.WARN),
        ("mem-fraction-static=0.98", Severity.FAIL),
        ("chunked-prefill-size=131072", Severity.WARN),
    ],
)
def test_the_last_word_agrees_with_the_figures(
    setting: str, severity: Severity, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words, status, `doctor` and what is left against what is needed."""
    ask = FitRequest("8xpro6000", None, (f"flags.{setting}",), HOST)
    made = estimate(ask, {})
    status = run(ask, {}, as_json=False)
    said = capsys.readouterr().out
    [found] = judge(made.host, made.plan, only=("model-fits",))
    left, needed = map(float, re.findall(r"^left +([\d.]+) .*to ([\d.]+) GiB", said, re.M)[0])

    assert found.severity is severity
    assert TOLD_AS[severity] in said
    assert ("fits narrowly" in said) == (severity is Severity.WARN)
    assert status == (severity is Severity.FAIL)
    assert (left < needed) == (severity is not Severity.OK)
    assert "glm5-serve fit" not in said


def test_less_than_ever_served_is_known_of_cards_of_96_gb_whose_fraction_counts() -> None:
    for setting, gpu, is_known in [
        ("flags.max-total-tokens=100000", "rtx-pro-6000", False),
        ("flags.port=8000", "rtx-pro-6000", True),
        ("flags.port=8000", "rtx-5090", False),
    ]:
        aim = TargetOptions.of(None, gpu, None, None)
        ask = FitRequest("8xpro6000", None, ("flags.mem-fraction-static=0.98", setting), aim)
        assert estimate(ask, {}).fit.is_starved == is_known, (setting, gpu)


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
