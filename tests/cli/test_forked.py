"""Tests fork their commands (tests/rig/warm.py): a fork prints and ends as what is executed."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import GLM5_SERVE, PATIENCE, World, warm

COMMANDS = (
    "--version",
    "checks --json",
    "completion zsh",
    "diff 8xpro6000 8xb200",
    "fit 8xpro6000 --gpu b200",
    "frobnicate",
    "lint nothing",
    "logs -p stub",
    "profiles show card",
    "render card --set flags.port=http",
    "status",
    "up -p stub --set env.PYTHONPATH=",
)


@pytest.mark.parametrize("words", COMMANDS)
def test_it_prints_and_ends_as_what_is_executed(world: World, words: str) -> None:
    forked = warm().run(words.split(), world.environ, world.folder, PATIENCE)
    executed = subprocess.run(
        [GLM5_SERVE, *words.split()], env=world.environ, cwd=world.folder, text=True,
        capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip

    assert (forked.returncode, forked.stdout, forked.stderr) == (
        executed.returncode,
        executed.stdout,
        executed.stderr,
    )


def test_many_at_once_are_each_told_their_own(world: World) -> None:
    warm()
    with ThreadPoolExecutor(8) as shells:
        ran = shells.map(lambda number: world.run("status", f"none-{number}"), range(16))

    assert [f"no profile 'none-{n}'" in said.stderr for n, said in enumerate(ran)] == [True] * 16


def test_who_takes_too_long_is_killed_and_the_next_one_is_served(world: World) -> None:
    endless = ["metrics", "--listen", f"127.0.0.1:{world.port}"]
    with pytest.raises(subprocess.TimeoutExpired):
        warm().run(endless, world.environ, world.folder, 0.5)  # short: it has no end
    world.until_nothing_is_left()

    assert world.run("--version").returncode == 0
