"""Whoever reads less than all changes nothing, and what cannot be written is told: of every command
alike.
"""

from __future__ import annotations

import os
import subprocess

import pytest
from conftest import FULL, GLM5_SERVE, PATIENCE, World, needs_full_disk, warm

COMMANDS = {
    "--help": 0,
    "--version": 0,
    "checks --json": 0,
    "completion bash": 0,
    "diff 8xpro6000 8xb200": 1,
    "fit 8xpro6000 --gpu rtx-pro-6000 --json": 0,
    "metrics": 0,
    "profiles": 0,
    "render stub": 0,
    "render stub --json": 0,
    "top --json --interval 0.2": 0,
    "top --once --interval 0.2": 0,
    "warm stub": 0,
}


# One of each way to print; of the others, which print alike, a fork does.
EXECUTED = ("--version", "checks --json", "diff 8xpro6000 8xb200", "render stub", "top --once --interval 0.2")  # fmt: skip


def printed(world: World, words: str, output: int) -> subprocess.CompletedProcess[str]:
    """A command whose output goes to a descriptor, which is closed."""
    try:
        if words in COMMANDS.keys() - {*EXECUTED}:
            return warm().run(words.split(), world.environ, world.folder, PATIENCE, output)
        return subprocess.run(
            [GLM5_SERVE, *words.split()],
            env=world.environ,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(output)


def nobody_reads() -> int:
    """A pipe whose reader is gone."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


@pytest.mark.parametrize("words", COMMANDS)
def test_a_reader_that_is_gone_is_no_fault(world: World, words: str) -> None:
    ran = printed(world, words, nobody_reads())

    assert (ran.returncode, ran.stderr) == (COMMANDS[words], "")


@needs_full_disk
@pytest.mark.parametrize("words", [*COMMANDS])
def test_a_full_disk_is_told(world: World, words: str) -> None:
    ran = printed(world, words, os.open(FULL, os.O_WRONLY))

    assert ran.returncode == 78
    assert ran.stderr.startswith("error  cannot write the output: no space left on device\nfix    ")
    assert ran.stderr.count("\n") == 2


@pytest.mark.parametrize("words", ["logs -f", "events -f"])
def test_who_follows_for_nobody_ends(world: World, words: str) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    ran = printed(world, words, nobody_reads())

    assert (ran.returncode, ran.stderr) == (0, "")
