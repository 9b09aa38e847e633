"""The history of starts, as commands show it."""

from __future__ import annotations

import json
import random

import jsonschema
import pytest
from conftest import ROOT, World, until

from launcher.output.bars import BLOCKS
from launcher.output.starts import HEAD, lines
from launcher.statedir import starts
from launcher.statedir.starts import PastStart


def test_a_start_is_kept_and_the_next_one_is_told_beside_it(world: World) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    world.run("down")
    [first] = json.loads((world.instance / "starts.json").read_text())["starts"]
    assert (first["outcome"], first["run"], first["model"]) == ("ready", 1, "stub")
    assert first["seconds"]["process"] > 0

    world.faults(load_seconds=30)
    world.start("up", "-p", "stub", "--json")
    until(lambda: (world.status().get("start") or {}).get("phase") == "weights", "it loads")
    shown = world.run("status").stdout
    assert "left by the last start" in shown or "due by the last start" in shown
    assert "usually" in shown
    assert "weights" in shown
    world.run("down", "--now")

    told = json.loads(world.run("events", "--starts", "--json").stdout)
    assert [start["outcome"] for start in told["starts"]] == ["ready", "stopped"]
    assert told["starts"][1]["seconds"] == world.status()["start"]["seconds"], "one figure"
    starting = [event for event in world.events() if event["state"] == "starting"]
    assert "usual" not in starting[0]
    assert [event["reason"] for event in starting] == ["first start", "started"]
    assert starting[-1]["usual"] == {"of": 1, "seconds": first["seconds"]}
    schema = json.loads((ROOT / "docs/events.schema.json").read_text())
    jsonschema.validate(starting[-1], schema)

    picture = world.folder / "starts.svg"
    said = world.run("events", "--starts", "--svg", picture)
    assert said.returncode == 0, said.stderr
    assert "killed at once, asked for by `down --now`" in said.stdout
    assert "the last that became ready, run 1" in said.stdout
    assert picture.read_text().startswith("<svg")
    assert world.run("events", "--starts", "--svg", "x.png").returncode == 2
    nowhere = world.run("events", "--starts", "--svg", world.folder / "none/x.svg")
    assert "cannot write" in nowhere.stderr


def texts(*past: PastStart, width: int = 100) -> list[str]:
    made = lines(past, width, BLOCKS)
    return ["".join(text for text, _ in line).rstrip() for line in made]


@pytest.mark.parametrize("seconds", [0.0, 0.1, 999_999.9, 1_000_000.0, starts.LONGEST])
@pytest.mark.parametrize("said", ["2026-11-26T20:01:02.345Z", "yesterday", "", "x" * 5000])
def test_columns_stand_whatever_a_start_says(seconds: float, said: str) -> None:
    took = {"process": 10.0, "weights": seconds}
    title, one, *_ = texts(PastStart(said, 1, "failed", "why", "m", "sglang", None, took))

    assert title.index("seconds") + len("seconds") == HEAD - 2
    assert one[: HEAD - 2].split()[-1].replace(".", "").isdigit()
    assert one[HEAD - 2 : HEAD] == "  "
    assert one.startswith("no time") == (not said.startswith("2026"))


def test_a_phase_that_nobody_knows_has_a_sign() -> None:
    took = {"process": 10.0, "tea": 10.0}
    _, one, *rest = texts(PastStart("", 1, "ready", "", "m", "sglang", None, took))

    assert "pppp" in one
    assert one.count("p") == one.count("?")
    assert any("? tea: not known" in line for line in rest)


def test_files_that_are_none_are_named_with_what_to_do(world: World) -> None:
    world.instance.mkdir(parents=True, mode=0o700)
    events, starts_ = world.instance / "events.jsonl", world.instance / "starts.json"
    events.write_bytes(random.Random(1).randbytes(300_000))
    starts_.mkdir()
    for words, path in (
        (("events", "stub"), events),
        (("events", "stub", "--starts"), starts_),
    ):
        said = world.run(*words)
        assert said.returncode != 0
        assert str(path) in said.stderr
        assert f"`mv {path} {path}.odd`" in said.stderr
    starts_.rmdir()
    events.write_text("")
    assert world.run("events", "stub").stderr == "stub has no event\n"


def test_lines_that_are_no_event_are_counted(world: World) -> None:
    world.instance.mkdir(parents=True, mode=0o700)
    events = world.instance / "events.jsonl"
    line = (
        '{"schema": 1, "time": "2026-11-26T20:01:02.345Z", "profile": "stub", "event": "warning"}'
    )
    events.write_text(f"{line}\n\n{line[:30]}\n[]\n{line}\n")
    for words in ((), ("--json",), ("--last", "1")):
        said = world.run("events", "stub", *words)
        assert said.returncode == 0
        assert f"left out: 2 lines of {events}, no event" in " ".join(said.stderr.split())
        assert len(said.stdout.splitlines()) == (1 if "--last" in words else 2)


def test_where_no_start_is_over_that_is_said(world: World) -> None:
    world.instance.mkdir(parents=True, mode=0o700)
    said = world.run("events", "stub", "--starts")

    assert said.returncode == 1
    assert "no start of stub is over yet" in said.stderr
    assert world.run("events", "--svg", "x.svg").returncode == 2
