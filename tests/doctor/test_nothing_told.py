"""No check is ok whose facts were not given: what nobody told is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import TESTS
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.doctor.checks import checks
from launcher.doctor.checks.judging import UNSUPPORTED
from launcher.doctor.run import of_host
from launcher.errors import UserError
from launcher.host.facts import Fact, Gpu, Host, UnobservedError
from launcher.host.parsers import of_texts
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

TEXTS = {
    path.relative_to(TESTS).as_posix(): path.read_bytes()
    for path in sorted((TESTS / "hosts").rglob("*"))
    if path.is_file() and path.suffix not in (".md", ".json")
}
# What they judge is there with a bare list of GPUs: how many it has.
COUNTS = {"driver-answers", "gpu-count", "nvlink-links", "p2p-status"}
NVLINKS = """\
        GPU0    GPU1    CPU Affinity    NUMA Affinity
GPU0     X      NV18    0-55            0
GPU1    NV18     X      0-55            0
"""


@contextmanager
def looked_at() -> Iterator[list[Fact[Any]]]:
    """The facts that are asked for meanwhile."""
    seen: list[Fact[Any]] = []
    get = Fact.get

    def note(fact: Fact[Any]) -> bool:
        seen.append(fact)
        return fact.unknown is None

    def got(fact: Fact[Any]) -> Any:
        seen.append(fact)
        return get(fact)

    def otherwise(fact: Fact[Any], other: Any) -> Any:
        return got(fact) if note(fact) else other

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fact, "known", property(note))
        patch.setattr(Fact, "get", got)
        patch.setattr(Fact, "otherwise", otherwise)
        yield seen


def tells(fact: Fact[Any]) -> bool:
    """Whether it is known, more than that there are GPUs; "no such feature" is an answer, too."""
    if fact.unknown is not None:
        return fact.unknown == UNSUPPORTED
    members = fact.value if isinstance(fact.value, tuple) else ()
    return not any(isinstance(one, Gpu) for one in members)


def ok_from_nothing(host: Host) -> set[str]:
    """The checks that are ok although they asked, and nothing that they asked was told."""
    plan = of_host(host, None, (), {"HOME": "/nowhere"}).plan
    return {
        check.id
        for check in checks()
        if check.judge and check.id not in COUNTS and not check.of_profile and not check.of_nodes
        if is_ok_from_nothing(check.judge, host, plan)
    }


def is_ok_from_nothing(judge: Any, host: Host, plan: Plan) -> bool:
    with looked_at() as seen:
        try:
            verdict = judge(host, plan)
        except UnobservedError:
            return False
    return verdict.severity is Severity.OK and bool(seen) and not any(map(tells, seen))


def read(text: bytes) -> Host | None:
    try:
        return of_texts([("a text", text)], "a text")
    except UserError:  # nothing in it is known here
        return None


@pytest.mark.parametrize("name", TEXTS)
def test_no_check_is_ok_of_which_a_text_tells_nothing(name: str) -> None:
    host = read(TEXTS[name])
    assert host
    assert not ok_from_nothing(host)


@given(st.sampled_from(sorted(TEXTS)), st.integers(0, 200), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_nor_of_a_few_lines_of_it(name: str, first: int, count: int) -> None:
    lines = TEXTS[name].splitlines(keepends=True)[first : first + count]
    host = read(b"".join(lines))
    assert host is None or not ok_from_nothing(host)


def verdicts(text: str) -> dict[str, tuple[Severity, str]]:
    host = read(text.encode())
    assert host
    plan = of_host(host, None, (), {"HOME": "/nowhere"}).plan
    said = {}
    for check in checks():
        if check.judge and not check.of_profile and not check.of_nodes:
            try:
                one = check.judge(host, plan)
                said[check.id] = (one.severity, one.evidence)
            except UnobservedError as error:
                said[check.id] = (Severity.UNKNOWN, str(error))
    return said


def test_nvlinks_are_not_called_no_nvswitch() -> None:
    severity, evidence = verdicts(NVLINKS)["driver-fabric"]
    assert severity is Severity.UNKNOWN
    assert "nvidia-smi -q" in evidence


def test_a_table_of_paths_without_nvlink_shows_that_there_is_none() -> None:
    pcie = NVLINKS.replace("NV18", "NODE")
    assert verdicts(pcie)["driver-fabric"] == (Severity.OK, "no NVLink in `nvidia-smi topo -m`")


def test_a_complaint_of_one_gpu_counts_none() -> None:
    text = (Path(TESTS) / "hosts/cases/host_08_device_handle.txt").read_text()
    said = verdicts(text)
    assert said["gpu-answers"][0] is Severity.FAIL
    assert not [id for id, (severity, _) in said.items() if severity is Severity.OK]


def test_no_device_is_nothing_to_be_content_with() -> None:
    said = verdicts("No devices were found\n")
    assert said["gpu-count"][0] is Severity.FAIL
    assert {id for id, (severity, _) in said.items() if severity is Severity.OK} == {
        "driver-answers"
    }
