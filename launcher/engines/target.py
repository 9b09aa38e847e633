"""What a plan is made for: the engine's release, the GPUs, the model, and what of the host decides
flags.

None says that nobody knows: rules then take the side that does no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from launcher import counting
from launcher.engines.engine import dialect
from launcher.engines.options import Release, version
from launcher.host.facts import Driver, Engine, Fact, Gpu, Host, Model, Pcie, System
from launcher.host.measured import Measured
from launcher.knowledge import gpus
from launcher.plan.plan import ENGINE

ARCHS = gpus.archs()  # those that rules are made for
PATHS = ("X", "NV", "PIX", "PXB", "PHB", "NODE", "SYS")  # of nvidia-smi topo -m, nearest first
T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """What is known of where a plan shall run."""

    release: str | None = None  # as installed, "0.5.23"
    arch: str | None = None  # sm100, sm103, sm120
    gpu: str | None = None  # the product, as gpus.toml calls it; None: none that is known
    numa_nodes: int | None = None
    farthest: str | None = None  # the longest way between two GPUs: NV, PIX, PXB, PHB, NODE, SYS
    infiniband: bool | None = None
    memory: int | None = None  # bytes of the smallest GPU
    count: int | None = None  # of its GPUs
    # their UUIDs, which survive renumbering, those below one root complex together; (): unknown
    devices: tuple[str, ...] = ()
    model: Model = field(default_factory=Model)
    engine: str = ENGINE
    addresses: Mapping[str, str] = field(default_factory=dict)  # interfaces by their addresses
    measured: Measured | None = None  # between these GPUs, by `doctor --deep`
    unmeasured: str = ""  # why what was measured is not used, where something was
    # the GPUs that are seen, in words, by their architecture, "" of those that are no Blackwell;
    # {}: none, or not all tell it
    shown: Mapping[str, str] = field(default_factory=dict)
    is_guess: bool = False  # the architecture is assumed: nobody said which

    @cached_property
    def nearest(self) -> str:
        """The known release that stands for the installed one, the newest where nobody knows."""
        known, release = dialect(self.engine).options, self.release or ""
        return known.nearest(release) if version(release) else known.newest

    @cached_property
    def known(self) -> Release:
        """What that release accepts."""
        return dialect(self.engine).options.release(self.nearest)

    @cached_property
    def is_before(self) -> bool:
        """Whether it is older than all that are known: what they lack it may have had."""
        oldest = dialect(self.engine).options.releases[0]
        return () < version(self.release or "") < version(oldest)

    @property
    def is_beyond(self) -> bool:
        """Whether it is newer than all that are known: what they lack it may have."""
        return version(self.release or "") > version(dialect(self.engine).options.newest)

    @property
    def after(self) -> Release | None:
        """The known release next to it, where it is between two of them."""
        known = dialect(self.engine).options
        found = known.after(self.release or "")
        return known.release(found) if found else None

    @property
    def doubt(self) -> str | None:
        """Why the release is not just the installed one."""
        name = dialect(self.engine).name
        if not self.release or not version(self.release):
            return (
                f"the {name} release is unknown: resolved for {self.nearest}, the newest known"
                " (engine.python names its interpreter; or `glm5-serve render --release RELEASE`)"
            )
        if after := dialect(self.engine).options.after(self.release):
            return (
                f"{name} {self.release} is between those known, {self.nearest} and {after}:"
                f" resolved as for {self.nearest}"
            )
        if version(self.release) != version(self.nearest):
            side = "newer" if version(self.release) > version(self.nearest) else "older"
            return (
                f"{name} {self.release} is {side} than those known: resolved as for {self.nearest}"
            )
        return None

    def mismatch(self, profile: str, wanted: str | None) -> str | None:
        """That its GPUs are others than a profile, by its name, says that it is for; None where
        it says nothing of them, or nobody knows these.
        """
        known = self.shown or ({self.arch: self.arch} if self.arch else {})
        if not known or wanted is None or wanted in known:
            return None
        these = ", ".join(known.values())
        return f"profile {profile} is for {wanted}, and not for {these}"

    def shortage(self, wanted: int) -> str | None:
        """That there are fewer GPUs than a plan wants; None where there are enough, or nobody
        counted them.
        """
        if self.count is None or self.count >= wanted:
            return None
        return f"the plan wants {counting.of(wanted, 'GPU')}, the host has {self.count}"


def of(host: Host, engine: str = ENGINE) -> Target:
    """What the facts of a host say, for an engine."""
    seen = of_parts(host.driver, host.system, host.model, host.pcie)
    return replace(seen, release=of_engine(host.engine, engine), engine=engine)


def of_engine(seen: Engine, name: str) -> str | None:
    """The release of an engine, by its name, that an interpreter has; None where it has none, or
    does not tell it.
    """
    told = seen.packages.otherwise({}).get(dialect(name).package, "")
    return told if version(told) else None


def of_parts(
    driver: Driver,
    system: System,
    model: Model,
    pcie: Pcie = Pcie(),  # noqa: B008  a value
) -> Target:
    """The same without the engine."""
    shown = driver.gpus.otherwise(())
    ids = {one.bdf: one.id for one in pcie.functions.otherwise(())}
    seen = {blackwell(gpu) for gpu in shown}
    products = {product.id if (product := which(gpu, ids)) else None for gpu in shown}
    return Target(
        arch=next(iter(seen)) if len(seen) == 1 else None,
        gpu=products.pop() if len(products) == 1 else None,
        numa_nodes=_value(system.numa_nodes),
        farthest=_farthest(driver),
        infiniband=_value(system.infiniband, bool),
        memory=min(
            (gpu.memory_total.get() for gpu in shown if gpu.memory_total.known), default=None
        ),
        count=_count(driver, pcie),
        shown=_by_arch(shown),
        devices=_devices(shown, pcie),
        model=model,
        addresses={
            address: one.name for one in system.networks.otherwise(()) for address in one.addresses
        },
    )


def _by_arch(shown: Sequence[Gpu]) -> dict[str, str]:
    """GPUs in words, by their architecture; none where one does not tell it."""
    if not all(gpu.capability.known for gpu in shown):
        return {}
    names = Counter((blackwell(gpu) or "", gpu.name.otherwise("GPU")) for gpu in shown)
    told: dict[str, list[str]] = {}
    for (arch, name), count in names.items():
        told.setdefault(arch, []).append(f"{count}x {name}")
    return {arch: ", ".join(these) for arch, these in told.items()}


def _devices(shown: Iterable[Gpu], pcie: Pcie) -> tuple[str, ...]:
    """The GPUs by UUID, ordered by where they are plugged in; none where one is not told."""
    above = {one.bdf: one.above for one in pcie.functions.otherwise(())}

    def place(gpu: Gpu) -> tuple[int, str, str]:
        bdf = gpu.bdf.otherwise("")
        port = next(iter(above.get(bdf, ())), bdf)  # its domain and bus are the root complex
        return gpu.numa.otherwise(-1), port[:-5], bdf

    ordered = sorted(shown, key=place)
    known = all(gpu.uuid.known and gpu.bdf.known for gpu in ordered)
    return tuple(gpu.uuid.get() for gpu in ordered) if known else ()


def _count(driver: Driver, pcie: Pcie) -> int | None:
    """How many GPUs the driver shows, else the bus; None where neither tells."""
    on_bus = [one for one in pcie.functions.otherwise(()) if one.kind == "gpu"]
    return len(driver.gpus.get()) if driver.gpus.known else len(on_bus) or None


def taken_for(target: Target, memory: int = 0) -> Target:
    """The target with the product that its architecture is taken for where nobody says which one
    it is, with at least so many bytes.
    """
    taken = gpus.least(target.arch, memory)
    if target.gpu or target.memory or taken is None:
        return target
    return replace(target, gpu=taken.id, memory=taken.memory)


def blackwell(gpu: Gpu) -> str | None:
    """The architecture of a GPU, None where it is no Blackwell, or not told."""
    arch = gpus.arch(gpu.capability.otherwise(""))
    return arch if arch in gpus.BLACKWELL else None


def which(gpu: Gpu, ids: Mapping[str, str]) -> gpus.Product | None:
    """The product that a GPU is; `ids` are the PCI ids by the address of their function."""
    return gpus.which(
        ids.get(_value(gpu.bdf) or ""),
        _value(gpu.name),
        _value(gpu.memory_total),
        _value(gpu.capability),
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
