"""On a host without a processor to spare the canary compares no speed: it is not the server's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from launcher.engines.signs import Signs
from launcher.serve import canary_ask
from launcher.serve.canary import Look, Question, Said
from launcher.serve.procfs import InLine
from launcher.serve.supervisor import CROWDED, Supervisor

SEEN = Look(Said.RIGHT, "right, 40 tokens", 40, 2.0, Signs((0, 0), 0.01, 3.0))


def asked(monkeypatch: pytest.MonkeyPatch, waited: float, lost: float = 0.0) -> Look:
    """What comes of a question of ten seconds in which a rank stood in line for so many."""
    lines: Iterator[InLine] = iter((InLine(100.0, {7: 5.0}), InLine(110.0, {7: 5.0 + waited})))
    clock = SimpleNamespace(lost=0.0)

    def look(of: canary_ask.Asked, question: Question) -> Look:
        clock.lost += lost
        return SEEN

    monkeypatch.setattr(canary_ask, "look", look)
    run = SimpleNamespace(excuse_within=lambda *_: "", in_line=lambda: next(lines))
    plan = SimpleNamespace(model_name="m", smoke={}, parsers=frozenset())
    world = SimpleNamespace(
        plan=plan, clock=clock, engine=None, server=lambda _: None, hear_canary=print
    )
    work: Any = Supervisor.ask_canary(
        cast(Any, world), cast(Any, run), Question("fact", 0), canary_ask.Line()
    )
    told: Look = work.args[-1]
    return told


def test_a_rank_that_stood_in_line_for_a_fifth_tells_no_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert asked(monkeypatch, 10 * CROWDED * 0.9) == SEEN
    assert asked(monkeypatch, 10 * CROWDED * 1.1) == replace(SEEN, tokens=0, signs=None)


def test_nor_does_a_launcher_that_did_not_run_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, 0.0, lost=1.0) == replace(SEEN, tokens=0, signs=None)
