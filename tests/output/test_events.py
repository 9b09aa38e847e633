"""Events in words: each kind has some, whatever is left out, and each time is told as what it is."""

from __future__ import annotations

import json
import time
from itertools import combinations
from typing import Any

import pytest
from conftest import ROOT

from launcher.output import events
from launcher.output.events import STAMP, clock, dated, in_words, stamp
from launcher.statedir.events import KINDS, Event

SCHEMA = json.loads((ROOT / "docs/events.schema.json").read_text())
TIME = "2026-11-27T12:00:00.000Z"
NOW = 1_795_780_800.0  # the same
VALUES: dict[str, Any] = {
    "integer": 1,
    "number": 1.5,
    "string": "words",
    "boolean": True,
    "null": None,
    "array": [],
}


def value(told: dict[str, Any]) -> Any:
    """One that a field's schema allows."""
    if "const" in told:
        return told["const"]
    if "enum" in told:
        return next(one for one in told["enum"] if one is not None)
    kind = told["type"] if isinstance(told["type"], str) else told["type"][0]
    if kind == "object":
        return {name: value(part) for name, part in told.get("properties", {}).items()}
    return VALUES[kind]


def forms() -> list[Event]:
    """An event of each kind with all of its fields, and with each optional one or two null or
    absent; of fields that may be null as well.
    """
    made = []
    for kind in SCHEMA["oneOf"]:
        fields = {name: value(told) for name, told in kind["properties"].items()}
        name = str(fields.pop("event"))
        optional = [
            field
            for field in fields
            if field not in kind["required"] or "null" in kind["properties"][field].get("type", "")
        ]
        states = kind["properties"].get("state", {}).get("enum", [None])
        for state in states:
            whole = {**fields, "state": state} if state else fields
            for left in [(), *((one,) for one in optional), *combinations(optional, 2), optional]:
                made.append(Event(name, whole | dict.fromkeys(left), TIME, "p"))
                absent = {field: of for field, of in whole.items() if field not in left}
                made.append(Event(name, absent, TIME, "p"))
    return made


def test_each_kind_has_words_whatever_is_left_out() -> None:
    made = forms()

    assert {event.kind for event in made} == {*KINDS}
    for event in made:
        said = dated(event)
        assert said.startswith(stamp(TIME)), event
        assert said[STAMP:].strip(), event
        assert '"schema"' not in said, event
        assert "None" not in said, event
        assert "null" not in said, event


@pytest.mark.parametrize("fields", [{}, {"reason": None}, {"x": {"y": [1]}, "state": 5}])
@pytest.mark.parametrize("kind", [*KINDS, "of another release"])
def test_what_is_not_as_it_should_be_is_told_by_its_fields(
    kind: str, fields: dict[str, object]
) -> None:
    said = dated(Event(kind, fields, TIME, "p"))

    assert said.startswith(f"{stamp(TIME)}  {kind}")
    assert ("[1]" in said) == ("x" in fields)
    assert "null" not in said


def test_a_read_ahead_that_goes_on_is_told_as_that() -> None:
    told = {
        "read": 1 << 30,
        "cached": 0,
        "total": 4 << 30,
        "seconds": 2.0,
        "where": "",
        "end": None,
    }
    event = Event("readahead", told, TIME, "p")

    assert dated(event).endswith("  read ahead 1.0 of 4.0 GiB in 2.0 s (0.5 GiB/s), and goes on")
    assert in_words(event) is None, "it is no line of a start"


def test_a_time_of_another_day_has_its_date() -> None:
    today, before = events.local(TIME), events.local("2026-11-20T12:00:00.000Z")

    assert clock(TIME, NOW) == today[11:]
    assert clock("2026-11-20T12:00:00.000Z", NOW) == before
    assert time.strftime("%Y-%m-%d", time.localtime(NOW)) == today[:10]


@pytest.mark.parametrize(
    "said", ["", "yesterday", "\x1b[31m\n2026", "x" * 5000, "2026-13-45T99:99:99Z"]
)
def test_a_time_that_is_none_is_told_as_that(said: str) -> None:
    event = Event("warning", {"reason": "hot"}, said, "p")

    assert clock(said, NOW).startswith("no time")
    assert dated(event).startswith("no time")
    assert dated(event).endswith("  warning    hot")
    assert in_words(event) == "no time  warning    hot"
    assert len(stamp(said)) == STAMP
    assert stamp(said).isprintable()


@pytest.mark.parametrize(
    ("cause", "evidence", "says"),
    [
        ("unknown", ["a", "b", "c", "d"], "no cause: b | c | d; fix: look"),
        ("unknown", [], "no cause; fix: look"),
        ("kv-room", ["a", "b"], "no cause; fix: look"),
    ],
)
def test_a_death_that_nobody_knows_has_its_last_lines(
    cause: str, evidence: list[str], says: str
) -> None:
    fields = {"run": 1, "how": "died", "cause": cause, "what": "no cause", "fix": "look"}
    told = in_words(Event("death", fields | {"evidence": evidence}, TIME, "p"))

    assert told
    assert told.endswith(f"  died       run 1 died; {cause}: {says}")
