"""The demo's engines: an environment with a real engine for CPUs, and a tiny model for all.

What is there is kept. All goes to $XDG_CACHE_HOME/glm5-serve, where the profiles look for it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from launcher.engines.engine import dialect
from launcher.errors import Exit, UserError
from launcher.paths import home
from launcher.plan.plan import ENGINE

DATA = Path(__file__).parents[1] / "demo"
SHOWN = 20  # lines of a step's output, where it fails


@dataclass(frozen=True)
class Recipe:
    """One engine, what is installed of it, and where."""

    key: str
    release: str
    package: str
    profile: str  # and the folder in the cache
    gb: float  # on disk, with a torch for CPUs
    cache: Path

    @property
    def name(self) -> str:
        return dialect(self.key).name

    @property
    def folder(self) -> Path:
        return self.cache / self.profile

    @property
    def engine(self) -> Path:
        return self.folder / "engine"

    @property
    def python(self) -> Path:
        return self.engine / "bin/python"

    @property
    def log(self) -> Path:
        return self.folder / "setup.log"

    @property
    def needs(self) -> Path:
        return DATA / f"{self.key}.txt"

    @property
    def stand_ins(self) -> Path:
        return DATA / "stand_ins" / self.key


class Screen(Protocol):
    """Where it is shown what goes on."""

    def note(self, text: str) -> None:
        """A sentence."""

    def wait(self, what: str, process: subprocess.Popen[bytes], log: Path) -> None:
        """Show that a step goes on, until its process has ended."""

    def done(self, what: str, seconds: float) -> None:
        """A step that is over."""


def recipes(environ: Mapping[str, str]) -> dict[str, Recipe]:
    """The engines that there are recipes for, by name."""
    rows = tomllib.loads((DATA / "recipes.toml").read_text(encoding="utf-8"))
    cache = home(environ, "XDG_CACHE_HOME", ".cache")
    return {key: Recipe(key, cache=cache, **row) for key, row in rows.items()}


def model(environ: Mapping[str, str]) -> Path:
    """The tiny model, that every engine serves: an answer does not tell who gave it."""
    return recipes(environ)[ENGINE].folder / "model"


def of(keys: Sequence[str], environ: Mapping[str, str]) -> list[Recipe]:
    """The engines that were named, the usual one where none is. Raises UserError (usage)."""
    known = recipes(environ)
    for key in keys:
        if key not in known:
            fix = f"one of {', '.join(known)}"
            raise UserError(f"the demo has no engine {key!r}", fix=fix, status=Exit.USAGE)
    return [known[key] for key in keys or (ENGINE,)]


def ensure(recipe: Recipe, screen: Screen) -> None:
    """Make the engine and the model; half-made parts of an earlier try are completed.

    Raises UserError where a step fails, or the disk is too small.
    """
    recipe.folder.mkdir(parents=True, exist_ok=True)
    _ensure_engine(recipe, screen)
    made, by = model(os.environ), DATA / "make_model.py"
    if not _is_made(made, digest := _digest("", [by])):
        _do(recipe, screen, "teaching a tiny model", [recipe.python, by, made])
        (made / ".made").write_text(digest)


def _ensure_engine(recipe: Recipe, screen: Screen) -> None:
    stand_ins = sorted(path for path in recipe.stand_ins.rglob("*") if _is_source(path))
    if _is_made(recipe.engine, digest := _digest(recipe.release, [recipe.needs, *stand_ins])):
        return
    _require_room(recipe)
    for line in announced(recipe):
        screen.note(line)
    pip = [recipe.python, "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--progress-bar", "off"]
    package = f"{recipe.package}=={recipe.release}"
    _do(recipe, screen, "making an environment", [sys.executable, "-m", "venv", recipe.engine])
    _do(recipe, screen, f"installing what {recipe.name} needs", [*pip, "-r", recipe.needs])
    _do(recipe, screen, f"installing {recipe.name} {recipe.release}", [*pip, "--no-deps", package])
    _place_stand_ins(recipe)
    (recipe.engine / ".made").write_text(digest)


def announced(recipe: Recipe) -> Iterator[str]:
    """What is about to be downloaded, and where it goes."""
    yield (
        f"downloads {recipe.name} {recipe.release}, torch and what they need: {recipe.gb} GB in"
        f" {recipe.folder}"
    )
    if platform.machine() == "x86_64":
        yield (
            "on x86-64 PyPI's torch brings CUDA libraries of several GB more: for a torch without"
            " them press Ctrl-C, and point pip at an index that has one (PIP_EXTRA_INDEX_URL)"
        )


def _require_room(recipe: Recipe) -> None:
    free = shutil.disk_usage(recipe.folder).free
    if free < recipe.gb * 1e9:
        fix = "make room, or set XDG_CACHE_HOME to a folder on a larger disk"
        what = f"{recipe.gb} GB are to come, and {recipe.folder} has {free / 1e9:.1f} GB free"
        raise UserError(what, fix=fix)


def _do(recipe: Recipe, screen: Screen, what: str, command: list[object]) -> None:
    """Run one step with its output in the log. Raises UserError where it fails."""
    began = time.monotonic()
    with recipe.log.open("ab") as file:
        # In /: a Python imports from the current folder.
        process = subprocess.Popen(
            list(map(str, command)), stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd="/"
        )
    try:
        screen.wait(what, process, recipe.log)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        said = recipe.log.read_text(errors="replace").splitlines()[-SHOWN:]
        for line in said:
            screen.note(line)
        is_debian = any("ensurepip" in line for line in said)
        fix = "`apt install python3-venv`" if is_debian else "run it again: what is made is kept"
        what = f"{what}: exit status {process.returncode}, see {recipe.log}"
        raise UserError(what, fix=fix, status=Exit.NO)
    screen.done(what, time.monotonic() - began)


def _place_stand_ins(recipe: Recipe) -> None:
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run(
        [recipe.python, "-c", asked], check=True, capture_output=True, text=True, cwd="/"
    ).stdout.strip()
    shutil.copytree(
        recipe.stand_ins, site, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _is_made(folder: Path, digest: str) -> bool:
    stamp = folder / ".made"
    return stamp.exists() and stamp.read_text() == digest


def _digest(release: str, recipe: list[Path]) -> str:
    made = hashlib.sha256(release.encode())
    for path in recipe:
        made.update(path.read_bytes())
    return made.hexdigest()
