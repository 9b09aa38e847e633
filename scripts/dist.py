#!/usr/bin/env python3
"""Make what is installed, in `dist/`: `dist.py [python] [wheelhouse] [deb] [image]`; all of it
where nothing is named.

    python      the sdist and the wheel, as PyPI takes them; the others are made of it, and make it
    wheelhouse  a tar of the wheel and of everything that it needs, for hosts without a network
    deb         a Debian package of the same wheels
    image       a container with `glm5-serve up` in it, where podman is: BASE names the engine's
                image, IMAGE the one that is made

What goes in is named with its hash in packaging/requirements.txt (`make lock` renews it), and times
are those of the last commit, or SOURCE_DATE_EPOCH: the same source makes the same bytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import deb

from launcher import __version__
from launcher.paths import home

ROOT = Path(__file__).parents[1]
DIST = Path(os.environ.get("DIST") or ROOT / "dist").absolute()
CONTAINERFILE = ROOT / "Containerfile"
LOCK = ROOT / "packaging/requirements.txt"
PYTHONS = ("3.11", "3.12", "3.13")  # Debian 12's, Ubuntu 24.04's, Debian 13's
MACHINE = os.uname().machine
# Each glibc up to Debian 12's: pip takes the names literally.
PLATFORMS = [*(f"manylinux_2_{minor}_{MACHINE}" for minor in range(36, 4, -1)), f"linux_{MACHINE}"]
INSTALL = """\
glm5-serve {version} and everything that it needs, for {pythons} on Linux {machine}.
Without a network, and without pip looking for one:

    python3 -m venv /opt/glm5-serve
    /opt/glm5-serve/bin/pip install --no-index --find-links {folder} glm5-serve
    ln -s /opt/glm5-serve/bin/glm5-serve /usr/local/bin/

Or into an engine's image, in this folder:

    podman build --network none --build-arg BASE=IMAGE --tag glm5-serve:{version} .
"""


def run(*words: str | Path, **environ: str) -> None:
    """A command that must succeed."""
    subprocess.run(words, check=True, cwd=ROOT, env={**os.environ, **environ})


def epoch() -> int:
    """The time that everything bears, in seconds since 1970."""
    if said := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(said)
    command = ["git", "log", "-1", "--format=%ct"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return int(said or (ROOT / "CHANGELOG.md").stat().st_mtime)  # an sdist has no history


def python(at: int) -> None:
    """The sdist and the wheel, and PyPI's own reading of their metadata and README."""
    for old in (*DIST.glob("glm5_serve-*.whl"), *DIST.glob("glm5_serve-*.tar.gz")):
        old.unlink()
    run(sys.executable, "-m", "hatchling", "build", "-d", DIST, SOURCE_DATE_EPOCH=str(at))
    run(sys.executable, "-m", "twine", "check", "--strict", wheel(), *DIST.glob("*.tar.gz"))


def wheel() -> Path:
    """The wheel of this version."""
    return DIST / f"glm5_serve-{__version__}-py3-none-any.whl"


def wheels(version: str) -> Path:
    """The folder with the wheels that glm5-serve needs on one Python: it is kept, for the lock
    names each by its hash.
    """
    kept = home(os.environ, "XDG_CACHE_HOME", ".cache") / "wheels"
    folder = kept / f"{sha256(LOCK.read_bytes()).hexdigest()[:16]}-{version}-{MACHINE}"
    if not folder.exists():
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        how = ["-qq", "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(LOCK)]
        how += [f"--python-version={version}", *(f"--platform={name}" for name in PLATFORMS)]
        run(sys.executable, "-m", "pip", "download", *how, "--dest", fresh)
        fresh.rename(folder)
    return folder


def house() -> list[Path]:
    """What a wheelhouse holds: our wheel, those of all Pythons, each once, by name, and what makes
    a container of them.
    """
    found = {path.name: path for version in PYTHONS for path in wheels(version).iterdir()}
    return [CONTAINERFILE, wheel(), *(found[name] for name in sorted(found))]


def wheelhouse(at: int) -> None:
    """The tar: one folder, with its install lines."""
    name = f"glm5-serve-{__version__}-wheelhouse-linux_{MACHINE}"
    pythons = f"Python {', '.join(PYTHONS[:-1])} and {PYTHONS[-1]}"
    told = INSTALL.format(version=__version__, pythons=pythons, machine=MACHINE, folder=name)
    (note := DIST / "INSTALL").write_text(told)
    with tarfile.open(DIST / f"{name}.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for path in (note, *house()):
            add(tar, path, f"{name}/{path.name}", at)
    note.unlink()
    print(f"wrote {DIST / name}.tar\n\n{told}")


def add(tar: tarfile.TarFile, path: Path, name: str, at: int) -> None:
    """A file, root's and of that time, whoever makes this."""
    about = tarfile.TarInfo(name)
    about.size, about.mtime, about.mode = path.stat().st_size, at, 0o644
    with path.open("rb") as file:
        tar.addfile(about, file)


def debian(at: int) -> None:
    """The Debian package."""
    if not shutil.which("dpkg-deb"):
        print("no Debian package: dpkg-deb is not here")
        return
    made = deb.build(DIST, wheel(), {version: wheels(version) for version in PYTHONS}, at)
    print(f"wrote {made}\n\n    sudo apt install {made}\n")


def image(at: int) -> None:
    """The container: docs/containers.md is the page of it."""
    base = os.environ.get("BASE")
    if not base or not shutil.which("podman"):
        print("no container: it wants podman, and BASE=the engine's image")
        return
    name = os.environ.get("IMAGE") or f"localhost/glm5-serve:{__version__}"
    how = [f"--build-arg=BASE={base}", f"--timestamp={at}", "--network=none", f"--tag={name}"]
    with tempfile.TemporaryDirectory() as folder:
        for path in house():
            shutil.copy(path, folder)
        run("podman", "build", *how, folder)
    print(f"made {name}\n\n    podman run --rm {name} --version\n")


KINDS = {"python": python, "wheelhouse": wheelhouse, "deb": debian, "image": image}


def main(asked: Iterable[str]) -> None:
    """Make what is asked for."""
    kinds = list(asked) or [*KINDS]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        sys.exit(f"error  no {unknown[0]} to make\nfix    one of {', '.join(KINDS)}")
    DIST.mkdir(exist_ok=True)
    began, at = time.monotonic(), epoch()
    for kind in ("python", *(kind for kind in kinds if kind != "python")):
        KINDS[kind](at)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
