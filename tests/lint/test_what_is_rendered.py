"""What `render` writes is judged as its plan is: `lint` of it finds what the plan's notes say, and
no more; and an advisory that one command names of a release, all name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import cycle
from pathlib import Path

import pytest
from rig import packaged
from rig.packaged import EVERY

from launcher.config.load import PlanRequest
from launcher.config.target import TargetOptions
from launcher.doctor.checks.rows import found
from launcher.engines import issues
from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.formats.writers import CONTAINERS, WRITERS
from launcher.host import observe
from launcher.host.facts import Engine, Host, known
from launcher.lint.notes import noted
from launcher.lint.run import judge
from launcher.operate import init
from launcher.operate.contained import Asked, rendered

FORMS = (*WRITERS, *CONTAINERS)
ENVIRON = {"HOME": "/root", "PATH": "/usr/bin:/bin"}
ADVISORY = re.compile(r"(?:CVE|GHSA)-[\w-]+")


@pytest.fixture(scope="module", autouse=True)
def driver_asked_once() -> Iterator[None]:
    """No release and no form changes what this host's driver is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "observe_driver", lru_cache(maxsize=None)(observe.observe_driver))
        yield


def said(text: str, target: Target) -> list[tuple[str, str]]:
    """Each flag and variable of a text of which lint says something, and what."""
    [judged] = judge(text, target).launches
    return [
        (entry.name, concern.why)
        for entry in judged.releases[target.nearest]
        for concern in entry.concerns
    ]


def texts(name: str, release: str, form: str, key: Path) -> tuple[str, Target, tuple[str, ...]]:
    """A packaged profile in a form, whom it is for, and the notes of its plan."""
    kind = packaged.engine(name)
    ask = PlanRequest(name, (), str(key))
    made = rendered(ask, ENVIRON, TargetOptions(release, engine=kind), form, Asked())
    return made.text, Target(release, made.plan.arch, made.plan.gpu, engine=kind), made.plan.notes


@pytest.mark.parametrize("name", [name for name in EVERY if not name.startswith(("2x", "cpu-"))])
def test_lint_finds_in_what_is_rendered_what_its_notes_say(name: str, tmp_path: Path) -> None:
    """The newest release of its engine and every third one, each in one of the forms by turns; the
    next profiles have those between. The card's own flags, of which somebody else is the author, are
    among them.
    """
    key = tmp_path / "key"
    key.write_text("a-key-of-the-tests")
    key.chmod(0o600)
    first = EVERY.index(name) % len(FORMS)
    forms = cycle([*FORMS[first:], *FORMS[:first]])
    *known, newest = packaged.releases(packaged.engine(name))
    for form, release in zip(forms, (*known[EVERY.index(name) % 3 :: 3], newest), strict=False):
        text, target, notes = texts(name, release, form, key)

        assert not [
            one for one in said(text, target) if not any(one[1] in note for note in notes)
        ], (form, release)


def named(texts: list[str] | tuple[str, ...]) -> set[str]:
    return {one for text in texts for one in ADVISORY.findall(text)}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("name", ["8xpro6000", "8xb200-glm53flash-vllm", "4xb200-glm53-flash"])
def test_all_commands_name_the_same_advisories_of_a_release(name: str, host: str) -> None:
    """`render`, `fit`, `diff`, `up` and `init` by the plan's notes, `lint` and `doctor`."""
    kind = packaged.engine(name)
    many = 0
    for release in packaged.releases(kind):
        plan = noted(packaged.plan(name, release, None, f"flags.host={host}"))
        target = Target(release, plan.arch, plan.gpu, engine=kind)
        judged = named([why for _, why in said(WRITERS["shell"](plan), target)])
        seen = found(Host(engine=Engine(packages=known({dialect(kind).package: release}))), plan)
        checked = named([one.advisory for told in seen.values() for one in told])

        assert named(plan.notes) == judged == checked, release
        many += len(judged) > 1
    assert many > 1 or host == "127.0.0.1"


@pytest.mark.parametrize("name", ["8xpro6000", "8xb200-vllm"])
def test_a_draft_of_init_names_the_advisories_of_its_plan(name: str, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a-key-of-the-tests")
    key.chmod(0o600)
    start, _ = init.begun("mine", name, ENVIRON)
    draft = replace(start, host="0.0.0.0", key_file=key)
    plan = init.checked(draft, init.text(draft, packaged.engine(name)), ENVIRON)
    of_it = [issue.advisory for issue in issues.issues(issues.of_plan(plan))]

    assert named(plan.notes) == named(of_it)


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_no_remedy_says_of_its_release_that_it_mends_what_it_does_not(kind: str) -> None:
    """It names the one release for all that a release mends, and says what it is for alone."""
    name = "4xb200-glm53-flash" if kind == "sglang" else "8xb200-glm53flash-vllm"
    for release in packaged.releases(kind):
        plan = packaged.plan(name, release, None, "flags.host=0.0.0.0")
        told = [one for one in issues.issues(issues.of_plan(plan)) if one.advisory]

        assert "others" not in " ".join(issue.fix for issue in told), release


@pytest.mark.parametrize("infiniband", [None, True, False])
def test_a_host_without_infiniband_alone_makes_its_variable_inert(infiniband: bool | None) -> None:
    """The rule sets it where nobody knows, and lint has no word against that."""
    text = "NCCL_IB_DISABLE=1 python3 -m sglang.launch_server --model-path m --tp-size 8"
    told = said(text, Target("0.5.23", "sm100", infiniband=infiniband))

    assert [name for name, _ in told if name == "NCCL_IB_DISABLE"] == (
        ["NCCL_IB_DISABLE"] if infiniband is False else []
    )
