"""Make the demo's engine: an environment with the real SGLang on a CPU, and a tiny model.

What is there is kept.

Both go to $XDG_CACHE_HOME/glm5-serve/cpu-demo (3.2 GB), where profile cpu-demo looks for them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from launcher.paths import home

SGLANG = "0.5.23"
HERE = Path(__file__).resolve().parent
STAND_INS = HERE / "stand_ins"
console = Console(highlight=False)


def folder() -> Path:
    """Where the engine and the model are."""
    return home(os.environ, "XDG_CACHE_HOME", ".cache") / "cpu-demo"


def ensure() -> Path:
    """The folder, with everything in it; half-made parts of an earlier try are made whole."""
    where = folder()
    where.mkdir(parents=True, exist_ok=True)
    python = where / "engine" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    with (where / "setup.log").open("ab") as log:
        recipe = [HERE / "requirements.txt", *sorted(STAND_INS.rglob("*.py"))]
        stamp = where / "engine" / ".made"
        if not _made(stamp, recipe):
            _do("making an environment", [sys.executable, "-m", "venv", where / "engine"], log)
            _do("installing torch and SGLang's needs", [*pip, "-r", HERE / "requirements.txt"], log)
            _do(f"installing SGLang {SGLANG}", [*pip, "--no-deps", f"sglang=={SGLANG}"], log)
            _place_stand_ins(python)
            stamp.write_text(_digest(recipe))
        recipe = [HERE / "make_model.py"]
        stamp = where / "model" / ".made"
        if not _made(stamp, recipe):
            _do("teaching a tiny model", [python, HERE / "make_model.py", where / "model"], log)
            stamp.write_text(_digest(recipe))
    return where


def _do(what: str, command: list[object], log: object) -> None:
    """Run one step with its output in the log, showing that it goes on; on failure show the log's
    end.
    """
    began = time.monotonic()
    # In /: a Python imports from the current folder.
    process = subprocess.Popen(
        list(map(str, command)), stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/"
    )
    try:
        _wait(process, what, began)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0:
        console.print(
            "".join((folder() / "setup.log").read_text().splitlines(keepends=True)[-20:]),
            markup=False,
        )
        sys.exit(
            f"error  {what} failed with status {process.returncode}, see {folder() / 'setup.log'}"
        )
    console.print(f"  [green]✓[/] {what:<36} {time.monotonic() - began:6.1f} s")


def _wait(process: subprocess.Popen[bytes], what: str, began: float) -> None:
    log = folder() / "setup.log"
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


def _place_stand_ins(python: Path) -> None:
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run(
        [python, "-c", asked], check=True, capture_output=True, text=True, cwd="/"
    ).stdout.strip()
    shutil.copytree(STAND_INS, site, dirs_exist_ok=True)


def _made(stamp: Path, recipe: list[Path]) -> bool:
    return stamp.exists() and stamp.read_text() == _digest(recipe)


def _digest(recipe: list[Path]) -> str:
    return hashlib.sha256(
        SGLANG.encode() + b"".join(path.read_bytes() for path in recipe)
    ).hexdigest()


if __name__ == "__main__":
    try:
        ensure()
    except KeyboardInterrupt:
        sys.exit(130)
