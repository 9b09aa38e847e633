"""One table of drivers and CUDA, and what is compared by it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher.knowledge import drivers

LAUNCHER = Path(drivers.__file__).parents[1]


@pytest.mark.parametrize(
    ("torch", "wanted"),
    [
        (None, "570"),
        ("12.8", "570"),
        ("12.9", "570"),
        ("13.0", "580"),
        ("13.2", "580"),
        ("14.0", "580"),
    ],
)
def test_the_driver_that_a_torch_wants(torch: str | None, wanted: str) -> None:
    assert drivers.minimum(torch).driver == wanted
    assert drivers.minimum(torch).why


@pytest.mark.parametrize(
    ("release", "wanted", "is_enough"),
    [
        ("580.95.05", "580", True),
        ("580", "580", True),
        ("579.99.99", "580", False),
        ("1000.1", "580", True),
        ("12.10", "12.8", True),
        ("12.4", "12.8", False),
        ("13.0", "12.8", True),
    ],
)
def test_releases_are_compared_by_their_numbers(release: str, wanted: str, is_enough: bool) -> None:
    assert drivers.reaches(release, wanted) is is_enough


@pytest.mark.parametrize(
    ("driver", "torch", "does"),
    [("13.0", "13.2", True), ("13.2", "12.8", True), ("12.8", "13.0", False)],
)
def test_a_driver_runs_any_torch_of_its_major_release(driver: str, torch: str, does: bool) -> None:
    assert drivers.runs(driver, torch) is does


def test_what_serves_is_not_known_for_trouble_and_new_enough_for_all() -> None:
    for release in re.findall(r"\d[\d.]+\d", drivers.good()):
        assert drivers.trouble(release) is None
        assert drivers.reaches(release, drivers.minimum("13.0").driver)


def test_each_trouble_is_told_of_its_release_and_of_no_other() -> None:
    rows = drivers.table("trouble").rows
    for row in rows:
        first, _, last = row["driver"].rpartition(".")
        neighbours = {f"{first}.{int(last) + step:02d}" for step in (-1, 1)}
        assert drivers.trouble(row["driver"]) == row["what"]
        for other in neighbours - {one["driver"] for one in rows}:
            assert drivers.trouble(other) is None


def test_each_minimum_is_what_some_torch_wants_and_another_does_not() -> None:
    wanted = {torch: drivers.minimum(torch).driver for torch in (None, "12.8", "13.0")}
    minima = {row["driver"] for row in drivers.table("minimum").rows}

    assert set(wanted.values()) == minima
    assert len(minima) > 1


def test_rows_keep_to_the_vocabulary() -> None:
    for row in (row for table in drivers.tables() for row in table.rows):
        assert row["evidence"] in {"tested", "observed", "reported", "source"}
        assert row["source"]


def test_no_check_or_signature_repeats_a_release_of_the_table() -> None:
    rows = (row for name in ("good", "trouble") for row in drivers.table(name).rows)
    releases = {row["driver"] for row in rows}
    for path in [*LAUNCHER.rglob("*.py"), *LAUNCHER.rglob("failures.toml")]:
        assert not [release for release in releases if release in path.read_text()], path
