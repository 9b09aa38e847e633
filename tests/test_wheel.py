"""The wheel, as a user installs it: into an empty environment, run from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        folder,
        ROOT,
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    (made,) = folder.glob("*.whl")
    return made


def test_it_carries_the_profiles_and_nothing_of_the_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    demo = (path for path in (ROOT / "demo").rglob("*") if path.is_file())
    sources = {f"launcher/{path.relative_to(ROOT)}" for path in demo if path.suffix != ".pyc"}

    assert {"launcher/demo/recipes.toml", "launcher/demo/make_model.py"} <= sources <= names
    assert {f"launcher/profiles/{path.name}" for path in (ROOT / "profiles").iterdir()} <= names
    assert not [name for name in names if name.startswith(("tests", "demo", "bench"))]


def required(texts: list[str] | None, known: set[str]) -> Iterator[Path]:
    """What a distribution says it needs, as it lies in this environment: nothing is asked of a
    network.
    """
    for wanted in map(Requirement, texts or ()):
        name = canonicalize_name(wanted.name)
        if name in known or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        known.add(name)
        found = metadata.distribution(name)
        parts = {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}
        yield from (Path(str(found.locate_file(part))) for part in sorted(parts))
        yield from required(found.requires, known)


def test_it_runs_from_an_empty_environment_and_another_folder(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        wheel,
    ]
    subprocess.run(pip, check=True, capture_output=True, timeout=60)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (installed,) = packages.glob("glm5_serve-*.dist-info")
    for path in required(metadata.Distribution.at(installed).requires, set()):
        (packages / path.name).symlink_to(path)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(*words: str) -> str:
        command = [tmp_path / "venv/bin/glm5-serve", *words]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, cwd="/", env=environ, timeout=60
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
