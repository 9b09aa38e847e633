"""glm5-serve as a user has it: its wheel, in an environment of its own, and the wheel of a version after it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from launcher import __version__

ROOT = Path(__file__).parents[2]
NEXT = "9.9.9"
BEFORE = "0.0.9"
OF_A_SCHEMA = ("launcher/plan/plan.py", "launcher/statedir/schema.py")  # what they write has one
# A process of the version before has no `launcher.NEXT`: whatever it imports of this one ends there.
POISON = """
import sys as _sys
_sys.modules.get("launcher") is None or _sys.modules["launcher"].NEXT
"""


def wheel(folder: Path) -> Path:
    """The wheel of this tree."""
    how = ["--no-deps", "--no-build-isolation", "-q"]
    build = [sys.executable, "-m", "pip", "wheel", *how, "-w", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    (made,) = folder.glob("*.whl")
    return made


def successor(old: Path) -> Path:
    """A wheel of which nothing can be imported by a process of the old one."""
    new = old.with_name(old.name.replace(__version__, NEXT))
    with zipfile.ZipFile(old) as before, zipfile.ZipFile(new, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == "launcher/__init__.py":
                data = data.replace(__version__.encode(), NEXT.encode()) + b"\nNEXT = True\n"
            elif name.startswith("launcher/") and name.endswith(".py"):
                data += POISON.encode()
            elif name.endswith((".dist-info/METADATA", ".dist-info/RECORD")):
                data = data.replace(__version__.encode(), NEXT.encode())
            after.writestr(name.replace(f"-{__version__}.", f"-{NEXT}."), data)
    return new


def predecessor(wheel: Path, folder: Path) -> Path:
    """The wheel of a version before, all of whose files are of another schema."""
    old = folder / wheel.name.replace(__version__, BEFORE)
    with zipfile.ZipFile(wheel) as after, zipfile.ZipFile(old, "w") as before:
        for name in after.namelist():
            data = after.read(name)
            if name == "launcher/__init__.py" or name.endswith(("/METADATA", "/RECORD")):
                data = data.replace(__version__.encode(), BEFORE.encode())
            elif name in OF_A_SCHEMA:
                data = data.replace(b"\nSCHEMA = 1", b"\nSCHEMA = 0")
                assert b"\nSCHEMA = 0" in data, name
            before.writestr(name.replace(f"-{__version__}.", f"-{BEFORE}."), data)
    return old


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


def environment(folder: Path, wheel: Path) -> Path:
    """An environment with the wheel, and with what it needs; its command."""
    venv = [sys.executable, "-m", "venv", "--without-pip", folder]
    subprocess.run(venv, check=True, timeout=60)
    install(folder, wheel)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (installed,) = packages.glob("glm5_serve-*.dist-info")
    for path in required(metadata.Distribution.at(installed).requires, set()):
        (packages / path.name).symlink_to(path)
    return folder / "bin/glm5-serve"


def copied(environment: Path, folder: Path) -> Path:
    """The same environment in another folder; its command. Nothing is installed, or compiled,
    again.
    """
    shutil.copytree(environment, folder, symlinks=True)
    command = folder / "bin/glm5-serve"
    command.write_text(command.read_text().replace(str(environment), str(folder)))
    return command


def install(folder: Path, wheel: Path) -> None:
    """Have pip put the wheel into the environment, in place of what is there."""
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "-q"]
    how = ["--no-index", "--no-deps", "--force-reinstall"]
    subprocess.run([*pip, *how, wheel], check=True, capture_output=True, timeout=60)
