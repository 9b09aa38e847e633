"""starts.json as a value: how the last starts of an instance went, phase by phase, and what the
next one is to be compared with.

It stays when the instance is down: a start takes on this host what it took before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from launcher.files import guarded, reading
from launcher.statedir.schema import (
    SCHEMA,
    by_name,
    each,
    if_any,
    number,
    optional,
    table,
    text,
    versioned,
    whole,
)

N = TypeVar("N", int, float)
FILE = "starts.json"
KEPT = 50  # starts
COMPARED = 5  # of them, the last that became ready
LARGEST = 1 << 20  # bytes
LONGEST = 30 * 86400  # seconds of a phase: a profile lets none take longer without a sign of life
READY, STOPPED, FAILED = "ready", "stopped", "failed"  # outcomes


@dataclass(frozen=True)
class Waited:
    """What the server's processes were seen doing: bytes `read` and `written` by disks; seconds
    that a compiler worked, that one of them slept in a disk or a driver, and stood in line for a
    processor.
    """

    read: int = 0
    written: int = 0
    compiling: float = 0.0
    asleep: float = 0.0
    starved: float = 0.0

    def __add__(self, other: Waited) -> Waited:
        return Waited(
            self.read + other.read,
            self.written + other.written,
            round(self.compiling + other.compiling, 3),
            round(self.asleep + other.asleep, 3),
            round(self.starved + other.starved, 3),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Waited:
        """What `to_json` gave. Raises ValueError."""
        said = table(data)
        return cls(
            read=_no_less(whole(said.get("read"))),
            written=_no_less(whole(said.get("written"))),
            compiling=_no_less(number(said.get("compiling"))),
            asleep=_no_less(number(said.get("asleep"))),
            starved=_no_less(number(said.get("starved"))),
        )


def _no_less(amount: N) -> N:
    """An amount. Raises ValueError for less than nothing."""
    if amount < 0:
        raise ValueError("less than nothing")
    return amount


def _took(said: object) -> float:
    """Seconds that a phase took. Raises ValueError for what none can take."""
    if (seconds := _no_less(number(said))) > LONGEST:
        raise ValueError("longer than any start")
    return seconds


@dataclass(frozen=True)
class Usual:
    """Seconds that each phase takes: medians `of` so many starts, in the order of the phases."""

    of: int
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"of": self.of, "seconds": dict(self.seconds)}

    @classmethod
    def from_json(cls, data: object) -> Usual:
        """What `to_json` gave. Raises ValueError."""
        said = table(data)
        return cls(whole(said.get("of")), by_name(number, said.get("seconds")))

    def left(self, phase: str, spent: float) -> float | None:
        """Seconds until it is ready, with so many spent in a phase; None in one that no start had.

        A phase that takes longer than it did may end at any moment: nothing is left of it.
        """
        if phase not in self.seconds:
            return None
        names = [*self.seconds]
        later = sum(self.seconds[name] for name in names[names.index(phase) + 1 :])
        return max(0.0, self.seconds[phase] - spent) + later


@dataclass(frozen=True)
class PastStart:
    """One start that is over: when it began, what became of it (`ready`, `stopped` where
    somebody asked for that, `failed`) and why, and the seconds of each phase.
    """

    time: str
    run: int
    outcome: str
    reason: str
    model: str
    engine: str
    release: str | None
    seconds: Mapping[str, float]
    waits: Mapping[str, Waited] = field(default_factory=dict)
    gpus: int = 0  # that share the model; 0: it runs on the CPU, or nobody told

    @property
    def total(self) -> float:
        """Seconds of all of it."""
        return sum(self.seconds.values())

    def to_json(self) -> dict[str, Any]:
        waits = {phase: waited.to_json() for phase, waited in self.waits.items()}
        return asdict(self) | {"seconds": dict(self.seconds), "waits": waits}

    @classmethod
    def from_json(cls, data: object) -> PastStart:
        """The start that `to_json` gave; a time that is no text is unknown. Raises ValueError for
        what is no start.
        """
        said = table(data)
        return cls(
            time=if_any(text, said.get("time")) or "",
            run=_no_less(whole(said.get("run"))),
            outcome=text(said.get("outcome")),
            reason=text(said.get("reason")),
            model=text(said.get("model")),
            engine=text(said.get("engine")),
            release=optional(text, said.get("release")),
            seconds=by_name(_took, said.get("seconds")),
            waits=by_name(Waited.from_json, said.get("waits")),
            gpus=whole(said.get("gpus", 0)),
        )


def usual(
    starts: Iterable[PastStart], model: str, engine: str, release: str | None
) -> Usual | None:
    """What a start of this model by this release takes here; None where none became ready yet."""
    like = [
        start
        for start in starts
        if start.outcome == READY
        and (start.model, start.engine, start.release) == (model, engine, release)
    ][-COMPARED:]
    if not like:
        return None
    names = dict.fromkeys(name for start in reversed(like) for name in start.seconds)
    return Usual(
        len(like),
        {name: _median([start.seconds.get(name, 0.0) for start in like]) for name in names},
    )


def _median(values: list[float]) -> float:
    """`statistics` would bring a megabyte into a process that stays for weeks."""
    values.sort()
    half = len(values) // 2
    return round((values[half] + values[~half]) / 2, 3)


def to_json(starts: Sequence[PastStart]) -> dict[str, Any]:
    """The last of them as the file has them."""
    return {"schema": SCHEMA, "starts": [start.to_json() for start in starts[-KEPT:]]}


def read(path: Path) -> tuple[PastStart, ...]:
    """The starts that a file tells of, oldest first, without what is no start; none where there is
    no such file.
    """
    return looked(path)[0]


def looked(path: Path) -> tuple[tuple[PastStart, ...], int]:
    """The same, and how many entries are no start."""
    with contextlib.suppress(OSError, ValueError):
        said = versioned(reading.parsed(guarded.read(path, LARGEST)))
        every = each(partial(if_any, PastStart.from_json), said.get("starts"))
        found = tuple(filter(None, every))
        return found, len(every) - len(found)
    return (), 0
