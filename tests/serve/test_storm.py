"""Many shells at once, each with its own wish, and somebody who kills: one launcher or none,
nothing left.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from conftest import World, warm

ROUNDS = int(os.environ.get("GLM5_SERVE_ROUNDS", "10"))
SHELLS = 8
WITHIN = 240.0  # seconds for one round; never a measurement
WISHES = (
    *(("up", "-p", "stub", "-d"),) * 4,
    *(("down", "-p", "stub"), ("down", "-p", "stub", "--now")) * 2,
    ("restart", "-p", "stub"),
    ("status", "-p", "stub"),
)
VICTIMS = ("launcher.supervise", "glm5-reaper", "--model-path")


def kill_one(world: World, which: str) -> None:
    """Kill -9 whoever has that word in its command or name, if there is one."""
    for process in world.processes():
        with contextlib.suppress(psutil.Error):
            if which in (process.name(), *process.cmdline()):
                process.kill()
                return


def launchers(world: World) -> list[psutil.Process]:
    found = []
    for process in world.processes():
        with contextlib.suppress(psutil.Error):
            if "launcher.supervise" in process.cmdline():
                found.append(process)
    return found


@pytest.mark.timeout(600 + 60 * ROUNDS)
def test_whatever_is_wished_at_once_leaves_one_launcher_or_none(world: World) -> None:
    seed = random.randrange(1 << 30)
    chance, pool = random.Random(seed), ThreadPoolExecutor(SHELLS)
    warm()  # before many ask for it at once
    for number in range(ROUNDS):
        wishes = [chance.choice(WISHES) for _ in range(SHELLS)]
        shells = [pool.submit(world.run, *words, timeout=WITHIN) for words in wishes]
        for _ in range(chance.randrange(3)):
            time.sleep(chance.uniform(0.0, 3.0))
            kill_one(world, chance.choice(VICTIMS))
        for words, shell in zip(wishes, shells, strict=True):
            ended = shell.result(WITHIN)
            said = ended.stdout + ended.stderr
            told = f"seed {seed}, round {number}, {' '.join(words)}: {ended.returncode}\n{said}"
            assert ended.returncode in (0, 1, 78), told
            assert "Traceback" not in said, told
            assert "a bug in glm5-serve" not in said, told
        assert len(launchers(world)) <= 1, f"seed {seed}, round {number}: {wishes}"
    last = world.run("down", "-p", "stub", "--now", timeout=WITHIN)

    assert last.returncode == 0, f"seed {seed}: {last.stderr}"
    assert not world.processes(), f"seed {seed}"
