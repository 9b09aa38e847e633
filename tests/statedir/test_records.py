"""What lies in an instance's folder as values: written as ever, read whatever lies there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from launcher.statedir.events import HEAD, KINDS, Event, parsed
from launcher.statedir.readings import GpuReading, Probe, Readings
from launcher.statedir.schema import OtherSchemaError
from launcher.statedir.session import Session
from launcher.statedir.starts import Usual, Waited
from launcher.statedir.state import (
    BARE,
    Canary,
    LauncherRecord,
    Pids,
    Progress,
    Smoke,
    StartRecord,
    StateRecord,
)

STATE = """{
 "schema": 1,
 "profile": "p",
 "state": "ready",
 "since": "2026-11-24T06:00:00.000Z",
 "reason": "it answers",
 "endpoint": "http://127.0.0.1:8000",
 "model": "glm-5",
 "engine": "sglang",
 "release": "0.5.23",
 "run": 2,
 "restarts": 1,
 "last_error": null,
 "deaths": {
  "hang": 1
 },
 "smoke": {
  "ok": true,
  "detail": "3 of 3 answers correct",
  "seconds": 1.5,
  "time": "2026-11-24T06:00:00.000Z"
 },
 "canary": {
  "every": 60.0,
  "has_questions": true,
  "degraded": true,
  "since": "2026-11-24T07:00:00.000Z",
  "reason": "a tool call was not parsed",
  "answers": {
   "right": 9,
   "wrong": 2
  },
  "time": "2026-11-24T07:00:00.000Z",
  "last": "a tool call was not parsed",
  "seconds": 0.5,
  "step_seconds": 0.02,
  "accepted": null,
  "tokens_per_second": 50.5
 },
 "pids": {
  "launcher": 7,
  "server": null
 },
 "session": {
  "mark": "m",
  "boot_id": "b",
  "reaper": 8,
  "reaper_ticks": 9,
  "output": "pipe:[1]",
  "cgroup": null,
  "shared": [
   "psm_*"
  ]
 },
 "start": {
  "phase": "weights",
  "progress": {
   "done": 1,
   "total": 5,
   "left": "00:10"
  },
  "seconds": {
   "process": 1,
   "weights": 2.5
  },
  "waits": {
   "weights": {
    "read": 4096,
    "written": 0,
    "compiling": 0.5,
    "asleep": 0.0,
    "starved": 0.0
   }
  },
  "usual": {
   "of": 3,
   "seconds": {
    "process": 1.5,
    "weights": 2.0
   }
  },
  "gpus": 0
 },
 "profile_path": "p.toml",
 "server_log": "/s/p/server.log",
 "launcher": {
  "pid": 7,
  "start_ticks": 10,
  "boot_id": "b",
  "pid_namespace": "pid:[1]",
  "claim": "c",
  "version": "1"
 }
}"""
RECORD = StateRecord(
    profile="p",
    state="ready",
    since="2026-11-24T06:00:00.000Z",
    reason="it answers",
    endpoint="http://127.0.0.1:8000",
    model="glm-5",
    engine="sglang",
    release="0.5.23",
    run=2,
    restarts=1,
    deaths={"hang": 1},
    smoke=Smoke(True, "3 of 3 answers correct", 1.5, "2026-11-24T06:00:00.000Z"),
    canary=Canary(
        every=60.0,
        degraded=True,
        since="2026-11-24T07:00:00.000Z",
        reason="a tool call was not parsed",
        answers={"right": 9, "wrong": 2},
        time="2026-11-24T07:00:00.000Z",
        last="a tool call was not parsed",
        seconds=0.5,
        step_seconds=0.02,
        tokens_per_second=50.5,
    ),
    pids=Pids(7),
    session=Session("m", "b", 8, 9, "pipe:[1]", shared=("psm_*",)),
    start=StartRecord(
        {"process": 1, "weights": 2.5},
        "weights",
        Progress(1, 5, "00:10"),
        {"weights": Waited(read=4096, compiling=0.5)},
        Usual(3, {"process": 1.5, "weights": 2.0}),
    ),
    profile_path="p.toml",
    server_log="/s/p/server.log",
    launcher=LauncherRecord(7, 10, "b", "pid:[1]", "c", "1"),
)
READINGS = Readings("s", "t", 1.5, Probe(0.25, True), (GpuReading(0, "0000:01:00.0", pids=(7,)),))
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda some: st.lists(some) | st.dictionaries(st.text(), some),
)


def test_a_state_is_written_as_it_always_was() -> None:
    assert json.dumps(RECORD.to_json(), indent=1) == STATE


def test_a_state_comes_back_from_its_file() -> None:
    assert StateRecord.from_json(json.loads(STATE)) == RECORD


def test_what_a_file_lacks_is_not_told_and_what_changes_is() -> None:
    seen = StateRecord.from_json({"state": "ready", "schema": 1, "pids": {}, "new": 1})

    assert list(seen.to_json()) == ["state", "schema", "pids"]
    assert list(seen.but(reason="r").to_json()) == ["state", "schema", "pids", "reason"]
    assert tuple(StateRecord("p", "stopped", parts=BARE).to_json()) == BARE


@given(odd=ANY)
def test_a_part_that_is_something_else_is_named_and_hides_no_other(odd: Any) -> None:
    """The same in the place of each part: to make it up costs more than to read it."""
    for name in ("since", "run", "deaths", "smoke", "session", "start"):
        seen = StateRecord.from_json(json.loads(STATE) | {name: odd})

        assert seen.odd in ((), (name,))
        assert (name in seen.to_json()) is not bool(seen.odd), name
        assert seen.server_log == RECORD.server_log


def test_pids_are_numbers_alone() -> None:
    assert Pids.from_json({"launcher": "self", "server": True, "others": [1, "x"]}) == Pids()
    assert Pids.from_json({"launcher": 7, "server": 1 << 70}) == Pids(7)


@given(ANY)
def test_what_is_something_else_is_refused_or_read(data: Any) -> None:
    for kind in (StateRecord, LauncherRecord, Session, Event, Readings, GpuReading):
        try:
            kind.from_json(data)
        except ValueError:
            continue
        assert isinstance(data, dict)


def test_another_schema_is_refused_by_its_name() -> None:
    for kind in (StateRecord, Readings):
        with pytest.raises(OtherSchemaError, match="has schema 2, this glm5-serve reads 1"):
            kind.from_json({"schema": 2})


def test_readings_come_back_from_their_file() -> None:
    told = json.loads(json.dumps(READINGS.to_json()))

    assert list(told) == ["schema", "since", "time", "at", "probe", "gpus"]
    assert Readings.from_json(told) == READINGS


def test_events_are_what_the_published_schema_says() -> None:
    schema = json.loads((ROOT / "docs/events.schema.json").read_text())

    assert (list(HEAD), list(KINDS)) == (
        schema["required"],
        schema["properties"]["event"]["enum"],
    )


def test_an_event_comes_back_from_its_line_and_cut_lines_are_left_out() -> None:
    event = Event("warning", {"reason": "r"}, "t", "p")
    line = json.dumps(event.to_json())

    assert line == '{"schema": 1, "time": "t", "profile": "p", "event": "warning", "reason": "r"}'
    assert list(parsed([line, line[:9], "[]", '{"event": 1}', "[" * 100_000])) == [event]
