"""An option that a command's output names is one of that command, or is named with its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import World

from launcher.cli import cli, every_command
from launcher.config import layers
from launcher.engines.engine import NAMES, dialect

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
QUOTED = re.compile(r"`([^`]*)`")
PREFIX = re.compile(r"(?:sudo )?(?:env )?(?:[A-Z_\d]+=\S+ )*glm5-serve ")


def of_command(words: str) -> set[str]:
    """The options of the command that a command line is of; none where it is none of ours."""
    first, *rest = words.split() or [""]
    command: click.Command | None = every_command().get(first)
    if isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest[0]]
    if command is None:
        return set()
    names = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return names | {"--help"}


def ours() -> set[str]:
    """Options of whatever command that are none of an engine, too."""
    words = [
        f"{name} {sub}"
        for name, command in every_command().items()
        for sub in ("", *getattr(command, "commands", ()))
    ]
    tables = (dialect(one).options for one in NAMES)
    engines = {word for table in tables for word in table.release(table.newest).long}
    return set().union(*map(of_command, words)) - engines


def strange(words: str, said: str) -> Iterator[str]:
    """Options in what a command said that it does not have, nor the command named with them."""
    own, known = of_command(words), ours()
    said = " ".join(said.split())
    for quoted in QUOTED.findall(said):
        if at := PREFIX.match(quoted):
            other = quoted[at.end() :]
            named = {option for option in OPTION.findall(other) if option in known}
            yield from sorted(named - of_command(other))
    for quoted in [*QUOTED.findall(said), QUOTED.sub("", said)]:
        if quoted == QUOTED.sub("", said) or quoted.startswith("--"):
            yield from sorted({one for one in OPTION.findall(quoted) if one in known} - own)


@pytest.mark.parametrize(
    ("words", "said", "found"),
    [
        ("up x", "unknown (override with --release)", ["--release"]),
        ("up x", "let it fail: `--release 3`", ["--release"]),
        ("up x", "`glm5-serve up --release 3` does", ["--release"]),
        ("up x", "`glm5-serve render --release 3` does; --set a=b", []),
        ("restart", "choose another: --set flags.port=N", ["--set"]),
        ("down", "`systemctl enable --now x`, or --now", []),
        ("up x", "the engine has --tp-size and --host", []),
    ],
)
def test_the_law_finds_what_it_is_for(words: str, said: str, found: list[str]) -> None:
    assert [*strange(words, said)] == found


@pytest.mark.parametrize(
    "words",
    [
        "init open --extends 8xpro6000 --host 0.0.0.0",
        "up -p 8xpro6000",
        "warm 8xpro6000",
        "render 8xpro6000",
        "render 8xpro6000 --format kubernetes",
        "profiles show 8xpro6000",
        "profiles validate 8xpro6000",
        "doctor -p 8xpro6000",
        "fit 8xpro6000",
        "facts -p nope",
        "systemd print 8xpro6000",
        "smoke",
        "bench",
        "restart",
        "restart stub --rolling",
        "events stub",
        "logs stub",
        "status stub",
    ],
)
def test_no_command_names_an_option_that_it_lacks(words: str, world: World) -> None:
    said = world.run(*words.split())

    assert [*strange(words, said.stderr)] == [], said.stderr


def test_init_names_no_option_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes, as root below /etc: here into a folder of the test's own."""
    monkeypatch.setattr(layers, "HOST", tmp_path / "etc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    words = "init mine --extends 8xpro6000"
    said = CliRunner().invoke(cli, words.split())

    assert said.exit_code == 0, said.output
    assert [*strange(words, said.stderr)] == [], said.stderr


@pytest.mark.parametrize(
    "change",
    [
        '[flags]\nhost = "0.0.0.0"',
        '[flags]\nhost = "192.0.2.1"',
        'model-path = "/nowhere"',
        '[access]\napi_key_file = "/nowhere"',
        '[doctor]\nallow = ["port-free"]\n[flags]\nhost = "192.0.2.1"',
    ],
)
def test_a_restart_that_is_refused_names_what_its_profile_takes(change: str, world: World) -> None:
    base = world.profile.with_name("base.toml")
    base.write_text(world.profile.read_text())
    world.profile.write_text('extends = "base"\n')
    assert world.run("up", "stub", "--detach").returncode == 0
    world.profile.write_text(f'extends = "base"\n{change}\n')

    said = world.run("restart", "stub")

    assert said.returncode != 0, said
    assert [*strange("restart stub", said.stderr)] == [], said.stderr
    assert world.status()["state"] == "ready"
