"""The history of starts: what is kept, what the next one is compared with, how long it will take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.engines.log import PHASES
from launcher.serve import recorder
from launcher.serve.states import Backoff, Ended, Next, Past, Ready, State, Stopping
from launcher.statedir import starts
from launcher.statedir.starts import KEPT, PastStart, Usual, Waited
from launcher.statedir.state import StartRecord

START = PastStart(
    time="2026-11-26T20:01:02.345Z",
    run=1,
    outcome="ready",
    reason="generated 1 token",
    model="tiny",
    engine="sglang",
    release="0.5.23",
    seconds={"process": 10.0, "weights": 20.0, "smoke": 2.0},
    waits={"weights": Waited(read=3 << 30)},
)
SECONDS = st.floats(0, 1e6)
TOOK = st.dictionaries(st.sampled_from([*PHASES]), SECONDS, min_size=1)


def with_weights(*seconds: float) -> list[PastStart]:
    return [replace(START, seconds={**START.seconds, "weights": took}) for took in seconds]


def of(*past: PastStart) -> Usual | None:
    return starts.usual(past, "tiny", "sglang", "0.5.23")


def test_starts_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / starts.FILE
    path.write_text(json.dumps(starts.to_json([START, START])))

    assert starts.read(path) == (START, START)


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / starts.FILE
    path.write_text(json.dumps(starts.to_json([replace(START, run=n) for n in range(3 * KEPT)])))

    assert [start.run for start in starts.read(path)] == [*range(2 * KEPT, 3 * KEPT)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2, "starts": []}', '{"schema": 1}'])
def test_a_file_that_is_none_tells_of_no_start(tmp_path: Path, text: str) -> None:
    (tmp_path / starts.FILE).write_text(text)

    assert starts.read(tmp_path / starts.FILE) == ()
    assert starts.read(tmp_path / "none") == ()


@pytest.mark.parametrize("told", ["NaN", "Infinity", "-Infinity", "1e400", "1e308", "true", '"1"'])
@pytest.mark.parametrize("where", ['"weights": 20.0', '"asleep": 0.0', '"read": 3221225472'])
def test_a_number_that_is_none_is_no_start(tmp_path: Path, told: str, where: str) -> None:
    text = json.dumps(starts.to_json([START]))
    path = tmp_path / starts.FILE
    path.write_text(text.replace(where, f"{where.partition(':')[0]}: {told}"))

    assert path.read_text() != text
    assert starts.read(path) == ()


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ('"weights": 20.0', "-4.1"),
        ('"weights": 20.0', "1e15"),
        ('"asleep": 0.0', "-0.5"),
        ('"read": 3221225472', "-1"),
        ('"run": 1', "-1"),
    ],
)
def test_what_no_start_can_take_is_left_out_and_counted(
    tmp_path: Path, where: str, told: str
) -> None:
    path = tmp_path / starts.FILE
    path.write_text(json.dumps(starts.to_json([START, replace(START, reason="sound")])))
    text = path.read_text()
    path.write_text(text.replace(where, f"{where.partition(':')[0]}: {told}", 1))

    assert path.read_text() != text
    [sound], odd = starts.looked(path)
    assert (sound.reason, odd) == ("sound", 1)


def test_what_is_usual_is_the_median_of_the_last_that_became_ready() -> None:
    assert of(*with_weights(900, 20, 22, 24, 26, 28)) == Usual(
        5, {"process": 10.0, "weights": 24.0, "smoke": 2.0}
    )
    assert of(*with_weights(20, 30)) == Usual(2, {"process": 10.0, "weights": 25.0, "smoke": 2.0})


def test_other_models_releases_and_starts_that_failed_tell_nothing() -> None:
    others = (
        replace(START, model="other"),
        replace(START, release="0.5.22"),
        replace(START, engine="vllm"),
        replace(START, outcome="backoff"),
    )

    assert of(*others) is None
    assert of() is None


def test_what_is_left_is_the_rest_of_the_phase_and_all_that_come_after_it() -> None:
    usual = Usual(3, {"process": 10.0, "weights": 20.0, "smoke": 2.0})

    assert usual.left("process", 4.0) == 6.0 + 22.0
    assert usual.left("weights", 5.0) == 15.0 + 2.0
    assert usual.left("weights", 50.0) == 2.0, "it may end at any moment"
    assert usual.left("graphs", 0.0) is None, "nobody has seen that one"


@given(TOOK, st.data())
def test_time_goes_on_and_less_is_left(took: dict[str, float], data: st.DataObject) -> None:
    usual = Usual(1, took)
    phase = data.draw(st.sampled_from([*took]))
    spent, more = data.draw(SECONDS), data.draw(SECONDS)
    now, later = usual.left(phase, spent), usual.left(phase, spent + more)

    assert now is not None
    assert later is not None
    assert 0 <= later <= now <= sum(took.values()) + 1e-3


@given(st.lists(TOOK, min_size=1, max_size=9))
def test_what_is_usual_lies_between_what_was(every: list[dict[str, float]]) -> None:
    usual = of(*(replace(START, seconds=took) for took in every))

    assert usual is not None
    last = every[-starts.COMPARED :]
    assert usual.of == len(last)
    for phase, seconds in usual.seconds.items():
        known = [took.get(phase, 0.0) for took in last]
        assert min(known) - 1e-3 <= seconds <= max(known) + 1e-3


def test_a_phase_that_says_nothing_goes_on_all_the_same() -> None:
    start = StartRecord({"process": 10.0, "weights": 1.0}, "weights")

    assert start.spent(45.0) == 35.0
    assert start.spent(5.0) == 1.0, "a clock that was set back takes nothing away"


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (Ready(Past(), "generated 1 token", 0.0, 0.0), "ready"),
        (Stopping(Past(), "asked for by `down`", 0.0, Next.END), "stopped"),
        (Stopping(Past(), "asked for by `restart`", 0.0, Next.RESTART), "stopped"),
        (Stopping(Past(), "wrong output: !!!", 0.0, Next.FAIL), "failed"),
        (Stopping(Past(), "weights has not moved", 0.0, Next.RETRY), "failed"),
        (Backoff(Past(), "died", 0.0), "failed"),
        (Ended(Past(), "died before it was ready", failed=True), "failed"),
        (Ended(Past(), "asked for by SIGTERM"), "stopped"),
    ],
)
def test_a_start_was_ready_was_stopped_or_failed(state: State, outcome: str) -> None:
    assert recorder._outcome(state) == outcome
