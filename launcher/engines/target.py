"""What a plan is made for: the engine's release, the GPUs, the model, and what of the host decides
flags.

None says that nobody knows: rules then take the side that does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from launcher.engines.engine import dialect
from launcher.engines.options import Release, version
from launcher.host.facts import Driver, Engine, Fact, Host, Model, System
from launcher.plan.plan import ENGINE

# Compute capability -> the architecture as CUDA's compilers name it.
BLACKWELL = {
    "10.0": "sm100",
    "10.1": "sm101",
    "10.3": "sm103",
    "11.0": "sm110",
    "12.0": "sm120",
    "12.1": "sm121",
}
ARCHS = ("sm100", "sm103", "sm120")  # those that rules are made for: B200, B300, RTX PRO 6000
PATHS = ("X", "NV", "PIX", "PXB", "PHB", "NODE", "SYS")  # of nvidia-smi topo -m, nearest first
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """What is known of where a plan shall run."""

    release: str | None = None  # as installed, "0.5.23"
    arch: str | None = None  # sm100, sm103, sm120
    numa_nodes: int | None = None
    farthest: str | None = None  # the longest way between two GPUs: NV, PIX, PXB, PHB, NODE, SYS
    infiniband: bool | None = None
    memory: int | None = None  # bytes of the smallest GPU
    model: Model = field(default_factory=Model)
    engine: str = ENGINE

    @property
    def nearest(self) -> str:
        """The known release that stands for the installed one, the newest where nobody knows."""
        known, release = dialect(self.engine).options, self.release or ""
        return known.nearest(release) if version(release) else known.newest

    @property
    def known(self) -> Release:
        """What that release accepts."""
        return dialect(self.engine).options.release(self.nearest)

    @property
    def doubt(self) -> str | None:
        """Why the release is not just the installed one."""
        name = dialect(self.engine).name
        if not self.release or not version(self.release):
            return (
                f"the {name} release is unknown: resolved for {self.nearest}, the newest known"
                " (override with --release)"
            )
        if version(self.release) != version(self.nearest):
            side = "newer" if version(self.release) > version(self.nearest) else "older"
            return (
                f"{name} {self.release} is {side} than those known: resolved as for {self.nearest}"
            )
        return None


def of(host: Host, engine: str = ENGINE) -> Target:
    """What the facts of a host say, for an engine."""
    seen = of_parts(host.driver, host.system, host.model)
    return replace(seen, release=of_engine(host.engine, engine), engine=engine)


def of_engine(seen: Engine, name: str) -> str | None:
    """The release of an engine, by its name, that an interpreter has; None where it has none, or
    does not tell it.
    """
    told = seen.packages.otherwise({}).get(dialect(name).package, "")
    return told if version(told) else None


def of_parts(driver: Driver, system: System, model: Model) -> Target:
    """The same without the engine."""
    gpus = driver.gpus.otherwise(())
    seen = {BLACKWELL.get(gpu.capability.otherwise("")) for gpu in gpus}
    return Target(
        arch=seen.pop() if len(seen) == 1 else None,
        numa_nodes=_value(system.numa_nodes),
        farthest=_farthest(driver),
        infiniband=_value(system.infiniband, bool),
        memory=min(
            (gpu.memory_total.get() for gpu in gpus if gpu.memory_total.known), default=None
        ),
        model=model,
    )


def _value(fact: Fact[T], made: Callable[[T], Any] = lambda value: value) -> Any:
    return made(fact.get()) if fact.known else None


def _farthest(driver: Driver) -> str | None:
    if not driver.topology.known:
        return None
    ways: Iterable[str] = (
        "NV" if way.startswith("NV") else way for row in driver.topology.get() for way in row
    )
    known = [way for way in ways if way in PATHS and way != "X"]
    return max(known, key=PATHS.index, default=None)
