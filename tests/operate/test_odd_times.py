"""A time that somebody else wrote into an instance's files keeps nobody from reading the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import World

ODD: dict[str, object] = {
    "beyond the calendar": "99999-01-01T00:00:00.000Z",
    "before it": "-001-01-01T00:00:00Z",
    "no such day": "2026-13-45T99:99:99Z",
    "of another zone": "2026-11-27T12:00:00+99:99",
    "half of a letter": "\ud800",
    "orders to a terminal": "\x1b[31m\n2026",
    "endless": "x" * 5000,
    "nothing": "",
    "null": None,
    "a number": 5,
    "a huge one": 10**400,
    "a negative one": -1e308,
    "true": True,
    "a list": [],
    "a table": {},
}
COMMANDS = (
    *("events", "events --json", "events --since 1h", "events --tail 3", "events --starts"),
    *("status", "status stub", "status stub --json", "top --once", "bundle", "metrics"),
)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A server that was up once."""
    made = World(tmp_path_factory.mktemp("times"))
    assert made.run("up", "-p", "stub", "--detach").returncode == 0
    assert made.run("down", "-p", "stub").returncode == 0
    return made


@pytest.mark.parametrize("time", ODD.values(), ids=[*ODD])
def test_the_rest_is_read(stopped: World, time: object) -> None:
    files = ("events.jsonl", "state.json", "starts.json")
    before = {name: (stopped.instance / name).read_text() for name in files}
    events = [json.loads(line) for line in before["events.jsonl"].splitlines()]
    state, starts = json.loads(before["state.json"]), json.loads(before["starts.json"])
    told: list[dict[str, Any]] = [{**event, "time": time} for event in events[1:-1]]
    told = [events[0], *told, {k: v for k, v in events[1].items() if k != "time"}, events[-1]]
    text = {
        "events.jsonl": "".join(json.dumps(event) + "\n" for event in told),
        "state.json": json.dumps(
            {**state, "since": time, "smoke": {**state["smoke"], "time": time}}
        ),
        "starts.json": json.dumps(
            {**starts, "starts": [*starts["starts"], {**starts["starts"][0], "time": time}]}
        ),
    }
    try:
        for name, content in text.items():
            (stopped.instance / name).write_text(content)
        for words in COMMANDS:
            said = stopped.run(*words.split())
            assert said.returncode in (0, 1), (words, said.stderr)
            assert said.stderr == "" or words == "bundle", (words, said.stderr)
            assert "\x1b" not in said.stdout
        assert len(stopped.run("events", "--json").stdout.splitlines()) == len(told)
        assert "stopped" in stopped.run("status", "stub").stdout
        assert "ready" in stopped.run("events", "--starts").stdout, "one that is sound"
    finally:
        for name, content in before.items():
            (stopped.instance / name).write_text(content)
