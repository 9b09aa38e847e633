"""What a Python loads before anybody's first line, and who else may change that.

Its program is one part. The others are named by `pyvenv.cfg`, by the folders of its modules, by
`.pth` files in them, and by variables. Folders, what lies directly in them, and `.pth` files are
looked at: no module's own text, nothing deeper, so that it takes some milliseconds.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

from launcher import printable
from launcher.files import ownership, reading
from launcher.files.ownership import Doubt
from launcher.files.prefixes import Interpreter, layout

MOST = 20_000  # entries of a folder that are looked at
LARGEST = 64 << 10  # bytes of a .pth file
IMPORTABLE = (".py", ".pyc", ".so")
# Variables that name what is loaded or run, and what stands between two names.
LISTS = {
    "PYTHONHOME": ":",
    "PYTHONUSERBASE": "",
    "PYTHONSTARTUP": "",
    "PYTHONPYCACHEPREFIX": "",
    "LD_PRELOAD": ": ",
    "LD_AUDIT": ":",
    "LD_LIBRARY_PATH": ":;",
    "GCONV_PATH": ":",
    "BASH_ENV": "",
    "OPENSSL_CONF": "",
    "OPENSSL_ENGINES": "",
    "OPENSSL_MODULES": "",
    "CUDA_INJECTION64_PATH": "",
    "NVTX_INJECTION64_PATH": "",
    "NCCL_NET_PLUGIN": ",",
    "NCCL_TUNER_PLUGIN": ",",
    "NCCL_PROFILER_PLUGIN": ",",
    "NCCL_ENV_PLUGIN": ",",
    "NCCL_GIN_PLUGIN": ",",
    "CUDA_HOME": "",
    "CUDA_PATH": "",
    "CUDACXX": " ",
    "CC": " ",
    "CXX": " ",
    "CUDAHOSTCXX": " ",
    "FLASHINFER_NVCC": " ",
    "TRITON_PTXAS_PATH": "",
    "TRITON_PTXAS_BLACKWELL_PATH": "",
    "TRITON_LIBCUDA_PATH": ":",
    "SGLANG_NCCL_SO_PATH": "",
    "VLLM_NCCL_SO_PATH": "",
    "VLLM_CUDART_SO_PATH": "",
    "HF_MODULES_CACHE": "",
}
# What an engine runs by its bare name, to compile kernels and to find libraries.
TOOLS = ("ninja", "nvcc", "ptxas", "gcc", "g++", "cc", "c++", "ldconfig")


def of_python(python: Path, environ: Mapping[str, str], cwd: Path) -> Doubt | None:
    """Who else may change what an interpreter loads that is run with these variables in a folder;
    None if nobody may. `python` is absolute, its links not followed.
    """
    return next(_Look(environ, cwd).doubts(python), None)


@dataclass
class _Look:
    """One look: what was found to be safe is not looked at again."""

    environ: Mapping[str, str]
    cwd: Path
    safe: set[tuple[str, object]] = field(default_factory=set)

    def doubts(self, python: Path) -> Iterator[Doubt]:
        for name, separators in LISTS.items():
            for path in self._named(self.environ.get(name, ""), separators):
                yield from _told(f"{name} names {path}", self._way(path))
        for path in self._named(self.environ.get("PYTHONPATH", ""), ":"):
            yield from _told(f"PYTHONPATH names {path}", self._importable(path))
        found = layout(python, self.environ)
        for path in found.named:
            yield from _told(f"{python} is a Python of {path}", self._way(path))
        yield from self._of_folders(python, found)
        yield from self._of_tools(python.parent)

    def _named(self, value: str, separators: str) -> Iterator[Path]:
        """The paths of a variable; a bare name is looked for where the system looks."""
        words = re.split(f"[{re.escape(separators)}]", value) if separators else [value]
        for word in words:
            known = word.partition("$")[0]  # $ORIGIN, $LIB: the loader's own
            place = known if known == word else known.rpartition("/")[0]
            if "/" in place or (place and separators in ("", ":", ":;") and known == word):
                yield self.cwd / place

    def _of_folders(self, python: Path, found: Interpreter) -> Iterator[Doubt]:
        for path in found.modules:
            yield from _told(f"{python} imports from {path}", self._folder(path))
        for path in found.sites:
            yield from _told(f"{python} imports from {path}", self._folder(path))
            yield from self._of_site(path)

    def _of_site(self, site: Path) -> Iterator[Doubt]:
        """What the files of a folder of packages name that Python obeys at its start, and the
        folders of editable installs.
        """
        if not self._is_new("site", site):
            return
        for entry in _entries(site):
            if entry.name.endswith(".pth"):
                yield from _told(f"{site} is read at its start", self._entry(entry))
                for path in _named_in(site, entry.name):
                    yield from _told(f"{entry.path} names {path}", self._importable(path))
                    yield from self._of_site(path)
            elif entry.name.endswith(".dist-info") and (edited := _edited_at(Path(entry.path))):
                for place in (edited, edited / "src"):
                    yield from _told(f"{entry.name} is of {place}", self._importable(place))

    def _of_tools(self, beside: Path) -> Iterator[Doubt]:
        """The programs that a server finds beside its interpreter, or by PATH."""
        folders = [str(beside), *self.environ.get("PATH", os.defpath).split(":")]
        for name in TOOLS:
            for folder in folders:
                path = self.cwd / folder / name
                if path.is_file() and os.access(path, os.X_OK):
                    yield from _told(f"{name} is run from {path.parent}", self._way(path))
                    break

    def _way(self, path: Path) -> Doubt | None:
        if ("way", str(path)) in self.safe:
            return None
        self.safe.add(("way", str(path)))
        try:
            return ownership.of_way(Path(os.path.abspath(path)))  # noqa: PTH100  links stay
        except (OSError, ValueError):  # it leads nowhere: nothing is loaded from there
            return None

    def _folder(self, path: Path) -> Doubt | None:
        """Who else may change a folder of Python's own, or anything that lies directly there."""
        entries = _entries(path) if self._is_new("folder", path) else []
        return self._way(path) or next(filter(None, map(self._entry, entries)), None)

    def _importable(self, path: Path) -> Doubt | None:
        """Who else may change a folder that modules are looked for in, or one of these: in a
        folder that was named data of others may lie, too.
        """
        modules = (entry for entry in _entries(path) if _is_module(entry))
        return self._way(path) or next(filter(None, map(self._entry, modules)), None)

    def _is_new(self, what: str, folder: Path) -> bool:
        """Whether a folder was not looked at yet, by whatever path (`lib64` is a link)."""
        try:
            seen = folder.stat()
        except (OSError, ValueError):
            return False
        key, before = (what, (seen.st_dev, seen.st_ino)), len(self.safe)
        self.safe.add(key)
        return len(self.safe) > before

    def _entry(self, entry: os.DirEntry[str]) -> Doubt | None:
        try:
            seen = entry.stat(follow_symlinks=False)
        except OSError:
            return None
        if stat.S_ISLNK(seen.st_mode):
            return self._way(Path(entry.path))
        alike = (seen.st_uid, seen.st_gid, seen.st_mode & 0o7022)
        if ("entry", alike) in self.safe:
            return None
        if not (doubt := ownership.of_seen(seen, Path(entry.path))):
            self.safe.add(("entry", alike))
        return doubt


def _told(why: str, doubt: Doubt | None) -> Iterator[Doubt]:
    if doubt:
        yield Doubt(f"{printable.line(why)}: {doubt.what}", doubt.fix)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(islice(found, MOST))
    except (OSError, ValueError):
        return []


def _is_module(entry: os.DirEntry[str]) -> bool:
    if entry.name.endswith(IMPORTABLE) or entry.name == "__pycache__":
        return True
    inits = (f"{entry.path}/__init__{ending}" for ending in IMPORTABLE)
    return entry.name.isidentifier() and any(map(os.path.exists, inits))


def _named_in(site: Path, name: str) -> Iterator[Path]:
    """What a .pth file names that is there: a folder a line, or quoted in a line of code."""
    try:
        text = reading.read_bytes(site / name, LARGEST).decode("utf-8", "replace")
    except OSError:
        return
    for line in map(str.strip, text.splitlines()):
        is_code = line.startswith(("import ", "import\t"))
        told = re.findall(r"[\"'](/[^\"']+)[\"']", line) if is_code else [line]
        for one in told:
            if one and not one.startswith("#") and "\0" not in one and (site / one).exists():
                yield site / one


def _edited_at(info: Path) -> Path | None:
    """The folder of a package that was installed to be edited; None for any other."""
    path = f"{info}/direct_url.json"
    try:
        said = reading.read_json(path, LARGEST) if os.path.exists(path) else {}  # noqa: PTH110  quick
        is_edited, url = said["dir_info"]["editable"], said["url"]
    except (OSError, LookupError, TypeError):
        return None
    is_here = is_edited is True and isinstance(url, str) and url.startswith("file:///")
    return Path(unquote(url.removeprefix("file://"))) if is_here else None
