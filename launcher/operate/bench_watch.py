"""What the GPUs do while a server is measured: the driver asked again and again, beside it."""

from __future__ import annotations

import threading
from collections.abc import Collection
from types import TracebackType

from launcher.host.collectors.nvml import driver
from launcher.host.facts import Driver
from launcher.plan.plan import Plan

EVERY = 2.0  # seconds between samples
WITHIN = 5.0  # seconds for one


class Watch:
    """Samples of the driver, from when it is entered until it is left; none of a plan for the
    CPU.
    """

    def __init__(self, *, is_wanted: bool) -> None:
        self.samples: list[Driver] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True) if is_wanted else None

    def __enter__(self) -> Watch:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread:
            self._thread.join(WITHIN)

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self.samples.append(driver(WITHIN))


def held(seen: Driver, plan: Plan, processes: Collection[int]) -> frozenset[int]:
    """The GPUs that a server has: those where one of its processes computes, else all where the
    plan takes them all; none where nobody can tell.
    """
    gpus = seen.gpus.otherwise(())
    ours = {
        gpu.index
        for gpu in gpus
        for process in gpu.processes.otherwise(())
        if process.pid in processes
    }
    if not ours and plan.gpus == len(gpus):
        ours = {gpu.index for gpu in gpus}
    return frozenset(ours)
