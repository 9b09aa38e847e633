"""The wheel, as a user installs it: into an empty environment, run from another folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from rig import installed

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed.wheel(tmp_path_factory.mktemp("wheel"))


def test_it_carries_the_profiles_and_nothing_of_the_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    demo = (path for path in (ROOT / "demo").rglob("*") if path.is_file())
    sources = {f"launcher/{path.relative_to(ROOT)}" for path in demo if path.suffix != ".pyc"}

    assert {"launcher/demo/recipes.toml", "launcher/demo/make_model.py"} <= sources <= names
    assert {f"launcher/profiles/{path.name}" for path in (ROOT / "profiles").iterdir()} <= names
    assert not [name for name in names if name.startswith(("tests", "demo", "bench"))]


def test_it_carries_every_schema_of_what_is_printed(wheel: Path) -> None:
    shipped = zipfile.ZipFile(wheel)
    place = re.compile(r"glm5_serve-[^/]+\.data/data/share/glm5-serve/(.+)")
    found = {match[1]: name for name in shipped.namelist() if (match := place.fullmatch(name))}
    written = {path.name: path.read_bytes() for path in (ROOT / "docs").glob("*.schema.json")}

    assert len(written) >= 5
    assert {name: shipped.read(where) for name, where in found.items()} == written
    page = (ROOT / "docs/install.md").read_text()
    assert [name for name in written if f"]({name})" not in page] == []


def test_it_runs_from_an_empty_environment_and_another_folder(wheel: Path, tmp_path: Path) -> None:
    command = installed.environment(tmp_path / "venv", wheel)
    python = command.with_name("python")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*words: str) -> str:
        return subprocess.run(
            [command, *words],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
            env=environ,
            timeout=60,
        ).stdout

    rows = json.loads(run("profiles", "--json"))["profiles"]
    assert {row["name"] for row in rows} >= {"8xpro6000", "card", "cpu-demo"}
    assert all(row["path"].startswith(str(tmp_path)) for row in rows)
    assert "--tp-size 8" in run("render", "--profile", "8xpro6000")
    facts = json.loads(run("facts"))
    assert facts["engine"]["python"].endswith("python3")
    assert "not observed" not in json.dumps(facts["driver"]["gpus"])
    assert "The first time it downloads the engine" in run("demo", "--help")
    assert json.loads(run("profiles", "schema"))["title"] == "A profile of glm5-serve"
    assert run("--version").startswith("glm5-serve, version 0.1.0")
    found = subprocess.run(
        [python, "-c", "import importlib.util as u; print(u.find_spec('sglang'))"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert found.stdout == "None\n"
