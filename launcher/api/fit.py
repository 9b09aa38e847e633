"""Whether a plan's model fits its GPUs: what `glm5-serve fit` shows, and its JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from launcher.capacity import sizes
from launcher.capacity.estimate import fit
from launcher.capacity.memory import Weights, from_headers
from launcher.capacity.outcome import Fit, Said
from launcher.config.load import PlanRequest, load
from launcher.config.select import choose, of_aim, shown
from launcher.config.target import TargetOptions, planned, recorded
from launcher.doctor.heading import fitting
from launcher.engines.target import of
from launcher.errors import UserError
from launcher.host.facts import Driver, Host, Model
from launcher.knowledge import gpus, models
from launcher.knowledge.shape import Shape
from launcher.lint.notes import noted, stopping
from launcher.plan.findings import Severity
from launcher.plan.plan import POINTS, Plan

SCHEMA = 1


@dataclass(frozen=True)
class FitRequest:
    """What was asked for: a profile, or None for the default; another checkpoint than
    its own; what shall differ from it; and the GPUs, the release or the facts of a host.
    """

    profile: str | None = None
    model: str | None = None
    settings: tuple[str, ...] = ()
    aim: TargetOptions = field(default_factory=TargetOptions)


@dataclass(frozen=True)
class Here:
    """How the host is asked on which this runs; as it stands, it is not asked at all."""

    driver: Callable[[], Driver] = Driver
    host: Callable[[Plan, Driver], Host] = lambda plan, driver: Host(driver=driver)
    model: Callable[[str], Model] = lambda path: Model()
    headers: Callable[[str], Sequence[tuple[str, int]]] = lambda folder: ()  # dtypes, bytes
    speed: Callable[[str], float | None] = lambda folder: None  # bytes a second, of its disk


NOWHERE = Here()


@dataclass(frozen=True)
class Estimate:
    """How a plan fits, at each operating point, and what that rests on."""

    plan: Plan
    host: Host
    fit: Fit
    points: Mapping[str, Fit]
    notes: tuple[str, ...]


def estimate(ask: FitRequest, environ: Mapping[str, str], here: Here = NOWHERE) -> Estimate:
    """Estimate it. Raises UserError where the model's sizes are unknown."""
    aim, model = ask.aim, ask.model
    facts = recorded(aim.facts) if aim.facts else None
    driver = shown(facts) if facts else here.driver()
    chosen = choose(ask.profile, driver if facts or not aim.arch else of_aim(aim), environ)
    named = [f"{_model_key(chosen.profile, environ)}={_path(model)}"] if model else []
    asked = [*chosen.settings, *named, *ask.settings]
    plan = noted(planned(PlanRequest(chosen.profile, tuple(asked)), environ, aim)[0])
    if not plan.gpus:
        raise UserError(
            f"profile {plan.name} runs on the CPU", fix="fit is about GPUs: choose another profile"
        )
    host = facts or here.host(plan, driver)
    if facts and model:  # another one than those facts are about
        host = replace(facts, model=here.model(plan.model))
    # The folder of a recorded host is none of this one's, whatever lies here by its name.
    shape, weights = _sizes(plan, host, here if model or not facts else NOWHERE)
    fits = fitting(driver) if chosen.settings and not model else []
    counted = _counted(plan) if aim.arch and not facts and not ask.profile else []
    notes = [
        *(counted or chosen.notes),
        *(f"fits: {line}" for line in fits),
        *_of_name(plan, host),
        *plan.notes,
    ]
    # Other GPUs than this host's: its memory and disks say nothing.
    elsewhere = aim.arch is not None and facts is None
    if elsewhere:
        host = Host(model=host.model)
    memory = _memory(plan, host, aim, elsewhere=elsewhere)
    is_here = not facts and not elsewhere and host.model.path.known
    speed = here.speed(host.model.path.get()) if is_here else None
    made = fit(plan, shape, weights, host, memory, speed)
    points = {
        point: fit(other, shape, weights, host, memory)
        for point, other in _at_points(plan, (chosen.profile, asked), environ, aim)
    }
    made = replace(made, said=(*_stopping(plan, made), *made.said))
    return Estimate(plan, host, made, points, tuple(_beside(made, notes)))


def to_json(told: Estimate) -> dict[str, Any]:
    """What `fit --json` prints; sizes are bytes of one GPU."""
    plan = told.plan
    data = {
        "schema": SCHEMA,
        "profile": plan.name,
        "model": plan.model,
        "arch": plan.arch,
        "gpu": plan.gpu,
        "release": plan.release,
        "notes": list(told.notes),
        "point": plan.point,
        "points": {name: _brief(one) for name, one in told.points.items()},
    }
    return data | asdict(told.fit) | {"fits": told.fit.fits}


def _memory(plan: Plan, host: Host, aim: TargetOptions, *, elsewhere: bool) -> int | None:
    """Bytes of one of the GPUs that it is told for: those that were said, those that the profile
    is for where the host has others, else the host's. None where nobody knows.
    """
    if aim.gpu:
        return gpus.products()[aim.gpu].memory
    if elsewhere:
        return None
    here = of(host)
    is_other = here.mismatch(plan.name, plan.needs_arch) is not None
    return gpus.of(plan.gpu).memory if is_other else here.memory


def _beside(made: Fit, notes: Sequence[str]) -> Iterator[str]:
    """The notes that say more than the verdict does: none is of an option that it blames, and
    none sends to `fit`.
    """
    blamed = tuple(f": --{said.blames} " for said in made.said if said.blames)
    for note in notes:
        is_said = any(said.what.startswith(note) for said in made.said)
        if not is_said and not any(option in note for option in blamed):
            yield re.sub(r" \(`glm5-serve fit`[^)]*\)", "", note)


def _at_points(
    plan: Plan, asked: tuple[str, Sequence[str]], environ: Mapping[str, str], aim: TargetOptions
) -> Iterator[tuple[str, Plan]]:
    """The same plan at each operating point, for the release and the GPUs that it was made for."""
    profile, settings = asked
    if not aim.facts:
        aim = replace(aim, release=plan.release, engine=plan.engine, arch=plan.arch)
    for point in POINTS if plan.point else ():
        ask = PlanRequest(profile, (*settings, f"operating_point={point}"))
        yield point, plan if point == plan.point else planned(ask, environ, aim)[0]


def _brief(made: Fit) -> dict[str, object]:
    names = "fits weights tokens groups drafts running requests left".split()
    return {name: getattr(made, name) for name in names}


def _counted(plan: Plan) -> list[str]:
    wants = f"{plan.gpus}, as profile {plan.name} wants"
    return [f"no profile was named; how many GPUs there are is not known: {wants}"]


def _stopping(plan: Plan, made: Fit) -> Iterator[Said]:
    """What keeps a server from starting, whatever fits, that is not said already."""
    for what, found in stopping(plan):
        if not any(found.why in said.what for said in made.said):
            fix = found.instead or "leave it out"
            yield Said(Severity.FAIL, f"{what}: {found.why}", fix, found.known, found.source)


def _of_name(plan: Plan, host: Host) -> list[str]:
    """What is taken from the words of a checkpoint's name alone."""
    if host.model.quantisation.known or models.known(plan.model):
        return []
    told = models.quantisation(plan.model)
    return [f"{plan.model} is neither here nor known: by its name alone it is {told}"]


def _model_key(profile: str, environ: Mapping[str, str]) -> str:
    """What a profile's model is called in it."""
    return f"flags.{load(PlanRequest(profile), environ).dialect.option_of('model_path')}"


def _path(model: str) -> str:
    """A folder in full, so that it means the same everywhere; a hub id as it is. Raises
    UserError for an address.
    """
    models.require_no_address(model)
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _sizes(plan: Plan, host: Host, here: Here) -> tuple[Shape, Weights]:
    """The model's shape and weights: from its folder, else from what its name tells."""
    shape = sizes.shape(host.model, plan.model)
    told = here.headers(host.model.path.get()) if host.model.path.known else []
    if (
        told
        and host.model.missing.otherwise(("?",)) == ()
        and not host.model.broken.otherwise({"?": "?"})
    ):
        return shape, from_headers(told, shape.layers)
    return shape, sizes.weights(host.model, plan.model, shape)
