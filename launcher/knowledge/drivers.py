"""NVIDIA drivers and CUDA: what is wanted, what is known for trouble, what serves.

`drivers.toml`, read.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


class Minimum(NamedTuple):
    """The branch of the driver that is wanted, and why."""

    driver: str
    why: str


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("drivers.toml").read_text())


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
    rows = [row for row in _table()["minimum"] if _applies(row, torch_cuda)]
    row = max(rows, key=lambda row: numbers(row["driver"]))
    return Minimum(row["driver"], row["why"])


def _applies(row: dict[str, str], torch_cuda: str | None) -> bool:
    return "torch" not in row or (torch_cuda is not None and reaches(torch_cuda, row["torch"]))


def least_cuda() -> str:
    """The CUDA from which on Blackwell is known."""
    return str(_table()["cuda"]["release"])


def runs(driver_cuda: str, torch_cuda: str) -> bool:
    """Whether a driver of this CUDA runs a torch for that one: within a major release any does."""
    return numbers(torch_cuda)[:1] <= numbers(driver_cuda)[:1]


def trouble(driver: str) -> str | None:
    """What was reported of a release; None where we know of nothing."""
    return next((str(row["what"]) for row in _table()["trouble"] if row["driver"] == driver), None)


def good() -> str:
    """The releases to install, in words."""
    *most, last = _table()["good"]
    return f"{', '.join(most)} or {last}"
