"""NVIDIA drivers and CUDA: what is wanted, what is known for trouble, what serves.

`drivers.toml`, read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from launcher.knowledge import rows


class Minimum(NamedTuple):
    """The branch of the driver that is wanted, and why."""

    driver: str
    why: str


Row = Mapping[str, str]
_FILE = rows.kept(Path(__file__).with_name("drivers.toml"))
_KEYS = {  # the keys of each table, besides `evidence` and `source`; the first is a release
    "minimum": ("driver", "why", "torch"),
    "cuda": ("release", "why"),
    "trouble": ("driver", "what"),
    "good": ("driver",),
}


@cache
def table(name: str) -> rows.Table[Row]:
    """The rows of a table of the file (_KEYS), and what is wrong with those that are none."""
    return rows.read(_FILE, name, partial(_made, _KEYS[name]))


def tables() -> tuple[rows.Table[Row], ...]:
    """All of them."""
    return tuple(map(table, _KEYS))


def _made(keys: tuple[str, ...], key: str | int, row: Mapping[str, Any]) -> Row:
    rows.only(row, (*keys, "evidence", "source"))
    told = {name: rows.text(name, value) for name, value in row.items()}
    if not numbers(told[keys[0]]):
        raise ValueError(f"{keys[0]}: {told[keys[0]]!r} is not a release")
    return told


def numbers(release: str) -> tuple[int, ...]:
    """A driver's or CUDA's release to compare: 580.1.05 is (580, 1, 5)."""
    return tuple(int(part) for part in re.findall(r"\d+", release))


def reaches(release: str, wanted: str) -> bool:
    """Whether a release is `wanted` or later."""
    return numbers(release) >= numbers(wanted)


def minimum(torch_cuda: str | None) -> Minimum:
    """The driver that Blackwell and this build of torch want; None: torch is not known, or without
    CUDA.
    """
    told = [row for row in table("minimum").rows if _applies(row, torch_cuda)]
    row = max(told, key=lambda row: numbers(row["driver"]), default=None)
    return Minimum(row["driver"], row["why"]) if row else Minimum("0", "no release is known")


def _applies(row: Row, torch_cuda: str | None) -> bool:
    return "torch" not in row or (torch_cuda is not None and reaches(torch_cuda, row["torch"]))


def least_cuda() -> str:
    """The CUDA from which on Blackwell is known."""
    return next((row["release"] for row in table("cuda").rows), "0")


def runs(driver_cuda: str, torch_cuda: str) -> bool:
    """Whether a driver of this CUDA runs a torch for that one: within a major release any does."""
    return numbers(torch_cuda)[:1] <= numbers(driver_cuda)[:1]


def trouble(driver: str) -> str | None:
    """What was reported of a release; None where we know of nothing."""
    told = table("trouble").rows
    return next((row["what"] for row in told if row["driver"] == driver), None)


def good() -> str:
    """The releases to install, in words."""
    *most, last = [row["driver"] for row in table("good").rows] or ["of a newer release"]
    return f"{', '.join(most)} or {last}" if most else last
