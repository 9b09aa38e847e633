"""The canary's line in `status`: whether it is asked, how often, and what came of it, once each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from launcher.operate import metrics
from launcher.output import status
from launcher.output.status import _canary
from launcher.statedir.state import Canary, StateRecord

NOW = datetime(2026, 11, 27, 20, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "time", SimpleNamespace(time=NOW.timestamp))


def ago(seconds: float) -> str:
    """A time of day, as state files have it."""
    then = NOW - timedelta(seconds=seconds)
    return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (Canary(0.0, has_questions=False), "off"),
        (Canary(0.0), "off"),
        (Canary(60.0, has_questions=False), "nothing to ask that this server can answer"),
        (Canary(60.0), "not asked yet, one question every 60 s"),
        (Canary(2592000.0), "not asked yet, one question every 30 d"),
        (Canary(5400.0), "not asked yet, one question every 90 min"),
    ],
)
def test_one_that_was_not_asked_says_why(told: Canary, line: str) -> None:
    assert _canary(told) == line


@pytest.mark.parametrize("told", [Canary(0.0), Canary(60.0, has_questions=False)])
def test_one_that_is_not_asked_has_no_figures(told: Canary) -> None:
    """An alert on `degraded` would say that all is well where nobody looks."""
    assert [*metrics._of_canary(StateRecord("p", "ready", canary=told))] == []


def test_what_it_answered_last_is_told_once_and_when() -> None:
    why = "asked to copy 'drawer 24: 939767', got ''"
    worse = Canary(60.0, True, True, ago(250), why, {"right": 7, "wrong": 2}, time=ago(3), last=why)
    line = _canary(worse)

    assert line.startswith("degraded since ")
    assert line.endswith(f": {why}; 7 right, 2 wrong; the last one 3 s ago")
    other = Canary.from_json(worse.to_json() | {"last": "right, 9 tokens"})
    assert _canary(other).endswith("; the last one 3 s ago: right, 9 tokens")
    fine = Canary(60.0, answers={"right": 1}, time=ago(3), last=why, tokens_per_second=50.5)
    assert _canary(fine) == f"fine: 1 right; the last one 3 s ago: {why}; 50.5 tok/s"
    assert "the last one: right" in _canary(Canary(60.0, time="no time", last="right"))


def test_one_whose_kinds_were_all_given_up_says_so_by_what_it_answered() -> None:
    """It was asked: that stays told, and fine it is not called."""
    told = Canary(60.0, False, answers={"wrong": 1}, time=ago(3), last="got rubbish")
    nothing = "nothing to ask that this server can answer"

    assert _canary(told) == f"{nothing}: 1 wrong; the last one 3 s ago: got rubbish"
    assert [*metrics._of_canary(StateRecord("p", "ready", canary=told))] == []
    worse = Canary.from_json(told.to_json() | {"degraded": True})
    assert "degraded since " in _canary(worse)
    assert [*metrics._of_canary(StateRecord("p", "ready", canary=worse))]
