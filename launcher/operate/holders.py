"""Whose a GPU is: the processes that compute on it, and the instance that each is of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.host.peer import lineage, name_of
from launcher.statedir.folder import StateDir
from launcher.statedir.readings import GpuReading

ROOM = 1 << 30  # bytes that the driver itself may have on a GPU that nobody uses


@dataclass(frozen=True)
class Holder:
    """A process on a GPU; None for the name of one that is not to be seen here, and for the
    instance of one that is no server of ours.
    """

    pid: int
    name: str | None
    instance: str | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def is_free(gpu: GpuReading) -> bool | None:
    """Whether nobody uses a GPU; None where the driver tells of nobody, and memory is in use all
    the same: by a process that it does not show here, in a container for example.
    """
    if gpu.pids:
        return False
    return True if gpu.used is not None and gpu.used < ROOM else None


class Holders:
    """Who holds GPUs, looked at again and again: a process is looked up once."""

    def __init__(self) -> None:
        self._known: dict[int, Holder] = {}

    def look(
        self, gpus: Iterable[GpuReading], instances: Callable[[], Iterable[StateDir]]
    ) -> Mapping[int, tuple[Holder, ...]]:
        """By the index of each GPU; a server's processes live below its launcher."""
        held = {gpu.index: gpu.pids for gpu in gpus if gpu.pids}
        pids = {pid for each in held.values() for pid in each}
        if not pids <= self._known.keys():
            launchers = {one.look().pids.launcher: one.name for one in instances()}
            self._known = {pid: _holder(pid, launchers) for pid in pids}
        return {index: tuple(self._known[pid] for pid in each) for index, each in held.items()}


def _holder(pid: int, launchers: Mapping[int | None, str]) -> Holder:
    above: list[int] = []
    with contextlib.suppress(OSError):
        above = [*lineage(pid)]
    instance = next((launchers[one] for one in above if one in launchers), None)
    is_here = Path(f"/proc/{pid}").exists()
    return Holder(pid, name_of(pid) if is_here else None, instance)
