"""Logs of others: what is said of each, and of healthy ones that nothing is."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from conftest import ROOT

from launcher.diagnose.text import diagnose_text
from launcher.diagnose.verdict import Diagnosis
from launcher.engines import engine
from launcher.engines.engine import dialect
from launcher.engines.failures import failures
from launcher.knowledge.families import FAMILIES, SERVES, STOPPED

HERE = Path(__file__).parent
with (HERE / "cases/expected.tsv").open() as file:
    CASES = list(csv.DictReader(file, delimiter="\t"))
HEALTHY = [*(HERE / "healthy").glob("*.log"), ROOT / "tests/hosts/asus8x/dmesg.txt"]
SHARED = {"--trust-remote-code", "--disable-custom-all-reduce", "--chat-template"}  # both have them


def said_of(path: Path) -> Diagnosis:
    return diagnose_text([path.read_bytes()])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_what_a_log_of_others_tells(case: dict[str, str]) -> None:
    found = said_of(HERE / "cases" / case["file"])

    assert (found.cause, found.family) == (case["cause"], case["family"])
    assert (found.engine or "", found.knob or "") == (case["engine"], case["knob"])


def test_every_case_stands_in_the_list_with_its_source() -> None:
    assert {case["file"] for case in CASES} == {path.name for path in (HERE / "cases").glob("*.log")}
    assert all(case["source"] for case in CASES)


@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.name)
def test_of_a_healthy_log_nothing_is_said(path: Path) -> None:
    found = said_of(path)

    assert not found.is_known, found.what
    assert (found.knob, found.then) == (None, "again")
    assert "died" not in found.what
    assert "last of what died first" not in found.fix


def test_ten_logs_are_healthy() -> None:
    assert len(HEALTHY) >= 10


def test_each_log_has_a_family_of_the_list() -> None:
    paths = [*(HERE / "cases").glob("*.log"), *HEALTHY]

    assert {said_of(path).family for path in paths} <= set(FAMILIES)
    assert {STOPPED, SERVES} <= {said_of(path).family for path in HEALTHY}


def test_in_a_log_of_one_engine_no_option_of_another_is_named() -> None:
    """An option is named only in a log of the engine that has it, or if each has it."""
    options = {f"--{name}" for name in dialect("sglang").options.at(None).names}
    for row in failures().values():
        for name in (None, *engine.SPEAKERS):
            if row.engine not in ("", name):
                continue
            told = row.told(name)
            named = set(re.findall(r"--[a-z][a-z-]+[a-z]", f"{told.what} {told.fix} {told.knob}"))
            if name != "sglang" and row.engine != "sglang":
                assert not named & (options - SHARED), (row.id, name)
