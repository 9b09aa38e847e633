"""`glm5-serve fit`: shows how a model's weights and caches fit the GPUs' memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from launcher.api.fit import NOWHERE, FitRequest, Here, estimate, to_json
from launcher.capacity.memory import GIB
from launcher.capacity.outcome import Fit
from launcher.engines.engine import dialect
from launcher.errors import Exit
from launcher.host.facts import Host
from launcher.knowledge import gpus
from launcher.lint.notes import STOPS
from launcher.output import budget
from launcher.output.budget import gib
from launcher.output.checkpoint import about
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console

    from launcher.engines.memory import Knobs

WARM = "36 to 44 s from the page cache (reported)"


def run(ask: FitRequest, environ: Mapping[str, str], here: Here = NOWHERE, *, as_json: bool) -> int:
    """Estimate and print; exit 1 if it does not fit.

    Raises UserError where the model's sizes are unknown.
    """
    made = estimate(ask, environ, here)
    if as_json:
        print(json.dumps(to_json(made), indent=1))
    else:
        told = (STOPS, *(said.what for said in made.fit.said))
        _show(made.fit, made.plan, made.host, [n for n in made.notes if not n.startswith(told)])
        budget.points(made.points, made.plan.point)
    return Exit.FINE if made.fit.fits else Exit.NO


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

    (size, first), *others = sorted(made.requests.items())
    told = [f"room for {first} of {size:,} tokens", *(f"{n} of {size:,}" for size, n in others)]
    most = f"; at most {made.running} run at once ({knobs.requests})" if made.running else ""
    console.print(row("requests", f"{' or '.join(told)}{most}"))
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
            f"about {made.cold_load:.0f} s at {gib(made.disk_speed)}/s, as this disk reads"
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
        fits = "it fits narrowly" if made.is_tight else "it fits"
        console.print(fits + (", with the warnings above" if made.said else ""), style="green")
    else:
        no_room = made.is_too_large or made.is_starved
        console.print("it does not fit" if no_room else "it would not start", style="red")
