"""Lay out the playground, a static site: `python playground/build.py FOLDER`.

What it is made of is pinned: package-lock.json (npm) and wheels.txt (PyPI), with hashes. Both are
fetched once, into the cache. The same checkout gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PINS = ("package.json", "package-lock.json", "wheels.txt")
# The Python of pyodide 314: CPython 3.14, whose wheels PyPI has since PEP 783.
BROWSER = ("pyemscripten_2026_0_wasm32", "cp314")
ELSEWHERE = ("manylinux2014_x86_64", "cp314")  # PyYAML has none for it: its Python part will do
PYODIDE = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)
PARSER = (
    "web-tree-sitter/web-tree-sitter.js",
    "web-tree-sitter/web-tree-sitter.wasm",
    "tree-sitter-bash/tree-sitter-bash.wasm",
)
NOT_NEEDED = ("/v1/", ".dist-info/", ".pyi", "py.typed", ".so")
EXAMPLES = {
    "card.sh": ("tests/golden/card-0.5.23.sh",),
    "nccl-hang.log": ("tests/diagnose/cases/06-nccl-heartbeat-monitor.log",),
    "host.txt": tuple(
        f"tests/hosts/asus8x/{name}.txt"
        for name in ("nvidia_smi_q", "nvidia_topo", "lspci", "dmesg", "cmdline", "lscpu", "numa")
    ),
}


def main() -> int:
    """Fetch what is missing, and write the site."""
    parser = argparse.ArgumentParser(description="Lay out the playground, a static site.")
    parser.add_argument("site", type=Path, metavar="FOLDER", help="Where; what is there is kept.")
    site = parser.parse_args().site
    try:
        write(site, fetched())
    except (OSError, subprocess.CalledProcessError) as error:
        print(
            f"error  {error}\nfix    it wants node, npm and pip, and a registry of both",
            file=sys.stderr,
        )
        return 1
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    print(f"{site}: {size / 1e6:.1f} MB; `python playground/serve.py {site}` shows it")
    return 0


def fetched() -> Path:
    """The folder with node_modules and wheels, as pinned. Raises OSError, CalledProcessError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pins = hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in PINS)).hexdigest()
    folder = cache / "glm5-serve/playground" / pins[:16]
    if (folder / ".made").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in PINS:
        shutil.copy(HERE / name, folder / name)
    npm = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    subprocess.run(npm, cwd=folder, check=True)
    pins_of_wheels = (folder / "wheels.txt").read_text().splitlines(keepends=True)
    for platform, abi in (BROWSER, ELSEWHERE):
        theirs = folder / f"{platform}.txt"
        theirs.write_text(
            "".join(
                line
                for line in pins_of_wheels
                if line.startswith("pyyaml") is (platform == ELSEWHERE[0])
            )
        )
        download = f"-m pip download --quiet --no-deps --only-binary :all: --platform {platform}"
        which = f"--implementation cp --python-version 3.14 --abi {abi} --require-hashes"
        words = [sys.executable, *download.split(), *which.split()]
        subprocess.run([*words, "-d", folder / "wheels", "-r", theirs], check=True)
    (folder / ".made").touch()
    return folder


def write(site: Path, parts: Path) -> None:
    """The whole site, of what was fetched and what is here. Raises CalledProcessError."""
    for page in sorted((HERE / "page").iterdir()):
        _copy(page, site / page.name)
    for name in PYODIDE:
        _copy(parts / "node_modules/pyodide" / name, site / "pyodide" / name)
    for name in PARSER:
        _copy(parts / "node_modules" / name, site / "bash" / Path(name).name)
    for name, sources in EXAMPLES.items():
        (site / "examples").mkdir(exist_ok=True)
        (site / "examples" / name).write_bytes(b"\n".join(map(_read, sources)))
    wheels = sorted((parts / "wheels").iterdir())
    (core,) = (wheel for wheel in wheels if wheel.name.startswith("pydantic_core"))
    _copy(core, site / "pydantic_core.whl")
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources.zip"
        with zipfile.ZipFile(sources, "w") as archive:
            for name, data in _app([wheel for wheel in wheels if wheel != core]):
                archive.writestr(name, data)
        modules, script = parts / "node_modules", HERE / "compile.mjs"
        subprocess.run(["node", script, modules, sources, site / "app.zip"], check=True)


def _app(wheels: list[Path]) -> Iterator[tuple[str, bytes]]:
    """What Python imports in the page: launcher/ as it is here, but for the parser of bash."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not any(part in name for part in NOT_NEEDED) and not name.endswith("/"):
                    yield name, archive.read(name)
    instead = {"launcher/formats/grammar.py": HERE / "grammar.py"}
    for top, inside in ((ROOT / "launcher", "launcher"), (ROOT / "profiles", "launcher/profiles")):
        for file in top.rglob("*"):
            name = f"{inside}/{file.relative_to(top).as_posix()}"
            if file.is_file() and "__pycache__" not in file.parts:
                yield name, instead.get(name, file).read_bytes()
    yield "ask.py", (HERE / "ask.py").read_bytes()


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)


def _read(name: str) -> bytes:
    return (ROOT / name).read_bytes()


if __name__ == "__main__":
    sys.exit(main())
