"""How much of a disk's files may be kept in memory: what the kernel calls available, and what the
control groups of this process leave it (version 2, and version 1).

A group pays for the pages that its own processes read. Beyond its limit they push each other out:
2 GiB read in a group of 1 GiB left the first half of them on the disk (run, Linux 6.18).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.files.reading import read_text

UNLIMITED = 1 << 60  # bytes; version 1 says "none" by a number near 2^63
MOST = 1 << 20  # bytes of a file of the kernel's


@dataclass(frozen=True)
class Room:
    """Bytes, and what sets them, in words."""

    size: int
    of: str


def room(root: Path = Path("/")) -> Room:
    """What may be filled at most. Raises OSError where the kernel does not say."""
    return min(_rooms(root), key=lambda each: each.size)


def _rooms(root: Path) -> Iterator[Room]:
    yield Room(_table(root / "proc/meminfo")["MemAvailable:"] << 10, "available memory")
    for line in read_text(root / "proc/self/cgroup", MOST).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            yield from _limits(root / "sys/fs/cgroup", path, "current", ("max", "high"))
        elif "memory" in controllers.split(","):
            folder = root / "sys/fs/cgroup/memory"
            yield from _limits(folder, path, "usage_in_bytes", ("limit_in_bytes",))


def _limits(top: Path, path: str, used: str, limits: tuple[str, ...]) -> Iterator[Room]:
    """What this group and those above it leave; one that cannot be read sets no limit."""
    parts = [part for part in path.split("/") if part and part != ".."]
    for end in range(len(parts), -1, -1):
        folder = top.joinpath(*parts[:end])
        for limit in limits:
            try:
                most = int(read_text(folder / f"memory.{limit}", MOST))
                taken = int(read_text(folder / f"memory.{used}", MOST))
                stat = _table(folder / "memory.stat")
            except (OSError, ValueError):  # "max", or no limit at this level
                continue
            if most < UNLIMITED:
                # what was read once is given up first
                spare = stat.get("total_inactive_file", stat.get("inactive_file", 0))
                yield Room(max(0, most - taken + spare), f"memory.{limit} of its control group")


def _table(path: Path) -> dict[str, int]:
    rows = [line.split() for line in read_text(path, MOST).splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
