"""Whoever uses one engine reads its name, and not the other's; who has chosen none reads both."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from conftest import World
from rig import packaged

from launcher.cli import cli
from launcher.engines.engine import NAMES, dialect
from launcher.formats.writers import CONTAINERS, WRITERS

NAMED = {kind: re.compile(rf"\b{dialect(kind).name}\b|\b{kind}\b(?!-)") for kind in NAMES}
OTHER = {"sglang": "vllm", "vllm": "sglang"}
ONE_OF_EACH = {"sglang": "8xb200", "vllm": "8xb200-vllm"}


def commands(of: click.Command, named: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield named
    if isinstance(of, click.Group):
        for name in of.list_commands(click.Context(of)):
            found = of.get_command(click.Context(of), name)
            if found is not None:
                yield from commands(found, (*named, name))


def test_help_that_names_an_engine_names_both(world: World) -> None:
    """`bench` and the like are of either; an option of the one alone would say so in its name."""
    for named in commands(cli):
        said = world.run(*named, "--help").stdout
        told = {kind for kind in NAMES if NAMED[kind].search(said)}

        assert told in (set(), set(NAMES)), (named, told)


@pytest.mark.parametrize("kind", NAMES)
def test_no_text_of_a_profile_names_the_other_engine(world: World, kind: str) -> None:
    name, foreign = ONE_OF_EACH[kind], NAMED[OTHER[kind]]
    (world.folder / "key").write_text("a-key-of-the-tests")
    (world.folder / "key").chmod(0o600)
    forms = [
        ("render", name, "--gpu", "b200", "--format", form, "--api-key-file", "key")
        for form in (*WRITERS, *CONTAINERS)
    ]
    for words in (*forms, ("systemd", "print", name), ("status", name), ("profiles", "show", name)):
        done = world.run(*words)
        said = done.stdout + done.stderr

        assert said
        assert not [line for line in said.splitlines() if foreign.search(line)], words


@pytest.mark.parametrize("kind", NAMES)
def test_no_text_of_a_profile_has_a_flag_of_the_other_engine_alone(world: World, kind: str) -> None:
    """What is to be set is called as the profile's engine calls it."""
    ours, theirs = dialect(kind), dialect(OTHER[kind])
    own, foreign = ours.option_of("model_path"), theirs.option_of("model_path")
    said = world.run("render", ONE_OF_EACH[kind], "--gpu", "b200", "--format", "docker").stdout

    assert f"flags.{own}=" in said
    assert f"flags.{foreign}=" not in said


def test_the_profiles_are_of_both_engines() -> None:
    assert all(packaged.engine(name) == kind for kind, name in ONE_OF_EACH.items())
