"""The container images of engines' releases, and which one a driver runs: `images.toml`, read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import drivers, rows

CUDAS = (13, 12)  # the newest first
_FILE = rows.kept(Path(__file__).with_name("images.toml"))
_KEYS = "engine since until cuda image evidence source checked".split()
# Of a release as packages number it, what no tag has: the CUDA that a wheel is built for.
_LOCAL = re.compile(r"\+.*")


@dataclass(frozen=True)
class Row:
    """The images of some releases of an engine, for one CUDA."""

    engine: str
    since: str
    until: str  # "": it goes on
    cuda: int
    image: str  # %s: the release
    evidence: str
    source: str
    checked: str

    def has(self, release: str) -> bool:
        """Whether it is of a release."""
        own = drivers.numbers(release)[:3]
        ends = not self.until or own <= drivers.numbers(self.until)
        return drivers.numbers(self.since) <= own and ends


@cache
def table() -> rows.Table[Row]:
    """The rows of the file, and what is wrong with those that are none."""
    return rows.read(_FILE, "image", _made)


def _made(key: str | int, row: Mapping[str, Any]) -> Row:
    rows.only(row, _KEYS)
    if row["cuda"] not in CUDAS:
        raise ValueError(f"cuda: {row['cuda']!r} is not one of {', '.join(map(str, CUDAS))}")
    if row["image"].count("%s") != 1:
        raise ValueError(f"image: {row['image']!r} has no place for the release")
    told = {name: rows.text(name, row.get(name, "")) for name in _KEYS if name != "cuda"}
    return Row(**told | {"checked": rows.release(row)}, cuda=row["cuda"])


# Images for GPUs that are in no row of gpus.toml, by a part of their names or tags.
_OTHERS = (
    (
        re.compile(r"(?<![a-z0-9])(rocm[\d.]*|mi[23]\d{2}x?|gfx\d+\w*)(?![a-z0-9])"),
        "GPUs of AMD (ROCm)",
    ),
    (
        re.compile(r"(?<![a-z0-9])(sm-?121a?|gb10|dgx-?spark|spark)(?![a-z0-9])"),
        "the GB10 of a DGX Spark (sm121)",
    ),
)


def of_other_gpus(image: str) -> str:
    """Whose GPUs an image says by its name that it is for, where none of gpus.toml is: in words; ""
    for all others.
    """
    said = re.sub(r"[_/:]", "-", image.lower())
    return next((whose for name, whose in _OTHERS if name.search(said)), "")


def image(engine: str, release: str, cuda: int) -> str | None:
    """The image of a release for a major CUDA; None where none is known."""
    bare = _LOCAL.sub("", release)
    found = (row for row in table().rows if row.engine == engine and row.cuda == cuda)
    return next((row.image % bare for row in found if row.has(bare)), None)


def cudas(engine: str, release: str) -> tuple[int, ...]:
    """The major CUDAs for which a release has an image, the newest first."""
    return tuple(one for one in CUDAS if image(engine, release, one))


def newest(engine: str, cuda: int) -> str | None:
    """The newest release that is known to have an image for a major CUDA."""
    found = [row.checked for row in table().rows if row.engine == engine and row.cuda == cuda]
    return max(found, key=drivers.numbers, default=None)


def of_driver(version: str) -> int | None:
    """The newest CUDA that a driver runs (one of 580: 13); None where it runs none of them."""
    runs = (one for one in CUDAS if drivers.reaches(version, drivers.minimum(f"{one}.0").driver))
    return next(runs, None)
