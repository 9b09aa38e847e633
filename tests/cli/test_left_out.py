"""Which profile is meant where none is named: one rule for all commands, in the same words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from conftest import World, free_port

from launcher.cli import every_command
from launcher.cli.options import BEST, NAMED, UP
from launcher.operate import control
from launcher.statedir import home as home_of


def test_each_command_says_by_the_same_words_what_is_meant() -> None:
    groups = [one for one in every_command().values() if isinstance(one, click.Group)]
    every = [*every_command().values(), *(sub for one in groups for sub in one.commands.values())]
    told = {
        option.help
        for command in every
        for option in command.params
        if isinstance(option, click.Option) and "--profile" in option.opts
    }

    assert told <= {
        NAMED,
        UP,
        BEST,
        "The same as an argument.",
        "Print a profile that says the same.",
    }
    assert {UP, BEST} <= told


def test_one_that_is_up_is_meant_by_every_command(world: World) -> None:
    for words in ("render", "warm", "up"):
        said = world.run(words)
        assert (said.returncode, said.stdout) == (2, ""), words
        assert said.stderr.startswith(
            "error  which profile? no server is up, and none is the default"
        )
        assert_names_what_fits(world, said.stderr)
    world.run("up", "stub", "--detach")
    for words in ("render", "fit", "warm", "facts", "doctor --only model-fits", "up"):
        said = world.run(*words.split())
        assert "no profile was named: stub is up\n" in said.stderr, (words, said)
    for words in ("render --gpu b200", "fit --gpu b200", "render cpu-demo"):
        said = world.run(*words.split())
        assert "is up" not in said.stderr, (words, said)
    again = world.run("up", "stub")
    assert re.search(
        r"already up: ready since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, launcher", again.stderr
    )


def assert_names_what_fits(world: World, said: str) -> None:
    """It and `profiles` tell the same."""
    rows = json.loads(world.run("profiles", "--json").stdout)["profiles"]
    fits = [row["name"] for row in rows if row["fits"] and row["place"] != "alias"]
    assert f"name one: {', '.join(fits)} fit here; " in " ".join(said.split())


def test_of_several_that_are_up_none_is_meant(world: World) -> None:
    world.profile.with_name("other.toml").write_text(
        f'extends = "stub"\n[flags]\nport = {free_port()}\n'
    )
    for name in ("stub", "other"):
        assert world.run("up", name, "--detach").returncode == 0

    said = world.run("render")

    assert said.returncode == 2
    assert said.stderr.startswith("error  which profile? 2 servers are up (other, stub), and none")


def test_a_name_that_was_up_by_a_file_leads_to_it(world: World) -> None:
    can = world.folder / "can.toml"
    can.write_text('extends = "stub"\n')
    assert world.run("up", "./can.toml", "--detach").returncode == 0
    assert "is up" in world.run("render").stderr
    world.run("down")

    said = world.run("up", "can").stderr
    assert f"fix    `glm5-serve restart can`, or its file, {can}; " in said
    assert "card" not in said
    assert "`glm5-serve restart" not in world.run("up", "cann").stderr
    can.unlink()
    said = world.run("up", "can").stderr
    assert f"fix    put {can} back, by which it was up before; " in said
    assert "`glm5-serve restart" not in said
    again = world.run("restart", "can")
    assert (again.returncode, "starting it" in again.stderr) == (2, False), again


@pytest.mark.parametrize(
    ("uid", "named", "says"),
    [
        (0, "GLM5_SERVE_STATE_DIR", "(`unset GLM5_SERVE_STATE_DIR`) `glm5-serve status` shows"),
        (1000, "GLM5_SERVE_STATE_DIR", "`sudo glm5-serve status` shows the host's"),
        (1000, "", "`sudo glm5-serve status` shows the host's"),
    ],
)
def test_how_the_hosts_instances_are_seen(
    monkeypatch: pytest.MonkeyPatch, uid: int, named: str, says: str
) -> None:
    for name in home_of.NAMING:
        monkeypatch.delenv(name, raising=False)
    if named:
        monkeypatch.setenv(named, "/elsewhere")
    monkeypatch.setattr("os.geteuid", lambda: uid)

    monkeypatch.setattr(control, "_has_others", lambda home: True)

    assert says in control.of_others(Path("/nowhere"))
