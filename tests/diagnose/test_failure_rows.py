"""A bad row of the failures, codes, Xids or drivers costs itself, and is told."""

from __future__ import annotations

from functools import partial

import pytest

from launcher.engines import failures
from launcher.engines.tables import complaints
from launcher.knowledge import codes, drivers, rows, xid

GOOD = """
[fine]
family = "disk"
weight = "cause"
pattern = 'it broke'
what = "it broke"
fix = "mend it"
then = "never"
known = "source"
source = "here"
"""


def test_the_tables_that_are_shipped_have_no_bad_row() -> None:
    assert (*complaints(), *failures.complaints()) == ()


@pytest.mark.parametrize(
    ("was", "is_", "complaint"),
    [
        ('"disk"', '"dsk"', "family: 'dsk' is not one of"),
        ('"never"', '"maybe"', "then: 'maybe' is not one of"),
        ("'it broke'", "'it (broke'", "missing )"),
        ('fix = "mend it"\n', "", "no fix"),
        ("known =", "knwon =", "knwon: no such key"),
    ],
)
def test_a_bad_failure_is_left_out_and_told(was: str, is_: str, complaint: str) -> None:
    bad = GOOD.replace("[fine]", "[bad]").replace(was, is_)
    told = rows.read(rows.File("x.toml", GOOD + bad), None, partial(failures._failure, ""))

    assert [row.id for row in told.rows] == ["fine"]
    assert complaint in told.complaints[0]


@pytest.mark.parametrize(
    ("text", "table", "made", "complaint"),
    [
        ("[[codes]]\nof = 'moon'\ncodes = []", "codes", codes._made, "of: 'moon'"),
        ("[[xid]]\nnumbers = [1]\nwhat = 'x'\nadvice = 'x'", "xid", xid._made, "advice: 'x'"),
        ("[[xid]]\nnumbers = [1]\nadvice = 'again'", "xid", xid._made, "no what"),
        (
            "[[trouble]]\ndriver = 'new'\nwhat = 'x'",
            "trouble",
            partial(drivers._made, ("driver", "what")),
            "driver: 'new' is not a release",
        ),
    ],
)
def test_a_bad_row_of_knowledge_is_told(
    text: str, table: str, made: object, complaint: str
) -> None:
    assert callable(made)
    told = rows.read(rows.File("x.toml", text), table, made)

    assert told.rows == ()
    assert complaint in told.complaints[0]
