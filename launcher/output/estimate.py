"""`glm5-serve fit`: finds the model's sizes and the GPUs' memory, and shows how one fits the
other.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.capacity import sizes
from launcher.capacity.estimate import fit
from launcher.capacity.memory import GIB, Weights, from_headers
from launcher.capacity.outcome import Fit, Said
from launcher.config.resolve import PlanRequest
from launcher.config.select import choose, of_aim, shown
from launcher.config.target import TargetOptions, planned, recorded
from launcher.doctor.heading import fitting
from launcher.engines.engine import dialect
from launcher.engines.target import of
from launcher.errors import Exit, UserError
from launcher.host.collectors.checkpoint import checkpoint
from launcher.host.facts import Engine, Host
from launcher.host.observe import observe, observe_driver
from launcher.knowledge import gpus, models
from launcher.knowledge.shape import Shape
from launcher.lint.notes import STOPS, noted, stopping
from launcher.output import budget
from launcher.output.budget import gib
from launcher.output.checkpoint import about
from launcher.plan.findings import Severity
from launcher.plan.plan import POINTS, Plan

if TYPE_CHECKING:
    from rich.console import Console

    from launcher.engines.memory import Knobs

SCHEMA = 1
WARM = "36 to 44 s from the page cache (reported)"


def run(
    profile: str | None,
    model: str | None,
    settings: Sequence[str],
    aim: TargetOptions,
    environ: Mapping[str, str],
    *,
    as_json: bool,
) -> int:
    """Estimate and print; exit 1 if it does not fit.

    Raises UserError where the model's sizes are unknown.
    """
    facts = recorded(aim.facts) if aim.facts else None
    driver = shown(facts) if facts else observe_driver()
    chosen = choose(profile, driver if facts or not aim.arch else of_aim(aim), environ)
    asked = [*chosen.settings, *([f"flags.model-path={_path(model)}"] if model else []), *settings]
    plan = noted(planned(PlanRequest(chosen.profile, tuple(asked)), environ, aim)[0])
    if not plan.gpus:
        raise UserError(
            f"profile {plan.name} runs on the CPU", fix="fit is about GPUs: choose another profile"
        )
    host = facts or observe(plan, environ, driver, Engine())  # what is installed has no size
    if facts and model:  # another one than those facts are about
        host = replace(facts, model=checkpoint(plan.model, environ))
    shape, weights = _sizes(plan, host)
    fits = fitting(driver) if chosen.settings and not model else []
    counted = _counted(plan) if aim.arch and not facts and not profile else []
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
    memory = gpus.products()[aim.gpu].memory if aim.gpu else None if elsewhere else of(host).memory
    speed = None if facts or elsewhere else _speed(host)
    made = fit(plan, shape, weights, host, memory, speed)
    points = {
        point: fit(other, shape, weights, host, memory)
        for point, other in _at_points(plan, (chosen.profile, asked), environ, aim)
    }
    made = replace(made, said=(*_stopping(plan, made), *made.said))
    if as_json:
        data = {
            "schema": SCHEMA,
            "profile": plan.name,
            "model": plan.model,
            "arch": plan.arch,
            "gpu": plan.gpu,
            "release": plan.release,
            "notes": notes,
        }
        data |= {"point": plan.point, "points": {name: _brief(one) for name, one in points.items()}}
        print(json.dumps(data | asdict(made) | {"fits": made.fits}, indent=1))
    else:
        told = tuple(said.what for said in made.said)
        _show(made, plan, host, [note for note in notes if not note.startswith((STOPS, *told))])
        budget.points(points, plan.point)
    return Exit.FINE if made.fits else Exit.NO


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


def _path(model: str) -> str:
    """A folder in full, so that it means the same everywhere; a hub id as it is. Raises
    UserError for an address.
    """
    models.require_no_address(model)
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _speed(host: Host) -> float | None:
    from launcher.host.collectors.disk import speed

    return speed(host.model.path.get()) if host.model.path.known else None


def _sizes(plan: Plan, host: Host) -> tuple[Shape, Weights]:
    """The model's shape and weights: from its folder, else from what its name tells."""
    from launcher.host.collectors.checkpoint import sizes as headers

    shape = sizes.shape(host.model, plan.model)
    told = headers(host.model.path.get()) if host.model.path.known else []
    if (
        told
        and host.model.missing.otherwise(("?",)) == ()
        and not host.model.broken.otherwise({"?": "?"})
    ):
        return shape, from_headers(told, shape.layers)
    return shape, sizes.weights(host.model, plan.model, shape)


def _show(made: Fit, plan: Plan, host: Host, notes: Sequence[str]) -> None:
    from launcher.output import console as terminal
    from launcher.output.console import row, words

    console = terminal.console(sys.stdout)
    seen = ", assumed, no GPU here" if made.assumed else ""
    engine = dialect(plan.engine)
    head = (
        f"{_gpu(plan, made)}, {engine.name} {engine.options.nearest(plan.release or '')}:"
        f" {made.gpus} x {made.memory / GIB:.1f} GiB{seen}"
    )
    console.print(words((plan.name, "bold"), "  ", head))
    for note in notes:
        console.print(words((f"note: {note}", "yellow")))
    _verdict(console, made)
    how = "from the files' headers" if made.exact else "computed, with 3 % of margin"
    console.print()
    budget.picture(console, made)
    for name, text in (
        ("model", plan.model),
        *about(host.model, plan.model),
        ("weights", f"{gib(made.weights)} a GPU, {gib(made.checkpoint)} in all ({how})"),
        ("fraction", budget.fraction(made, engine)),
        ("KV cache", budget.cache(made)),
        *budget.left(made),
        *([] if made.pool else [("usable", budget.usable(made, engine.memory.knobs))]),
    ):
        console.print(row(name, text))
    _slots(console, made, engine.memory.knobs)
    _requests(console, made, engine.memory.knobs)
    _host(console, made)
    if not made.pool:
        budget.table(console, made)


def _gpu(plan: Plan, made: Fit) -> str:
    if plan.gpu is None and not made.assumed:
        return plan.arch or "no GPU that is known"
    product = gpus.of(plan.gpu)
    return f"{product.name}, {product.arch}"


def _slots(console: Console, made: Fit, knobs: Knobs) -> None:
    from launcher.output.console import row

    if made.slots is not None:
        held = f"{made.slots:,} slots of {made.slot / 1e6:.1f} MB, {gib(made.slots * made.slot)}"
        most = f"{made.admitted} requests at once, 5 slots each; {knobs.slots} sets how many"
        console.print(row("states", f"{held}: {most}"))


def _requests(console: Console, made: Fit, knobs: Knobs) -> None:
    from launcher.output.console import row

    told = " · ".join(f"{count} of {size:,}" for size, count in sorted(made.requests.items()))
    most = f"; {knobs.requests} {made.running}" if made.running else ""
    console.print(row("requests", f"{told} tokens{most}"))
    size = min(32768, made.context)
    cost = f"a request of {size:,} tokens takes {gib(size * made.cell)} a GPU"
    each = f"10,000 tokens more of context {gib(10_000 * made.cell)}"
    console.print(row("cost", f"{cost}; {each}"))


def _host(console: Console, made: Fit) -> None:
    from launcher.output.console import row

    if made.host_memory:
        holds = "holds" if made.host_memory >= made.checkpoint else "does not hold"
        console.print(row("host", f"{gib(made.host_memory)} of memory: {holds} the checkpoint"))
    if made.cold_load and made.disk_speed:
        load = (
            f"about {made.cold_load:.0f} s at {made.disk_speed / 1e9:.1f} GB/s, as this disk reads"
            f" now; {WARM}"
        )
        console.print(row("load", load))


def _verdict(console: Console, made: Fit) -> None:
    from launcher.output.console import words

    for said in made.said:
        colour = "red" if said.severity is Severity.FAIL else "yellow"
        known = f" ({said.known}: {said.source})", "dim"
        console.print(words((f"{said.severity.word:<10}", colour), said.what, known))
        console.print(words((f"{'fix':<10}", "bold"), said.fix))
    if made.fits:
        console.print("it fits" + (", with the warnings above" if made.said else ""), style="green")
    else:
        console.print("it does not fit" if made.is_too_large else "it would not start", style="red")
