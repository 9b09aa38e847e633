"""A release older than all that are known is not judged better than the oldest of them."""

from __future__ import annotations

import pytest

from launcher.engines import issues
from launcher.engines.engine import NAMES, dialect
from launcher.engines.match import Case
from launcher.engines.options import version
from launcher.engines.target import Target
from launcher.lint.run import judge

OLDER = {"sglang": ("0.4.8", "0.5.5", "0.5.7.post2"), "vllm": ("0.11.0", "0.14.0", "0.15.1")}
GLM = {
    "sglang": "sglang serve --model-path zai-org/GLM-5-FP8 --tp-size 8",
    "vllm": "vllm serve zai-org/GLM-5-FP8 --tensor-parallel-size 8",
}


def _met(engine: str, release: str, *traits: str, arch: str = "sm120") -> set[str]:
    model = dialect(engine).option_of("model_path")
    target = Target(release, arch, engine=engine)
    case = Case(target, {model: "a/b"}, {}, 8, frozenset(traits))
    return {one.id for one in issues.issues(case) if one.severity.is_fatal}


@pytest.mark.parametrize("engine", NAMES)
def test_a_model_that_the_oldest_release_does_not_know_no_older_one_knows(engine: str) -> None:
    rows = [one for one in issues.every_issue([engine]) if one.lacking]

    for row in rows:
        for older in (dialect(engine).options.releases[0], *OLDER[engine]):
            if row.when.release.has(version(older)):
                assert row.id in _met(engine, older, *row.when.traits), (row.id, older)
    assert any("glm-5" in one.when.traits for one in rows)


@pytest.mark.parametrize("engine", NAMES)
def test_every_row_of_what_a_release_does_not_know_is_one_of_what_it_lacks(engine: str) -> None:
    for row in issues.every_issue([engine]):
        assert row.lacking or "does not know" not in row.what, row.id
        assert not (row.lacking and row.when.release.first), row.id


@pytest.mark.parametrize(
    ("engine", "release"), [(engine, release) for engine in NAMES for release in OLDER[engine]]
)
def test_a_launch_of_glm_5_breaks_on_it(engine: str, release: str) -> None:
    assert not judge(GLM[engine], Target(release, "sm100", "b200")).is_sound


@pytest.mark.parametrize("engine", NAMES)
def test_of_faults_of_which_nobody_looked_when_they_began_nothing_is_said(engine: str) -> None:
    """Nor of a model that the oldest release knows."""
    assert not any(_met(engine, older, arch="sm100") for older in OLDER[engine])


@pytest.mark.parametrize("engine", NAMES)
def test_the_first_release_that_knows_the_model_is_told_nothing_of_that(engine: str) -> None:
    met = _met(engine, dialect(engine).oldest, "glm-5", arch="sm100")

    assert not [one for one in met if "glm-5-unknown" in one]
