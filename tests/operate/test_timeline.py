"""The history of starts, as commands show it."""

from __future__ import annotations

import json

import jsonschema
from conftest import ROOT, World, until


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
    assert "left by the last start" in shown
    assert "usually" in shown
    assert "weights" in shown
    world.run("down", "--now")

    told = json.loads(world.run("events", "--starts", "--json").stdout)
    assert [start["outcome"] for start in told["starts"]] == ["ready", "stopped"]
    starting = [event for event in world.events() if event["state"] == "starting"]
    assert "usual" not in starting[0]
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
    assert "cannot write" in world.run("events", "--starts", "--svg", "/no/such/x.svg").stderr


def test_where_no_start_is_over_that_is_said(world: World) -> None:
    world.instance.mkdir(parents=True, mode=0o700)
    said = world.run("events", "stub", "--starts")

    assert said.returncode == 1
    assert "no start of stub is over yet" in said.stderr
    assert world.run("events", "--svg", "x.svg").returncode == 2
