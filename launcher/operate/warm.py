"""`glm5-serve warm`: before a maintenance window, what the next start would wait for.

The checkpoint is read into the page cache as `up` has it read. Kernels are not compiled: only the
engine itself knows which ones, by running the model, and a second server on GPUs that serve would
take their memory. What is compiled already is told, and what is not, as far as folders tell.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from launcher.config import layers
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.config.target import instance_of, observe_target, require_own
from launcher.engines.engine import runtime
from launcher.host.facts import Cache, Engine, Fact, known, unknown
from launcher.plan.plan import Plan
from launcher.serve.readahead import NOT_ALL, ReadAhead, Request, Told

FLASHINFER = "flashinfer-python"
PREBUILT = ("flashinfer-jit-cache", "flashinfer-cubin")  # with its kernels in them


@dataclass(frozen=True)
class Kernels:
    """What is known of an engine's compiled kernels: the folders that have some, which of its
    packages of prebuilt ones are there, and which of either will not be used.
    """

    caches: tuple[Cache, ...]
    prebuilt: Mapping[str, str]
    flashinfer: str | None

    @property
    def useless(self) -> tuple[str, ...]:
        """Packages of prebuilt kernels that are of another FlashInfer."""
        return tuple(
            f"{name} {release}"
            for name, release in self.prebuilt.items()
            if release.partition("+")[0] != (self.flashinfer or "").partition("+")[0]
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages of prebuilt kernels that are not installed, where FlashInfer is."""
        return tuple(name for name in PREBUILT if self.flashinfer and name not in self.prebuilt)


@dataclass(frozen=True)
class Warmed:
    """What was done, and what was seen."""

    plan: Plan
    told: Told
    kernels: Fact[Kernels] | None  # None: it has no GPU to compile for

    @property
    def is_done(self) -> bool:
        """Whether all of the checkpoint is in memory now, or its loader would not read it there."""
        return self.told.end in ("", runtime(self.plan.engine).loading(self.plan).against)

    @property
    def has_faults(self) -> bool:
        """Whether it is the checkpoint that something is wrong with."""
        end = self.told.end or ""
        return not self.is_done and (not self.told.total or end.startswith(NOT_ALL))


def warm(ask: PlanRequest, environ: Mapping[str, str], tell: Callable[[Told], None]) -> Warmed:
    """Read the checkpoint ahead, telling how far, and look at the kernels. Raises UserError."""
    composed = load(ask, environ)
    require_own(composed)
    seen = observe_target(composed, environ)
    folder = instance_of(composed, environ).folder
    plan = resolve(composed, ask, folder, layers.ours(environ), seen.target)
    kernels = kernels_of(seen.engine) if plan.gpus else None
    return Warmed(plan, read(plan, tell), kernels)


def kernels_of(seen: Engine) -> Fact[Kernels]:
    """The compiled kernels of an engine's environment; unknown where its interpreter is."""
    if why := seen.packages.unknown or seen.caches.unknown:
        return unknown(why)
    packages = seen.packages.get()
    prebuilt = {name: packages[name] for name in PREBUILT if name in packages}
    filled = tuple(cache for cache in seen.caches.get() if cache.files)
    return known(Kernels(filled, prebuilt, packages.get(FLASHINFER)))


def read(plan: Plan, tell: Callable[[Told], None]) -> Told:
    """Have its checkpoint read, to the end; what is told last."""
    loading = runtime(plan.engine).loading(plan)
    if loading.against:
        return Told(end=loading.against)
    ahead = ReadAhead(Request.of(loading, plan.gpus), plan.env)
    try:
        for told in _said_by(ahead):
            tell(told)
    finally:
        ahead.close()
    last = ahead.last
    return last if last.end is not None else replace(last, end="its reader died")


def _said_by(ahead: ReadAhead) -> Iterator[Told]:
    """All that it tells, to its end."""
    while True:
        select.select([ahead.output], [], [])
        try:
            yield from ahead.hear()
        except EOFError:
            return
