"""readings.json as a value: how long the server took to answer, and what its GPUs do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from launcher.statedir.schema import (
    SCHEMA,
    each,
    if_any,
    if_number,
    number,
    table,
    text,
    truth,
    versioned,
    whole,
)


@dataclass(frozen=True)
class GpuReading:
    """What one GPU does, in bytes, percent, watts, degrees and MHz; None for what it does not tell.

    `limit`: the watts that it may draw; `slowed`: why its clocks are not higher, as the driver
    names it (`nvml_questions.CLOCK_REASONS`); links are PCIe's generation and lanes.
    """

    index: int
    bdf: str | None = None
    used: float | None = None
    total: float | None = None
    utilization: float | None = None
    power: float | None = None
    temperature: float | None = None
    ecc: float | None = None  # uncorrected errors since the driver was loaded
    pids: tuple[int, ...] = ()  # of those that compute on it
    name: str | None = None
    limit: float | None = None
    clock: float | None = None
    clock_max: float | None = None
    slowed: tuple[str, ...] = ()
    link_gen: int | None = None
    link_gen_max: int | None = None
    link_width: int | None = None
    link_width_max: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"pids": list(self.pids), "slowed": list(self.slowed)}

    @classmethod
    def from_json(cls, data: object) -> GpuReading:
        """The reading that `to_json` gave. Raises ValueError where it does not say of which GPU."""
        said = table(data)
        return cls(
            index=whole(said.get("index")),
            bdf=if_any(text, said.get("bdf")),
            used=if_number(said.get("used")),
            total=if_number(said.get("total")),
            utilization=if_number(said.get("utilization")),
            power=if_number(said.get("power")),
            temperature=if_number(said.get("temperature")),
            ecc=if_number(said.get("ecc")),
            pids=each(whole, said.get("pids")),
            name=if_any(text, said.get("name")),
            limit=if_number(said.get("limit")),
            clock=if_number(said.get("clock")),
            clock_max=if_number(said.get("clock_max")),
            slowed=each(text, said.get("slowed", [])),
            link_gen=if_any(whole, said.get("link_gen")),
            link_gen_max=if_any(whole, said.get("link_gen_max")),
            link_width=if_any(whole, said.get("link_width")),
            link_width_max=if_any(whole, said.get("link_width_max")),
        )


@dataclass(frozen=True)
class Probe:
    """The last health check: how long it took, and whether it was answered."""

    seconds: float
    ok: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Probe:
        """The check that `to_json` gave. Raises ValueError."""
        said = table(data)
        return cls(number(said.get("seconds")), truth(said.get("ok")))


@dataclass(frozen=True)
class Readings:
    """What was read at a moment (`time`, and `at` in seconds since 1970).

    `since` is that of the state it was read in: clocks are set, and compare badly.
    """

    since: str | None
    time: str | None
    at: float
    probe: Probe
    gpus: tuple[GpuReading, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "since": self.since,
            "time": self.time,
            "at": self.at,
            "probe": self.probe.to_json(),
            "gpus": [gpu.to_json() for gpu in self.gpus],
        }

    @classmethod
    def from_json(cls, data: object) -> Readings:
        """The readings that `to_json` gave. Raises ValueError.

        Times that are none are unknown: they decide nothing but whether this is of the present.
        """
        said = versioned(data)
        return cls(
            since=if_any(text, said.get("since")),
            time=if_any(text, said.get("time")),
            at=number(said.get("at")),
            probe=Probe.from_json(said.get("probe")),
            gpus=each(GpuReading.from_json, said.get("gpus")),
        )
