"""Where an interpreter looks for its modules: told by its place, its name and its `pyvenv.cfg`, as
Python's own getpath.py and site.py do it. It is not run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.files import reading

CONFIG = "pyvenv.cfg"
LARGEST = 64 << 10  # bytes of it
LIBRARIES = ("lib", "lib64")
PACKAGES = ("site-packages", "dist-packages")  # Debian's own name is the second
SYSTEM = frozenset({Path("/"), Path("/usr")})  # prefixes of the distribution's own Python
_VERSION = re.compile(r"(3\.\d+)")


@dataclass(frozen=True)
class Interpreter:
    """What decides where one looks, and the folders there are: of its own modules, and of
    packages.
    """

    named: tuple[Path, ...] = ()
    modules: tuple[Path, ...] = ()
    sites: tuple[Path, ...] = ()


def layout(python: Path, environ: Mapping[str, str]) -> Interpreter:
    """Where an interpreter looks, whose path is absolute and its links not followed."""
    home = environ.get("PYTHONHOME", "")
    path = None if home else _config(python)
    told = _settings(path) if path else {}
    real = Path(os.path.realpath(python))
    version = _version(real.name) or _version(told.get("version") or told.get("version_info", ""))
    base = Path(told.get("home") or real.parent)
    libraries = (*LIBRARIES, *filter(None, [environ.get("PYTHONPLATLIBDIR")]))
    bases = [Path(part) for part in home.split(":")] if home else [*_bases(base, libraries)]
    own = list(dict.fromkeys([path.parent, python.parent.parent])) if path else []
    is_open = told.get("include-system-site-packages", "true").lower() == "true"
    shared = [*bases, *([Path("/usr/local")] if SYSTEM & {*bases} else [])]
    modules = [one for place in bases for one in _versioned(place, version, libraries)]
    sites = [*_sites(own, version, libraries)]
    if is_open or not path:
        sites += [*_sites(shared, version, libraries), *_of_user(environ, version)]
    here = [python.parent, python.parent.parent, *([path, base] if path else [])]
    loaded = [one / "lib-dynload" for one in modules]
    return Interpreter(
        tuple(dict.fromkeys(here)),
        tuple(dict.fromkeys([*modules, *filter(Path.is_dir, loaded)])),
        tuple(dict.fromkeys(sites)),
    )


def _config(python: Path) -> Path | None:
    places = (folder / CONFIG for folder in (python.parent.parent, python.parent))
    return next((path for path in places if path.is_file()), None)


def _settings(path: Path) -> dict[str, str]:
    try:
        text = reading.read_bytes(path, LARGEST).decode("utf-8", "replace")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}


def _version(text: str) -> str:
    found = _VERSION.search(text)
    return found[1] if found else ""


def _bases(folder: Path, libraries: tuple[str, ...]) -> Iterator[Path]:
    """The prefix of a base interpreter: the first folder from its own upwards that has modules,
    else the usual ones.
    """
    for place in (folder, *folder.parents):
        if any(_versioned(place, "", libraries)):
            yield place
            return
    yield from (Path("/usr/local"), Path("/usr"))


def _versioned(prefix: Path, version: str, libraries: tuple[str, ...]) -> Iterator[Path]:
    """The folders of modules of a Python below a prefix; of any, where its version is not known."""
    for name in libraries:
        names = [f"python{version}", f"python{version}t"] if version else _names(prefix / name)
        yield from (path for one in names if (path := prefix / name / one).is_dir())


def _names(folder: Path) -> list[str]:
    try:
        return [one.name for one in folder.iterdir() if re.fullmatch(r"python3\.\d+t?", one.name)]
    except OSError:
        return []


def _sites(prefixes: list[Path], version: str, libraries: tuple[str, ...]) -> Iterator[Path]:
    for prefix in prefixes:
        folders = [*_versioned(prefix, version, libraries), prefix / "lib/python3"]
        places = (folder / name for folder in folders for name in PACKAGES)
        yield from filter(Path.is_dir, places)


def _of_user(environ: Mapping[str, str], version: str) -> Iterator[Path]:
    home = environ.get("HOME") or "/root"
    base = environ.get("PYTHONUSERBASE") or f"{home}/.local"
    if not environ.get("PYTHONNOUSERSITE") and Path(base).is_absolute():
        yield from _sites([Path(base)], version, LIBRARIES)
