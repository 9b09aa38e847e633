"""An upgrade under a launcher that runs: its files change beneath it, and it neither fails nor
notices, until `restart` takes the new version.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import PATIENCE, World, until
from rig import installed

from launcher import __version__


class Installed(World):
    """A world whose commands are those of an environment of its own."""

    command: Path

    def run(self, *words: str | Path, timeout: float = PATIENCE, **environ: str) -> Any:
        return subprocess.run(
            [self.command, *words],
            env=self.environ | environ,
            cwd=self.folder,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def upgrade(self, wheel: Path) -> None:
        installed.install(self.folder / "venv", wheel)
        assert installed.NEXT in self.run("--version").stdout

    def version(self) -> str:
        """Of the launcher that runs."""
        state = json.loads((self.instance / "state.json").read_text())
        return str(state["launcher"]["version"])


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """This version's, and the next one's."""
    old = installed.wheel(tmp_path_factory.mktemp("wheels"))
    return old, installed.successor(old)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheels: tuple[Path, Path]) -> Path:
    """One with this version, to be copied."""
    made = tmp_path_factory.mktemp("environment") / "venv"
    installed.environment(made, wheels[0])
    return made


@pytest.fixture
def world(world: World, environment: Path) -> Installed:
    """The world, with this version installed."""
    world.__class__ = Installed
    assert isinstance(world, Installed)
    world.command = installed.copied(environment, world.folder / "venv")
    return world


def warnings(world: World) -> list[str]:
    return [event["reason"] for event in world.events("warning")]


def test_a_launcher_goes_on_as_it_was_started_and_restart_takes_the_new_version(
    world: Installed, wheels: tuple[Path, Path]
) -> None:
    assert (up := world.run("up", "-p", "stub", "-d")).returncode == 0, up.stderr
    before = world.status()["pids"]
    world.upgrade(wheels[1])

    psutil.Process(before["server"]).kill()
    world.until_state("ready", restarts=1)
    assert world.version() == __version__
    assert not warnings(world), "nothing of the new version was imported"
    assert (status := world.run("status")).returncode == 0, status.stdout
    older = f"of glm5-serve {__version__}; {installed.NEXT} is installed: `glm5-serve restart -p"
    assert older in " ".join(status.stdout.split())
    assert world.run("smoke").returncode == 0

    assert (again := world.run("restart")).returncode == 0, again.stderr
    after = world.status()
    assert after["state"] == "ready"
    assert world.version() == installed.NEXT
    assert after["pids"]["launcher"] == before["launcher"], (
        "the same process, for whoever waits for it"
    )
    became = f"glm5-serve {__version__} became {installed.NEXT}: that takes over from here"
    assert warnings(world) == [became]
    assert "launcher " not in world.run("status").stdout.partition("process")[0]

    psutil.Process(after["pids"]["server"]).kill()
    world.until_state("ready", restarts=1)
    assert world.run("down").returncode == 0
    world.until_nothing_is_left()


def test_a_hung_server_and_a_stop_are_dealt_with_by_the_version_that_is_gone(
    world: Installed, wheels: tuple[Path, Path]
) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    world.upgrade(wheels[1])
    world.faults(health_status=503)
    until(lambda: world.events("death"), "the hang is found")
    world.faults()
    world.until_state("ready")
    assert not warnings(world)
    assert world.run("logs").returncode == 0
    assert world.run("down").returncode == 0
    world.until_nothing_is_left()
    assert world.status()["state"] == "stopped"


def test_a_restart_that_is_stopped_meanwhile_leaves_nothing(
    world: Installed, wheels: tuple[Path, Path]
) -> None:
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    world.upgrade(wheels[1])
    world.faults(load_seconds=30)
    restart = subprocess.Popen(
        [world.command, "restart"], env=world.environ, stderr=subprocess.DEVNULL, cwd=world.folder
    )
    until(lambda: world.version() == installed.NEXT, "the new version has taken over")
    assert world.run("down").returncode == 0
    assert restart.wait(PATIENCE) == 1
    world.until_nothing_is_left()


FIX = "`glm5-serve down --profile stub`, then `up`"
OTHER_STATE = f"has schema 0, this glm5-serve reads 1: {FIX}, starts fresh"
OTHER_PLAN = f"a plan of schema 0, wanted 1\nfix    {FIX}"
BEGINS = "starting   stub, "
READ = {  # what reads a folder of another schema: its exit status, and what it says then
    "status -p stub": (1, OTHER_STATE),
    "status --json": (1, OTHER_STATE),
    "logs -p stub": (0, "The server is fired up"),
    "events -p stub": (0, BEGINS),
    "metrics": (0, 'profile="stub",state="unknown"} 1.0'),
    "bundle -p stub -o bundle.tar.gz": (0, "wrote bundle.tar.gz"),
}
ASK = {
    "smoke -p stub": (1, OTHER_PLAN),
    "restart -p stub": (1, OTHER_PLAN),
}


def test_a_version_with_other_files_is_looked_at_and_taken_down_and_a_start_begins_anew(
    world: Installed, wheels: tuple[Path, Path], tmp_path: Path
) -> None:
    def says(wanted: Mapping[str, tuple[int, str]]) -> None:
        for words, (status, text) in wanted.items():
            done = world.run(*words.split())
            assert (done.returncode, text in done.stdout + done.stderr) == (status, True), done

    installed.install(world.folder / "venv", installed.predecessor(wheels[0], tmp_path))
    assert (up := world.run("up", "-p", "stub", "-d")).returncode == 0, up.stderr
    server = json.loads((world.instance / "state.json").read_text())["pids"]["server"]
    installed.install(world.folder / "venv", wheels[0])

    says(READ | ASK)
    assert psutil.pid_exists(server), "what runs was left alone"
    assert world.run("down").returncode == 0
    world.until_nothing_is_left()
    says(READ)
    assert (up := world.run("up", "-p", "stub", "-d")).returncode == 0, up.stderr
    assert (world.version(), world.status()["state"]) == (__version__, "ready")
    assert world.run("events").stdout.count(BEGINS) == 2, "the history of both"


def test_the_same_holds_where_the_files_are_gone_for_good(world: Installed) -> None:
    """A package that was removed: what it started drains by a signal."""
    assert world.run("up", "-p", "stub", "-d").returncode == 0
    pids = world.status()["pids"]
    (package,) = (world.folder / "venv/lib").glob("python*/site-packages/launcher")
    package.rename(package.with_name("gone"))
    psutil.Process(pids["server"]).kill()
    world.until_state("ready", restarts=1)
    os.kill(pids["launcher"], 15)
    world.until_nothing_is_left()
    assert world.status()["state"] == "stopped"
