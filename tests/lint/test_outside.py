"""A release that is none of those known: what nobody knows of it is not said of it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from launcher.engines import issues
from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import Release, version
from launcher.engines.target import Target
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry
from launcher.lint.run import Judged, judge

UP_TO = re.compile(r": ([\d.]+) up to ([\d.]+), which has the fix")
GAPS = [
    (name, older, newer)
    for name in NAMES
    for older, newer in pairwise(dialect(name).options.releases)
    if version(newer) > (*version(older)[:2], version(older)[2] + 1)
]


def judged(text: str, release: str | None = None) -> Judged:
    [found] = judge(text, Target(release, "sm100")).launches
    return found


def entries(text: str, release: str | None = None) -> dict[str, Entry]:
    [told] = judged(text, release).releases.values()
    return {one.name: one for one in told}


def words(name: str, within: Release) -> list[str]:
    """The option with a value that the release takes, where it wants one."""
    option = within.options[name]
    value = str(option.choices[0]) if option.choices else "1"
    return [name] if option.takes == "nothing" else [name, value]


@pytest.mark.parametrize(("engine", "older", "newer"), GAPS)
def test_what_two_known_releases_differ_in_is_not_known_between_them(
    engine: str, older: str, newer: str
) -> None:
    known = dialect(engine).options
    before, after = known.release(older), known.release(newer)
    between = ".".join(map(str, (*version(older)[:2], version(older)[2] + 1)))
    model = "a/m" if known.positional else "--model-path a/m"
    program = " ".join(dialect(engine).programs[0])

    names = [
        (name, has)
        for has, lacks in ((before, after), (after, before))
        for name in has.options
        if name.startswith("--") and not lacks.candidates(name)
    ]
    for name, has in names[::3]:
        said = words(name, has)
        if any(one.problem for one in has.given(said)):
            continue
        found = entries(f"{program} {model} {' '.join(said)}", between)[name]
        assert not found.verdict.is_refused


def test_a_choice_that_only_the_next_release_has_is_not_known() -> None:
    text = "vllm serve a/m --reasoning-parser deepseek_v4"
    note = "--reasoning-parser: 0.19.1 and 0.23.0 differ in this: what vLLM 0.22.1 does is unknown"

    assert not entries(text, "0.22.1")["--reasoning-parser"].verdict.says_no
    assert note in judged(text, "0.22.1").notes
    assert entries(text, "0.19.1")["--reasoning-parser"].verdict is Verdict.WRONG
    assert not entries(text, "0.23.0")["--reasoning-parser"].verdict.says_no


@pytest.mark.parametrize("given", ["--no-such 1", "--reasoning-parser nonsense", "-tp eight"])
def test_what_both_refuse_is_refused_between_them(given: str) -> None:
    found = entries(f"vllm serve a/m {given}", "0.22.1")[given.split()[0]]
    assert found.verdict.is_refused


OLD = "docker run --gpus all vllm/vllm-openai:v0.9.1 --model a/m --host 127.0.0.1"


@pytest.mark.parametrize(
    "given",
    [
        "--max-seq-len-to-capture 3072",
        "--no-such-thing 1",
        "--device cuda",
        "--reasoning-parser older",
        "--enable-reasoning",
        "--shutdown-timeout 9",
    ],
)
def test_nothing_is_refused_by_absence_below_the_oldest_known(given: str) -> None:
    found = entries(f"{OLD} {given}")[given.split()[0]]
    assert not found.verdict.says_no
    word = given.split()[0]
    assert [note for note in judged(f"{OLD} {given}").notes if note.startswith(f"{word}: 0.16.0")]


@pytest.mark.parametrize("given", ["-tp eight", "--gpu-memory-utilization 1.2"])
def test_a_value_that_no_release_takes_is_told_of_an_old_one(given: str) -> None:
    assert entries(f"{OLD} {given}")[given.split()[0]].verdict.says_no


def test_a_variable_that_an_old_release_may_read_is_not_inert() -> None:
    text = OLD.replace("--gpus all", "-e VLLM_USE_V1=1")
    assert entries(text)["VLLM_USE_V1"].verdict is Verdict.FINE
    now = text.replace("0.9.1", "0.33.0")
    assert entries(now)["VLLM_USE_V1"].verdict is Verdict.INERT


@pytest.mark.parametrize(
    ("given", "is_refused"),
    [("--of-a-coming-release x", False), ("--tensor-paralel-size 8", True)],
)
def test_a_release_newer_than_those_known_may_have_what_is_no_slip(
    given: str, *, is_refused: bool
) -> None:
    found = entries(f"vllm serve a/m {given}", "0.44.0")[given.split()[0]]
    assert found.verdict.is_refused is is_refused


def test_a_release_that_is_known_is_judged_without_doubt() -> None:
    text = "vllm serve a/m --of-a-coming-release x"
    assert entries(text, "0.33.0")["--of-a-coming-release"].verdict is Verdict.UNKNOWN
    assert not [note for note in judged(text, "0.33.0").notes if "is unknown" in note]


def test_an_advisory_holds_from_the_release_that_its_record_names() -> None:
    rows = [(row, UP_TO.search(row.source)) for row in issues.every_issue() if row.advisory]
    told = [(row, found) for row, found in rows if found]

    assert told
    for row, found in told:
        span = row.when.release
        assert (span.first, span.before) == (version(found[1]), version(found[2])), row.id


@pytest.mark.parametrize(("release", "is_told"), [("0.9.1", False), ("0.16.0", True)])
def test_an_advisory_is_not_told_of_releases_before_its_first(
    release: str, *, is_told: bool
) -> None:
    why = entries("vllm serve a/m --host 127.0.0.1", release)["a/m"].why
    assert ("CVE-2026-27893" in why) is is_told
    assert "CVE-2026-114049" in why  # whose record names no first
