"""`profiles` and `init` choose for the GPUs that are said, by the words that other commands have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import World

ENV = "PyTorch version : 2.13.0\n" + "".join(f"GPU {at}: NVIDIA B200\n" for at in range(8))


def fitting(world: World, *words: str) -> set[str]:
    told = json.loads(world.run("profiles", "--json", *words).stdout)
    [rows] = [value for value in told.values() if isinstance(value, list)]
    return {row["name"] for row in rows if row["fits"]}


@pytest.mark.parametrize(
    ("words", "best", "other"),
    [
        (("--gpu", "b200"), "8xb200", "8xpro6000"),
        (("--arch", "sm120"), "8xpro6000", "8xb200"),
        ((), "", "8xb200"),
    ],
)
def test_profiles_are_listed_for_the_gpus_that_are_said(
    world: World, words: tuple[str, ...], best: str, other: str
) -> None:
    found = fitting(world, *words)
    first = world.run("profiles", *words).stdout.splitlines()[1].split()

    assert best in found or not best
    assert other not in found
    assert first[:4] == [best, "yes,", "the", "default"] if best else first[1] == "yes"


def test_one_of_ones_own_that_shadows_the_best_is_the_best(world: World) -> None:
    (world.profile.parent / "8xb200.toml").write_text('extends = "8xb200-glm53"\n')
    rows = json.loads(world.run("profiles", "--json", "--gpu", "b200").stdout)["profiles"]

    assert [(row["name"], row["place"]) for row in rows if row["default"]] == [("8xb200", "user")]


def test_facts_of_a_host_say_so_too(world: World, tmp_path: Path) -> None:
    (tmp_path / "env.txt").write_text(ENV)
    facts = tmp_path / "host.json"
    facts.write_text(world.run("facts", "--from", str(tmp_path / "env.txt")).stdout)

    assert "8xb200" in fitting(world, "--facts", str(facts))
    said = world.run("init", "no/name", "--facts", str(facts))  # nothing is written
    assert said.returncode != 0
    assert "it extends 8xb200" in said.stderr


def test_a_gpu_that_nobody_knows_is_a_usage_error(world: World) -> None:
    for command in (["profiles"], ["init", "mine"]):
        said = world.run(*command, "--gpu", "b2000")
        assert said.returncode == 2
        assert "b200" in said.stderr
