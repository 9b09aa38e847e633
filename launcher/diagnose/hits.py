"""A failure that a log told of, and how much it counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.engines.failures import WEIGHTS, Failure


@dataclass
class Hit:
    """A failure that was recognized: where first, how much it counts, and the lines that say so."""

    failure: Failure
    at: int  # among those that count
    line: int  # among all
    weight: str
    words: dict[str, str]
    is_kernels: bool
    is_logged: bool  # by a logger, which goes on; else raised or printed
    phase: str | None
    worked: int = 0  # batches that had been told of by then
    moved: int = 0  # phases that had opened by then
    is_fatal: bool = False  # within the last lines of a process
    last: int = 0  # where it was said last
    is_old: bool = False  # of the start before
    lines: dict[str, str] = field(default_factory=dict)  # by what is in them besides rank and time


def weaker(weight: str) -> str:
    """The weight of what was told of the start before."""
    return "generic" if weight in WEIGHTS[: WEIGHTS.index("generic")] else weight
