"""What `top` shows, looked at again and again: every instance, the GPUs, and what happened last.

GPUs are as a launcher read them last, where that is fresh; else a child of our own asks the driver,
which may hang.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from launcher.operate import control
from launcher.operate.holders import Holder, Holders, is_free
from launcher.operate.watch import LAST, Seen, Watch
from launcher.serve.gpu_monitor import GpuWatch
from launcher.statedir.events import Event
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known, listed
from launcher.statedir.readings import GpuReading
from launcher.statedir.times import now_text

SCHEMA = 1
FRESH = 15.0  # seconds that a launcher's look at the GPUs is believed: it reads them every 5 to 10
ASKED_EVERY = 2.0  # seconds between two questions to the driver
DRIVER_WITHIN = 5.0  # seconds for the first answer of the driver


@dataclass(frozen=True)
class Gpus:
    """The GPUs of this host, `age` seconds ago, and by the index of each who holds it; `why` there
    are none, if there are none.
    """

    gpus: tuple[GpuReading, ...] = ()
    age: float = 0.0
    why: str = ""
    holders: Mapping[int, tuple[Holder, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What scripts read."""
        every = []
        for gpu in self.gpus:
            held = [holder.to_json() for holder in self.holders.get(gpu.index, ())]
            every.append(gpu.to_json() | {"free": is_free(gpu), "held_by": held})
        return {"age": round(self.age, 3), "why": self.why or None, "gpus": every}


@dataclass(frozen=True)
class Shown:
    """All of it at one moment (`time`: UTC)."""

    time: str
    instances: tuple[Seen, ...]
    gpus: Gpus
    events: tuple[Event, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "time": self.time,
            "instances": [seen.to_json() for seen in self.instances],
            "gpus": self.gpus.to_json(),
            "events": [event.to_json() for event in self.events],
        }


class Driver:
    """The driver, asked by a child of our own, which is begun when it is first needed."""

    def __init__(self, within: float = DRIVER_WITHIN) -> None:
        """`within`: seconds for its first answer."""
        self._within = within
        self._child: GpuWatch | None = None
        self._at: float | None = None  # when it answered last
        self._poke_at = 0.0
        self._end = ""

    def look(self) -> Gpus:
        """The GPUs by its last answer; the first one is waited for a moment."""
        if self._child is None and not self._end:
            self._child = child = GpuWatch()
            child.poke()
            until = time.monotonic() + self._within
            while self._hear(child) and self._at is None and time.monotonic() < until:
                select.select([child.output], [], [], max(0.0, until - time.monotonic()))
        elif self._child is not None:
            self._hear(self._child)
        if self._child is None:
            return Gpus(why=self._end)
        if time.monotonic() >= self._poke_at:
            self._poke_at = time.monotonic() + ASKED_EVERY
            self._child.poke()
        if self._at is None:
            return Gpus(why="the driver does not answer")
        gpus = self._child.gpus
        return Gpus(gpus, time.monotonic() - self._at, "" if gpus else "no GPU")

    def _hear(self, child: GpuWatch) -> bool:
        """Take in what it answered, and whether it goes on; what else it tells is the launchers'
        affair.
        """
        try:
            ends = [told.end for told in child.hear() if told.end is not None]
        except EOFError:
            ends = ["the child that asks the driver ended"]
        if ends:
            self._end = f"no GPU is to be seen: {ends[0]}"
            self.close()
        elif child.has_answered:
            self._at = time.monotonic()
        return not ends

    def close(self) -> None:
        """End the child."""
        if self._child:
            self._child.close()
            self._child, self._at = None, None


class Top:
    """All of it. `instances` gives those that are to be shown, anew for each look; `driver` is None
    where the launchers' word on the GPUs must do.
    """

    def __init__(
        self, instances: Callable[[], Sequence[StateDir]], driver: Driver | None = None
    ) -> None:
        self._instances = instances
        self._driver = driver
        self._watches: dict[str, Watch] = {}
        self._holders = Holders()
        self._pool = ThreadPoolExecutor(8)

    def look(self, *, whole: bool = False) -> Shown:
        """Once, in some two seconds at most: a server that does not answer keeps no other
        waiting.
        """
        names = {instance.name: instance for instance in self._instances()}
        self._watches = {
            name: self._watches.get(name) or Watch(instance) for name, instance in names.items()
        }
        watches = [*self._watches.values()]
        look = partial(Watch.look, whole=whole)
        seen = [look(watches[0])] if len(watches) == 1 else [*self._pool.map(look, watches)]
        gpus = self._gpus(watches)
        gpus = replace(gpus, holders=self._holders.look(gpus.gpus, partial(_beside, watches)))
        told = sorted(
            (event for watch in watches for event in watch.events()), key=lambda event: event.time
        )
        return Shown(now_text(), tuple(seen), gpus, tuple(told[-LAST:]))

    def _gpus(self, watches: Sequence[Watch]) -> Gpus:
        """By the launcher that read them last, if that is fresh, else by the driver itself."""
        found = [read for watch in watches if (read := watch.readings()) and read.gpus]
        newest = max(found, key=lambda read: read.at, default=None)
        age = time.time() - newest.at if newest else 0.0
        if newest and (-FRESH < age < FRESH or self._driver is None):
            if self._driver:
                self._driver.close()
            return Gpus(newest.gpus, max(0.0, age))
        return self._driver.look() if self._driver else Gpus()

    def close(self) -> None:
        """End what was begun."""
        self._pool.shutdown(wait=False)
        if self._driver:
            self._driver.close()


def _beside(watches: Sequence[Watch]) -> list[StateDir]:
    """The instances that are watched, and those beside them: they may hold GPUs, too."""
    homes = {watch.instance.folder.parent for watch in watches}
    return [instance for home in homes for instance in known(home)]


def meant(home: Path, profiles: Sequence[str]) -> Callable[[], Sequence[StateDir]]:
    """The instances that are named, or all there are, now or later; root becomes the owner of one,
    or of all if that is one user.

    Raises UserError for one that is named and is none, or is closed to this user.
    """
    from launcher.operate import identity  # click takes its time

    found = [one for name in profiles for one in control.meant(home, name)] or listed(home)
    if profiles:
        entered = [identity.enter(instance) for instance in found]
        return lambda: entered
    owners = set[int]()
    for instance in found:
        with contextlib.suppress(OSError):
            owners.add(instance.folder.lstat().st_uid)
    if len(owners) == 1:
        home = identity.become_owner(found[0]).folder.parent
    return partial(known, home)
