"""Which profiles are for the GPUs that a driver shows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from launcher.config import layers
from launcher.config.load import PlanRequest, load
from launcher.config.profile import Profile
from launcher.config.resolve import resolve
from launcher.config.target import TargetOptions, instance_of
from launcher.engines.engine import NAMES, dialect
from launcher.engines.target import Target, blackwell
from launcher.errors import Exit, UserError
from launcher.host.facts import Driver, Gpu, Host, known
from launcher.knowledge import gpus
from launcher.knowledge.shape import layout
from launcher.plan.plan import Plan
from launcher.statedir.home import state_home

BROKEN = "broken"  # the obstacle of a profile that cannot be read
FALLBACK = "8xpro6000"  # what this is made for
HEADS = 64  # of its model


@dataclass(frozen=True)
class Row:
    """A profile, what it needs, and why these GPUs are not that; a shadowed one is not found by
    its name.
    """

    name: str
    place: str
    path: str
    shadowed: bool
    needs: str
    fits: bool
    obstacle: str | None
    description: str
    default: bool = False  # what is taken where none is named

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def rows(driver: Driver, environ: Mapping[str, str]) -> list[Row]:
    """Every profile in order of look-up.

    A name found twice means the first: the other is shadowed. Raises UserError where the
    environment would break them all.
    """
    _require_places(environ)
    made: list[Row] = []
    offer: dict[str, Profile] = {}
    for found in (*layers.all_profiles(environ), *layers.aliases().values()):
        shadowed = any(row.name == found.name for row in made)
        where = found.name, found.place, str(found.path), shadowed
        try:
            name = found.name if found.alias and not shadowed else str(found.path)
            plan, profile = _of_all(name, environ)
        except UserError as refusal:
            made.append(Row(*where, "?", False, BROKEN, f"broken: {refusal.what}"))
            continue
        described = profile.description
        described = f"old name of {found.meaning}" if found.alias else described
        is_doubtful = any(note.startswith("unverified") for note in plan.notes)
        description = f"{described}; unverified" if is_doubtful else described
        why_not, wanted = obstacle(profile, driver), needs(plan, profile.replicas)
        made.append(Row(*where, wanted, why_not is None, why_not, description))
        if not shadowed and not found.alias and may_be_chosen(profile):
            offer[found.name] = profile
    best = next(iter(ranked(offer, driver)), None)
    return [replace(row, default=row.name == best and not row.shadowed) for row in made]


def _require_places(environ: Mapping[str, str]) -> None:
    """Raise UserError where no profile could be read for what a variable says: that is told of the
    variable, and not of each profile.
    """
    layers.expand({}, environ)
    state_home(environ)


def _of_all(name: str, environ: Mapping[str, str]) -> tuple[Plan, Profile]:
    """The plan of a profile's server, the first where it has several, and the profile."""
    ask = PlanRequest(name)
    composed = load(ask, environ)
    folder = instance_of(composed, environ).folder
    plan = resolve(composed, ask, folder, layers.ours(environ), Target())
    return plan, composed.profile


def needs(plan: Plan, count: int) -> str:
    """What so many servers of a plan need, in words."""
    if not plan.gpus:
        return "no GPU"
    memory = f", {plan.gpu_memory >> 30} GiB" if plan.gpu_memory else ""
    product = gpus.products().get(plan.gpu or "")
    several = f"{count} times " if count > 1 else ""
    if plan.nodes:
        several = f"{len(plan.nodes)} hosts, each "
    name = product.name if product else plan.arch or "Blackwell"
    return f"{several}{plan.gpus}x {name}{memory}"


def obstacle(profile: Profile, driver: Driver) -> str | None:
    """Why these GPUs cannot run all servers of it, None if they can."""
    wanted, memory = profile.gpus * profile.replicas, int(profile.needs.gpu_memory_gib * 2**30)
    if not wanted:
        return None
    if not driver.gpus.known:
        return "no GPU seen"
    alike = [gpu for gpu in driver.gpus.get() if _is(gpu, profile.needs.arch)]
    if len(alike) < wanted:
        return f"{len(alike)} such GPUs"
    large = [gpu for gpu in alike if gpu.memory_total.otherwise(memory) >= memory]
    return None if len(large) >= wanted else "their memory is smaller"


@dataclass(frozen=True)
class Chosen:
    """A profile to estimate with, what of it is set otherwise, and what is to be said of that."""

    profile: str
    settings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose(named: str | None, driver: Driver, environ: Mapping[str, str]) -> Chosen:
    """The profile that was named, or the default for these GPUs; where there is none, the flags of
    what this is made for, on as many GPUs as there are.
    """
    if named:
        return Chosen(named)
    if best := best_profile(driver, environ):
        return Chosen(best, notes=(f"no profile was named: {best} is the default for these GPUs",))
    seen = driver.gpus.otherwise(())
    if not seen:
        return Chosen(
            FALLBACK, notes=(f"no profile was named, no GPU is here: for {FALLBACK} (-p)",)
        )
    tp, pp = layout(len(seen), HEADS)
    note = f"no profile is for {_these(len(seen))}: the flags of {FALLBACK}, tp {tp}, pp {pp}"
    return Chosen(FALLBACK, (f"flags.tp-size={tp}", f"flags.pp-size={pp}"), (note,))


def _these(count: int) -> str:
    return "this GPU" if count == 1 else f"these {count} GPUs"


def required(driver: Driver, environ: Mapping[str, str], up: Sequence[str] = ()) -> str:
    """The profile that is the default for these GPUs; of several that are `up` none is meant.
    Raises UserError (usage) where there is none.
    """
    if best := best_profile(driver, environ):
        return best
    several = f"{len(up)} servers are up ({', '.join(up)})"
    fits = ", ".join(fitting(driver, environ))
    raise UserError(
        f"which profile? {several if up else 'no server is up'}, and {none_is_default(driver)}",
        fix=f"name one: {f'{fits} fit here; ' if fits else ''}`glm5-serve profiles` lists them all",
        status=Exit.USAGE,
    )


def none_is_default(driver: Driver) -> str:
    """That no profile is taken by itself, and for which GPUs."""
    seen = len(driver.gpus.otherwise(()))
    return f"none is the default for {_these(seen) if seen else 'a host with no GPU seen'}"


def fitting(driver: Driver, environ: Mapping[str, str]) -> list[str]:
    """The names of profiles that these GPUs can run, as `glm5-serve profiles` says."""
    names = dict[str, None]()
    for found in layers.all_profiles(environ):
        with contextlib.suppress(UserError):
            if obstacle(load(PlanRequest(found.name), environ).profile, driver) is None:
                names.setdefault(found.name)
    return [*names]


def of_aim(aim: TargetOptions) -> Driver:
    """Eight GPUs of the product or architecture that was said: as many as a host has."""
    product = gpus.products().get(aim.gpu or "") or gpus.least(aim.arch)
    made = (_as_driver(at, product) for at in range(8) if product)
    return Driver(gpus=known(tuple(made)))


def shown(host: Host) -> Driver:
    """The GPUs to choose for: those that the driver shows, else those on the bus, as far as their
    ids tell what they are.
    """
    if host.driver.gpus.known or not host.pcie.functions.known:
        return host.driver
    products = [gpus.which(one.id) for one in host.pcie.functions.get() if one.kind == "gpu"]
    seen = tuple(_as_driver(at, one) for at, one in enumerate(products) if one)
    return replace(host.driver, gpus=known(seen)) if seen else host.driver


def _as_driver(index: int, product: gpus.Product) -> Gpu:
    return Gpu(
        index,
        name=known(product.name),
        capability=known(product.capability),
        memory_total=known(product.memory),
    )


def _is(gpu: Gpu, arch: str | None) -> bool:
    seen = blackwell(gpu)
    return seen is not None and arch in (None, seen)


def best_profile(
    driver: Driver, environ: Mapping[str, str], engine: str | None = None
) -> str | None:
    """The profile that takes most of the GPUs that the driver shows, one of the host's engine
    before all others; of several the shortest name. None where no profile is for them.
    """
    return Offer(environ).best(driver, engine)


def engine_of(host: Host) -> str | None:
    """The engine that a host has; None where nobody knows, or it has several."""
    there = host.engine.packages.otherwise({})
    found = [name for name in NAMES if dialect(name).package in there]
    return found[0] if len(found) == 1 else None


class Offer:
    """What may be chosen for a host: the profiles that say which GPUs they need, whatever host it
    is. Each is read once, and resolved once it would be chosen.

    Raises UserError where the environment would break them all.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        _require_places(environ)
        self._environ = environ
        self._profiles: dict[str, Profile] = {}
        self._resolves: dict[str, bool] = {}
        for found in layers.all_profiles(environ):
            with contextlib.suppress(UserError):  # `glm5-serve profiles` tells a broken one
                profile = load(PlanRequest(found.name), environ).profile
                if may_be_chosen(profile):
                    self._profiles.setdefault(found.name, profile)

    def best(self, driver: Driver, engine: str | None = None) -> str | None:
        """The best for these GPUs, and this engine; None where no profile is for them."""
        return next(filter(self._is_sound, ranked(self._profiles, driver, engine)), None)

    def _is_sound(self, name: str) -> bool:
        if name not in self._resolves:
            try:
                _of_all(name, self._environ)
                self._resolves[name] = True
            except UserError:
                self._resolves[name] = False
        return self._resolves[name]


def may_be_chosen(profile: Profile) -> bool:
    """Whether a profile is taken where none is named.

    The published card is kept for comparison: its commands are not chosen. One over several hosts,
    or of several servers, is for who says which.
    """
    is_one = not profile.nodes and profile.replicas == 1
    return bool(profile.gpus and profile.needs.arch and profile.rules.enabled and is_one)


def ranked(offer: Mapping[str, Profile], driver: Driver, engine: str | None = None) -> list[str]:
    """Those of the profiles that these GPUs can run, the best first."""
    if not driver.gpus.known:
        return []
    fitting = [name for name, profile in offer.items() if obstacle(profile, driver) is None]

    def rank(name: str) -> tuple[bool, int, int]:
        profile = offer[name]
        return engine == profile.engine.kind, profile.gpus, -len(name)

    return sorted(fitting, key=rank, reverse=True)
