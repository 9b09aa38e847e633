"""No check is content with a release that is older than all that are known."""

from __future__ import annotations

import pytest
from rig.healthy import having, host, plan

from launcher.doctor.checks import judge
from launcher.engines.engine import dialect
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

OF_RELEASE = ("engine-known", "engine-options", "known-issues")


def _seen(wanted: Plan, installed: str) -> dict[str, Severity]:
    seen = having(host(), engine__packages={dialect(wanted.engine).package: installed})
    return {one.id: one.severity for one in judge(seen, wanted)}


@pytest.mark.parametrize(
    ("name", "model", "older"),
    [("8xpro6000", "glm-5-unknown", "0.4.8"), ("8xpro6000-vllm", "vllm-glm-5-unknown", "0.14.0")],
)
def test_nothing_of_a_release_that_nobody_looked_at_is_ok(
    name: str, model: str, older: str
) -> None:
    wanted = plan(profile=name)
    seen = _seen(wanted, older)

    assert [id for id in OF_RELEASE if seen[id] is Severity.OK] == []
    assert seen[model] is Severity.FAIL


@pytest.mark.parametrize("name", ["8xpro6000", "8xpro6000-vllm"])
def test_what_is_known_of_the_newest_is_told(name: str) -> None:
    wanted = plan(profile=name)
    seen = _seen(wanted, dialect(wanted.engine).options.newest)

    assert {seen[id] for id in OF_RELEASE} == {Severity.OK}
