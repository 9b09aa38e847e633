"""The engine's interpreter is asked once for a command: each of its starts is counted."""

from __future__ import annotations

import json
import sys

import pytest
from conftest import World


class Counted:
    """A profile whose interpreter notes each start, by the option that it is started with."""

    def __init__(self, world: World) -> None:
        self.world, self.file = world, world.folder / "started"
        python = world.folder / "counted/python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\necho "$1" >> {self.file}\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        world.profile.write_text(
            world.profile.read_text().replace(f'"{sys.executable}"', f'"{python}"')
        )

    def starts(self, *words: str, status: int = 0) -> list[str]:
        """What one command starts: "-c" asks, "-m" serves."""
        self.file.write_text("")
        said = self.world.run(*words)
        assert said.returncode == status, said.stderr + said.stdout
        return self.file.read_text().split()


@pytest.fixture
def counted(world: World) -> Counted:
    return Counted(world)


@pytest.mark.parametrize("command", ["render", "facts", "doctor"])
def test_who_only_looks_asks_the_engine_once(counted: Counted, command: str) -> None:
    assert counted.starts(command, "-p", "stub") == ["-c"]


def test_an_up_and_a_restart_ask_the_engine_once_each(counted: Counted) -> None:
    assert counted.starts("up", "-p", "stub", "-d") == ["-c", "-m"]
    assert counted.starts("restart", "-p", "stub") == ["-c", "-m"]


def test_an_up_that_is_refused_has_asked_once(counted: Counted) -> None:
    assert counted.starts("up", "-p", "stub", "--set", "flags.model-path=/no/model", status=78) == [
        "-c"
    ]


def test_a_profile_that_others_may_have_written_has_its_engine_asked_by_nobody(
    counted: Counted,
) -> None:
    counted.world.profile.chmod(0o666)

    assert counted.starts("doctor", "-p", "stub", status=1) == []
    assert counted.starts("up", "-p", "stub", status=78) == []


def test_doctor_judges_the_release_that_the_plan_was_made_for(counted: Counted) -> None:
    facts = json.loads(counted.world.run("facts", "-p", "stub").stdout)
    plan = json.loads(counted.world.run("render", "-p", "stub", "--json").stdout)

    assert facts["engine"]["packages"]["sglang"] == plan["release"]
