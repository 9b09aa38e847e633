"""Which files a loader will read, in its order, and on what they lie."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.files.reading import kind, read_bytes, read_text, reason
from launcher.host.collectors import safetensors
from launcher.host.collectors.checkpoint import MOST_INDEX, locate, weights

# Nothing has to be read into what is memory already; what comes over a network is told.
IN_MEMORY = frozenset(("tmpfs", "ramfs", "hugetlbfs"))
OVER_A_NETWORK = frozenset(
    "nfs nfs4 lustre ceph cifs smb3 9p gpfs beegfs glusterfs virtiofs afs orangefs wekafs".split()
)
INDEXES = {
    "*.safetensors": "model.safetensors.index.json",
    "consolidated*.safetensors": "consolidated.safetensors.index.json",
}
_NAMED = re.compile(rb'"([^"\\/]+\.safetensors)"')
_NUMBERS = re.compile(r"(\d+)")
MOST_MOUNTS = 16 << 20  # bytes of the table of mounts


@dataclass(frozen=True)
class Shard:
    """A weight file and its bytes."""

    path: Path
    size: int


@dataclass
class Files:
    """What a loader will read, in its order, and what it will look for in vain: name and why."""

    shards: list[Shard] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)

    def take(self, path: Path) -> None:
        """A file that is wanted. A FIFO or a device of that name is left alone."""
        try:
            seen = path.stat()
        except FileNotFoundError:
            self.lacking[path.name] = "is not there"
        except OSError as error:
            self.lacking[path.name] = f"cannot be read: {reason(error)}"
        else:
            if stat.S_ISREG(seen.st_mode):
                self.shards.append(Shard(path, seen.st_size))
            else:
                self.lacking[path.name] = f"is {kind(seen.st_mode)}"


def files(
    models: Sequence[str], patterns: Sequence[str], env: Mapping[str, str], *, natural: bool
) -> Files:
    """The files of these models, folders or hub ids that are here. Raises OSError where a folder or
    its index cannot be read.
    """
    made = Files()
    wanted = dict[Path, None]()
    for model in models:
        place = locate(model, env)
        named = _named(Path(place.get()), patterns, natural=natural) if place.known else []
        wanted |= dict.fromkeys(named)
        if not named:
            made.lacking[model] = "has no weight files here"
    for path in wanted:
        made.take(path)
    return made


def broken(shards: Sequence[Shard]) -> dict[str, str]:
    """Those that are not whole by now, and why: what their headers promise is read from memory once
    they have been read.
    """
    found = {shard.path.name: "is empty" for shard in shards if not shard.size}
    headed = [shard.path for shard in shards if shard.size and shard.path.suffix == ".safetensors"]
    for path, told in safetensors.each(headed):
        if isinstance(told, FileNotFoundError):
            found[path.name] = "is not there any more"
        elif isinstance(told, OSError):
            found[path.name] = f"cannot be read: {reason(told)}"
        elif isinstance(told, Exception):
            found[path.name] = str(told)
    return found


def _named(folder: Path, patterns: Sequence[str], *, natural: bool) -> list[Path]:
    """The first pattern that finds any has them: those that an index names, there or not, else
    those that are there and that their numbers count.
    """
    for pattern in patterns:
        if names := {path.name for path in folder.glob(pattern)}:
            wanted = _indexed(folder / INDEXES.get(pattern, "")) or names.union(weights(names))
            key = _by_number if natural else _by_text
            return [folder / name for name in sorted(wanted, key=key)]
    return []


def _indexed(index: Path) -> set[str]:
    """The weight files that an index names, read without building its table: that may have a
    million rows, and each names a file.
    """
    if not index.is_file():
        return set()
    text = read_bytes(index, MOST_INDEX)
    return {os.fsdecode(found[1]) for found in _NAMED.finditer(text)}


def _by_text(name: str) -> list[tuple[int, str]]:
    return [(0, name)]


def _by_number(name: str) -> list[tuple[int, str]]:
    """Numbers before text, and by their value."""
    parts = _NUMBERS.split(name)
    return [
        (len(part.lstrip("0")), part.lstrip("0")) if part.isdigit() else (0, part) for part in parts
    ]


def is_far(kind: str) -> bool:
    """Whether such a file system has its files over a network, or may: FUSE does not say."""
    return kind in OVER_A_NETWORK or kind.startswith("fuse.")


def file_system(path: Path) -> str:
    """The kind of file system that has a file: the mount below which it lies; "" where the kernel
    does not say.
    """
    try:
        place = str(path.resolve())
        table = read_text("/proc/self/mountinfo", MOST_MOUNTS, "replace")
    except (OSError, RuntimeError):
        return ""
    rows = [line.split() for line in table.splitlines()]
    above = [row for row in rows if place.startswith(row[4].rstrip("/") + "/") and "-" in row]
    row = max(above, key=lambda row: len(row[4]), default=None)
    return row[row.index("-") + 1] if row else ""
