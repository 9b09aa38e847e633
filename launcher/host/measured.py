"""What `doctor --deep` measured between the GPUs of a host, as a value: copies, all-reduce by size
and way, and what follows for NCCL, the PCIe IPC all-reduce and the order of the GPUs. Pure.

It holds for one topology and driver, which its fingerprint stands for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise, permutations
from typing import Any

from launcher.host.facts import Function
from launcher.printable import line

SCHEMA = 1
LARGEST = 1 << 20  # bytes of a file of it; eight GPUs take 3,000
DECODE = 12 << 10  # bytes of an all-reduce that decoding asks for: 6144 numbers in bfloat16
GAIN = 1.25  # by how much another order must be faster to be chosen
MOST = 8  # GPUs whose orders are all tried


@dataclass(frozen=True)
class Measured:
    """One run: `copies` are GB/s by pair ("0->1", as the PCI bus counts the GPUs), `nccl` and `ipc`
    seconds of an all-reduce by its bytes.
    """

    fingerprint: str
    day: str  # 2026-11-26
    ranks: int
    torch: str
    copies: Mapping[str, float] = field(default_factory=dict)
    nccl: Mapping[int, float] = field(default_factory=dict)
    ipc: Mapping[int, float] = field(default_factory=dict)
    broken: str = ""  # the copy that did not end, or brought other data
    no_ipc: str = ""  # why the PCIe IPC all-reduce was not measured
    source: str = "glm5-serve doctor --deep"

    @property
    def ipc_up_to(self) -> int | None:
        """The bytes up to which the PCIe IPC all-reduce was faster than NCCL; 0: it never was;
        None: nobody measured both.
        """
        both = sorted(self.ipc.keys() & self.nccl.keys())
        if not both or max(both) < DECODE:
            return None
        slower = [size for size in both if self.ipc[size] >= self.nccl[size]]
        faster = [size for size in both if size < min(slower, default=both[-1] + 1)]
        return faster[-1] if faster else 0

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The GPUs as a ring whose slowest link is the fastest that there is; () where the order of
        the bus is as good, or nobody measured every pair.
        """
        links = self._links()
        if not 2 < self.ranks <= MOST or len(links) < self.ranks * (self.ranks - 1) // 2:
            return ()
        every = ((0, *rest) for rest in permutations(range(1, self.ranks)))
        best = max(every, key=lambda ring: (_slowest(ring, links), [-one for one in ring]))
        own = _slowest(tuple(range(self.ranks)), links)
        return best if _slowest(best, links) > GAIN * own else ()

    def _links(self) -> dict[tuple[int, int], float]:
        """The slower way of each pair, GB/s."""
        links: dict[tuple[int, int], float] = {}
        for pair, speed in self.copies.items():
            one, _, two = pair.partition("->")
            key = min(int(one), int(two)), max(int(one), int(two))
            links[key] = min(speed, links.get(key, speed))
        return links

    @property
    def traits(self) -> frozenset[str]:
        """What rules may ask of it."""
        told = {
            "measured-p2p-broken": bool(self.broken),
            "measured-order": bool(self.order) and not self.broken,
            "measured-ipc-faster": bool(self.ipc_up_to) and not self.broken,
            "measured-ipc-slower": self.ipc_up_to == 0,
        }
        return frozenset(name for name, holds in told.items() if holds)

    def __str__(self) -> str:
        told = ", ".join(words(self))
        return f"{told} ({self.source}, {self.day}, fabric {self.fingerprint})"

    def to_json(self) -> dict[str, Any]:
        """As JSON data, versioned by `schema`."""
        return {"schema": SCHEMA, **asdict(self)}


def _slowest(ring: tuple[int, ...], links: Mapping[tuple[int, int], float]) -> float:
    pairs = pairwise((*ring, ring[0]))
    return min(links[min(pair), max(pair)] for pair in pairs)


def words(seen: Measured) -> Iterable[str]:
    """What it comes to, a short text each."""
    if seen.broken:
        yield seen.broken
    if seen.copies:
        yield f"copies {min(seen.copies.values()):.1f} to {max(seen.copies.values()):.1f} GB/s"
    size = min((size for size in seen.nccl if size >= DECODE), default=0)
    if size:
        beside = f", by PCIe IPC {seen.ipc[size] * 1e6:.1f}" if size in seen.ipc else ""
        yield f"all-reduce of {size >> 10} KiB in {seen.nccl[size] * 1e6:.1f} us by NCCL{beside}"
    if seen.ipc_up_to:
        yield f"PCIe IPC is faster up to {seen.ipc_up_to >> 10} KiB"
    elif seen.ipc_up_to == 0:
        yield "PCIe IPC is slower at every size"
    elif seen.no_ipc:
        yield f"PCIe IPC not measured: {seen.no_ipc}"


def fingerprint(functions: Iterable[Function], driver: str) -> str:
    """What a topology is told by: its GPUs, the bridges above each, and the driver: 12 letters."""
    told = sorted(
        f"{one.bdf} {one.id} {' '.join(one.above)}" for one in functions if one.kind == "gpu"
    )
    return hashlib.sha256("\n".join([*told, driver]).encode()).hexdigest()[:12]


def loads(text: str) -> Measured:
    """One run from the text of its file. Raises ValueError for what is none."""
    try:
        data = json.loads(text)
        if data["schema"] != SCHEMA:
            raise ValueError("another schema")
        return Measured(
            fingerprint=line(str(data["fingerprint"])),
            day=line(str(data["day"])),
            ranks=int(data["ranks"]),
            torch=line(str(data["torch"])),
            copies={_pair(name): float(speed) for name, speed in data["copies"].items()},
            nccl=_times(data["nccl"]),
            ipc=_times(data["ipc"]),
            broken=line(str(data["broken"])),
            no_ipc=line(str(data["no_ipc"])),
            source=line(str(data["source"])),
        )
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no measurement: {error}") from None


def _times(told: Mapping[str, float]) -> dict[int, float]:
    return {int(size): float(seconds) for size, seconds in told.items()}


def _pair(name: str) -> str:
    one, _, two = name.partition("->")
    if not (one.isdecimal() and two.isdecimal()):
        raise ValueError(f"{name!r} is no pair of GPUs")
    return name
