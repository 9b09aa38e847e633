"""The demo without its engine: what it makes, how it goes, what it leaves, what is in its way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import GLM5_SERVE, PATIENCE, World

from launcher.cli import cli
from launcher.engines.engine import NAMES
from launcher.errors import Exit, UserError
from launcher.operate import demo_engine
from launcher.operate.demo_engine import DATA, Recipe, announced, ensure, recipes


@dataclass
class Told:
    """A screen that keeps what it is shown."""

    notes: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def wait(self, what: str, process: subprocess.Popen[bytes], log: Path) -> None:
        process.wait(60)

    def done(self, what: str, seconds: float) -> None:
        self.steps.append(what)


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_recipe_for_each_engine(name: str, tmp_path: Path) -> None:
    recipe = recipes({"XDG_CACHE_HOME": str(tmp_path)})[name]

    assert recipe.needs.is_file()
    assert recipe.stand_ins.is_dir()
    assert (DATA.parent / "profiles" / f"{recipe.profile}.toml").is_file()
    assert recipe.engine == tmp_path / "glm5-serve" / recipe.profile / "engine"
    assert str(recipe.gb) in next(announced(recipe))


@pytest.mark.parametrize("name", NAMES)
def test_who_has_not_prepared_it_is_told_how(name: str, world: World) -> None:
    recipe = recipes({"XDG_CACHE_HOME": str(world.folder)})[name]
    nothing = {"XDG_CACHE_HOME": str(world.folder)}
    up = world.run("up", recipe.profile, **nothing)
    warm = world.run("warm", recipe.profile, **nothing)

    way = f"`glm5-serve demo --prepare --engine {name}` makes it"
    assert (up.returncode, up.stderr.count(way), warm.stdout.count(way)) == (78, 1, 1)


def test_cuda_is_told_of_where_it_comes_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes({"XDG_CACHE_HOME": str(tmp_path)})["sglang"]
    for machine, lines in (("x86_64", 2), ("aarch64", 1)):
        monkeypatch.setattr("platform.machine", lambda told=machine: told)
        said = [*announced(recipe)]

        assert len(said) == lines
        assert ("CUDA" in " ".join(said)) == (lines == 2)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """An engine without needs, whose package no index has."""
    data = tmp_path / "data"
    (data / "stand_ins/sglang/odd").mkdir(parents=True)
    (data / "stand_ins/sglang/odd/__init__.py").write_text("")
    (data / "sglang.txt").write_text("")
    (data / "make_model.py").write_text(
        "import pathlib, sys; pathlib.Path(sys.argv[1]).mkdir(); import odd"
    )
    row = 'release = "1"\npackage = "sglang"\nprofile = "cpu-demo"\ngb = 0.001\n'
    (data / "recipes.toml").write_text(f"[sglang]\n{row}")
    monkeypatch.setattr(demo_engine, "DATA", data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return recipes(os.environ)["sglang"]


def test_a_step_that_fails_shows_the_end_of_its_log_and_is_tried_again(recipe: Recipe) -> None:
    told = Told()
    with pytest.raises(UserError, match="installing SGLang 1: exit status 1") as caught:
        ensure(recipe, told)

    assert (caught.value.status, str(recipe.log) in caught.value.what) == (Exit.NO, True)
    assert any("No matching distribution" in line for line in told.notes)
    assert told.steps == ["making an environment", "installing what SGLang needs"]
    # An index that has it: a folder.
    wheels = recipe.folder.parent / "wheels"
    project = wheels / "project"
    project.mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "sglang"\nversion = "1"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["*.txt"]\n'
    )
    (project / "x.txt").write_text("x")
    build = "pip wheel -q --no-deps --no-build-isolation -w".split()
    subprocess.run([sys.executable, "-m", *build, wheels, project], check=True, timeout=60)
    os.environ["PIP_FIND_LINKS"] = str(wheels)
    try:
        ensure(recipe, again := Told())
    finally:
        del os.environ["PIP_FIND_LINKS"]

    assert again.steps[-2:] == ["installing SGLang 1", "teaching a tiny model"]
    ensure(recipe, third := Told())
    assert (third.steps, third.notes) == ([], [])


def test_a_disk_that_is_too_small_is_told_before_anything_is_downloaded(recipe: Recipe) -> None:
    told = Told()
    with pytest.raises(UserError, match="GB are to come") as caught:
        ensure(replace(recipe, gb=1e9), told)

    assert "XDG_CACHE_HOME" in caught.value.fix
    assert (told.notes, told.steps) == ([], [])


@pytest.fixture
def made(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A demo that is made already, and serves the stand-in engine."""
    for name, value in world.environ.items():
        monkeypatch.setenv(name, value)
    stub = Recipe("sglang", "1", "sglang", "stub", 1.0, world.folder)
    monkeypatch.setattr(demo_engine, "recipes", lambda environ: {"sglang": stub})
    monkeypatch.setattr(demo_engine, "ensure", lambda recipe, screen: None)
    monkeypatch.setattr("launcher.output.demo.ensure", lambda recipe, screen: None)
    return world


def test_it_goes_from_up_to_an_answer_and_leaves_nothing(made: World) -> None:
    ran = CliRunner().invoke(cli, ["demo"])

    assert ran.exit_code == 0, ran.output
    order = ["engine  SGLang", "up  glm5-serve up", "chat  POST", "assistant", "start", "down  "]
    assert [ran.stdout.index(f"{word}") for word in order] == sorted(
        ran.stdout.index(f"{word}") for word in order
    )
    assert "stub is down" in ran.stdout
    assert "glm5-serve up stub" in ran.stderr
    made.until_nothing_is_left()


def test_for_a_script_it_is_one_line(made: World) -> None:
    ran = CliRunner().invoke(cli, ["demo", "--json"])
    told = json.loads(ran.stdout)

    assert (told["schema"], told["engine"], told["profile"]) == (1, "sglang", str(made.profile))
    assert told["answer"]
    assert told["seconds"]["weights"] >= 0
    made.until_nothing_is_left()


def test_what_is_up_already_stays_up(made: World) -> None:
    up = [GLM5_SERVE, "up", "stub", "--detach"]
    subprocess.run(up, env=made.environ, cwd=made.folder, check=True, timeout=PATIENCE)
    ran = CliRunner().invoke(cli, ["demo"], standalone_mode=False)

    assert ran.return_value not in (0, None)
    assert made.status()["state"] == "ready"


def test_an_engine_without_a_recipe_is_refused(made: World) -> None:
    told = CliRunner().invoke(cli, ["demo", "--engine", "vllm"]).exception

    assert isinstance(told, UserError)
    assert (told.status, "no engine 'vllm'" in told.what) == (Exit.USAGE, True)
