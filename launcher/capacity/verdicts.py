"""What to know about how a plan fits: what stands in the way, and which way each knob goes.

The two ways of running out of memory want opposite moves: where the weights leave nothing for the
KV cache the fraction must go up, where graphs or a batch find nothing it must go down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from launcher.capacity.memory import GIB
from launcher.capacity.outcome import Fit, Said
from launcher.engines import issues, target
from launcher.engines.engine import dialect
from launcher.engines.memory import BF16_ROW, Knobs
from launcher.engines.options import version
from launcher.host.facts import Host
from launcher.knowledge import gpus
from launcher.knowledge.shape import Shape
from launcher.plan.evidence import Known
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan


def said(made: Fit, plan: Plan, shape: Shape, host: Host) -> Iterator[Said]:
    """All of it, what stands in the way first."""
    knobs = dialect(plan.engine).memory.knobs
    for issue in issues.issues(issues.of_plan(plan)):
        if issue.name == knobs.fraction and issue.severity.is_fatal:
            what = f"{issue.name} {issue.what}"
            yield Said(Severity.FAIL, what, issue.fix, issue.known, issue.source)
    yield from _other_gpus(plan, host)
    yield from _incomplete(host)
    yield from obstacles(made, plan, shape)
    if made.is_too_large:
        return
    if made.is_tight and not made.is_starved:
        yield _little_left(made, plan, Severity.WARN)
    yield from _of_slots(made, plan)
    yield from doubts(made, plan, shape)
    yield from _cut(made, plan, shape)
    yield from _of_table(made, plan)
    yield from _of_host(made, host)


def obstacles(made: Fit, plan: Plan, shape: Shape) -> Iterator[Said]:
    """Why a server would not start, of all that sizes tell."""
    if made.is_too_large:
        yield _too_large(made)
    elif made.free < (wanted := _wanted(made)):
        yield _too_much(made, plan, wanted)
    elif made.base * made.fraction - made.weights <= made.working[0]:
        yield _none_left(made, plan)
    elif made.is_starved:
        yield _little_left(made, plan, Severity.FAIL)
    elif made.slots is not None and not (made.tokens and made.admitted):
        yield _no_slots(made, plan)
    elif 0 < made.own < made.context and plan.env.get(_knobs(plan).longer, "0") in (
        "",
        "0",
        "false",
    ):
        yield _beyond(made, plan)
    elif made.at_best < made.context and not dialect(plan.engine).memory.cuts:
        yield _too_long(made, plan, shape)


def _wanted(made: Fit) -> float:
    """Bytes that must be free before the weights."""
    if made.pool:
        return made.weights + made.working[0] + made.pool
    return made.base * made.fraction


def _too_large(made: Fit) -> Said:
    fix = "more GPUs, a smaller checkpoint; no fraction helps"
    if made.weights >= made.free:
        what = f"the weights take {_gib(made.weights)} of {_gib(made.free)} a GPU"
        what += ": out of memory while loading"
        source = "computed; so it was of GLM-5 NVFP4 on 4 x 96 GB (rtx6kpro hardware pages)"
    else:
        rest = _gib(made.free - made.weights)
        what = f"the weights take {_gib(made.weights)} of {_gib(made.free)} a GPU: {rest} hold no"
        what += f" KV cache beside the {_gib(made.needed)} for graphs, activations and NCCL"
        source = "computed; of GLM-5 NVFP4 on 8 x 96 GB 7.4 GiB were enough (rtx6kpro), and"
        source += " GLM-5.3-Flash ran on 2 x 96 GB with forks alone"
    return Said(Severity.FAIL, what, fix, Known.REPORTED, source)


def _too_much(made: Fit, plan: Plan, wanted: float) -> Said:
    """More is asked for than is free before anything is loaded."""
    formulas, name = dialect(plan.engine).memory, dialect(plan.engine).name
    free = f"{_gib(made.free)} are free before loading"
    if made.pool:
        what = f"{formulas.knobs.pool} {_gib(made.pool)}, the weights and what runs beside them"
        what += f" take {_gib(wanted)}, {free}: out of memory when the KV cache is allocated"
        most = int(max(made.free - made.weights - made.working[1], 0) / GIB)
        fix = f"lower {formulas.knobs.pool} to {most}G (this one goes down)"
    else:
        what = f"{formulas.knobs.fraction} {made.fraction:g} of {_gib(made.base)} is"
        what += f" {_gib(wanted)}, {free}: {name} refuses to start"
        fix = f"lower {formulas.knobs.fraction} to {_down(made.most)} (this one goes down)"
    blames = formulas.knobs.pool if made.pool else formulas.knobs.fraction
    return Said(Severity.FAIL, what, fix, *formulas.sources.no_room, blames=blames)


def _none_left(made: Fit, plan: Plan) -> Said:
    formulas = dialect(plan.engine).memory
    fraction = f"{formulas.knobs.fraction} {made.fraction:g}"
    what = f"the weights take more than {fraction}: none is left for KV"
    fix = f"raise {formulas.knobs.fraction} above {made.least:.3f} (this one goes up)"
    if made.working[0]:
        taken = f"{_gib(made.weights)}, graphs and activations {_gib(made.working[0])} at least"
        what = f"the weights take {taken}: more than {fraction}"
        what += f" ({_gib(made.base * made.fraction)}), none is left for KV"
    return Said(Severity.FAIL, what, fix, *formulas.sources.no_room)


def _no_slots(made: Fit, plan: Plan) -> Said:
    """The states of requests leave nothing for their tokens, or have too few slots for one."""
    formulas, knobs = dialect(plan.engine).memory, dialect(plan.engine).memory.knobs
    least, what = formulas.slots_for(1), f"{_slots(made)}: none is left for KV"
    if not made.admitted:
        what = f"{made.slots or 0:,} slots for the state of linear attention are too few: one"
        what += f" request needs {least}"
    fix = f"set {knobs.slots} = {least} x {knobs.requests}"
    return Said(Severity.FAIL, what, f"{fix}, {knobs.states} = bfloat16", *formulas.sources.slots)


def _too_long(made: Fit, plan: Plan, shape: Shape) -> Said:
    formulas, name = dialect(plan.engine).memory, dialect(plan.engine).name
    what = f"one request of {made.context:,} tokens does not fit into the {made.at_best:,} of the"
    what += f" KV cache: {name} refuses to start"
    fix, blames = ", or ".join(_for_context(made, plan, shape)), formulas.knobs.context
    return Said(Severity.FAIL, what, fix, *formulas.sources.too_long, blames=blames)


def _beyond(made: Fit, plan: Plan) -> Said:
    """More than the model's own context: both engines refuse it, unless a variable allows it."""
    knobs, name = _knobs(plan), dialect(plan.engine).name
    what = f"{knobs.context} {made.context:,} is more than the model's own {made.own:,}: {name}"
    fix = f"set {knobs.context} = {longest(made)}; {knobs.longer}=1 where the model's card says so"
    source = dialect(plan.engine).memory.sources.beyond
    return Said(Severity.FAIL, f"{what} refuses to start", fix, *source, blames=knobs.context)


def _knobs(plan: Plan) -> Knobs:
    return dialect(plan.engine).memory.knobs


def _little_left(made: Fit, plan: Plan, severity: Severity) -> Said:
    """Less is left to run with than is known to be enough, or than any server had."""
    formulas = dialect(plan.engine).memory
    what = f"{_gib(made.left)} are left for graphs, activations and NCCL"
    what += ": it runs" if severity is Severity.FAIL else ": it may run"
    what += " out of memory at capture or under load"
    fix = f"lower {formulas.knobs.chunk}: with it up to {_gib(made.beside)} are needed"
    if made.most > made.least:
        fix = f"lower {formulas.knobs.fraction} to {_down(made.most)} (this one goes down)"
        fix += ", or the chunks" if severity is Severity.WARN else ""
    blames = formulas.knobs.fraction
    return Said(severity, what, fix, *formulas.sources.little_left, blames=blames)


def _of_slots(made: Fit, plan: Plan) -> Iterator[Said]:
    """Where the states of requests bound what runs."""
    if made.running and made.admitted and made.tokens and made.admitted < made.running:
        what = f"{_slots(made)} and let {made.admitted} of {made.running} requests run, five a"
        formulas, knobs = dialect(plan.engine).memory, dialect(plan.engine).memory.knobs
        fix = f"set {knobs.slots} = {formulas.slots_for(made.running)}"
        fix += f", {knobs.states} = bfloat16 (half the bytes)"
        yield Said(Severity.WARN, f"{what} request", fix, *formulas.sources.slots)


def doubts(made: Fit, plan: Plan, shape: Shape) -> Iterator[Said]:
    """Why a server may not start, where what runs beside the KV cache is known within a range."""
    formulas, name = dialect(plan.engine).memory, dialect(plan.engine).name
    if not formulas.cuts and made.tokens < made.context <= made.at_best:
        what = f"one request of {made.context:,} tokens may not fit: {made.tokens:,} to"
        what += f" {made.at_best:,} are estimated, and with too few {name} refuses to start"
        fix, blames = ", or ".join(_for_context(made, plan, shape)), formulas.knobs.context
        yield Said(Severity.WARN, what, fix, *formulas.sources.too_long, blames=blames)


def _cut(made: Fit, plan: Plan, shape: Shape) -> Iterator[Said]:
    """Where one request may be longer than the pool, and the server starts."""
    formulas, name = dialect(plan.engine).memory, dialect(plan.engine).name
    if formulas.cuts and 0 < made.tokens < made.context:
        what = f"{made.tokens:,} tokens are less than one request of {made.context:,}: {name} cuts"
        fix = ", or ".join(_for_context(made, plan, shape))
        yield Said(Severity.WARN, f"{what} requests to it", fix, *formulas.sources.too_long)


def longest(made: Fit) -> int:
    """The tokens that one request may have, in whole Ki: a context that fits."""
    room = max((made.tokens or made.at_best) // 1024, 1) * 1024
    return min(room, made.own) if made.own > 0 else room


def _for_context(made: Fit, plan: Plan, shape: Shape) -> Iterator[str]:
    """What lets a request be as long as the context, or the context as short as a request."""
    formulas, knobs = dialect(plan.engine).memory, dialect(plan.engine).memory.knobs

    def enough(layout: str, fraction: float) -> bool:
        demand = formulas.demand(plan, shape, layout, made.memory)
        rest = made.base * fraction - made.weights - made.working[1]
        return formulas.pools(rest, replace(demand, context=made.context)).tokens >= made.context

    yield f"set {knobs.context} = {longest(made)}"
    most = int(made.most * 100) / 100
    if most > made.fraction and not made.pool and enough(made.layout, most):
        yield f"raise {knobs.fraction}, up to {most:.2f}"
    if made.layout == BF16_ROW:
        smaller = formulas.row("fp8_e4m3", plan.arch, version(plan.release or ""), shape)
        if smaller != BF16_ROW and enough(smaller, made.fraction):
            yield "take fp8 KV"


def _of_table(made: Fit, plan: Plan) -> Iterator[Said]:
    """What the engine keeps of each request, outside the fraction."""
    formulas, name = dialect(plan.engine).memory, dialect(plan.engine).name
    table = formulas.request_table(made.running or 2048, made.context)
    if table > GIB:
        requests = f"{made.running or 2048} requests of {made.context:,} tokens"
        what = f"{name}'s table for {requests} takes {_gib(table)}, outside the fraction"
        fix = f"set {formulas.knobs.context} and {formulas.knobs.requests}"
        # what is larger than all of the GPU is no matter of an estimate
        severity = Severity.FAIL if table > made.memory else Severity.WARN
        yield Said(severity, what, fix, *formulas.sources.table)


def _of_host(made: Fit, host: Host) -> Iterator[Said]:
    """Where the host's memory or disk has no room for the checkpoint."""
    size = f"the checkpoint's {_gib(made.checkpoint)}"
    if made.host_memory and made.host_memory < made.checkpoint:
        what = f"the host's {_gib(made.host_memory)} cannot keep {size} cached"
        fix = "each restart reads the disk: a faster one, or more memory"
        source = "GLM-5 NVFP4 on 8 x 96 GB: 36 s warm, 1,206 s cold (rtx6kpro)"
        yield Said(Severity.WARN, what, fix, Known.REPORTED, source)
    if made.disk_free and not host.model.path.known and made.disk_free < made.checkpoint:
        what = f"the checkpoint is not here, and its disk has {_gib(made.disk_free)} free of"
        fix = "make room, or set HF_HOME to a larger disk"
        source = "tests/capacity/test_fit.py"
        yield Said(Severity.FAIL, f"{what} {_gib(made.checkpoint)}", fix, Known.RUN, source)


def _other_gpus(plan: Plan, host: Host) -> Iterator[Said]:
    """That the host has other GPUs than the plan is for, or fewer."""
    source = "tests/capacity/test_fit.py"
    fix = "choose a profile for these GPUs (`glm5-serve profiles`)"
    here, said = target.of(host), issues.of_plan(plan).target
    if other := here.mismatch(plan.name, plan.needs_arch):
        what = f"{other}: these sizes are of {gpus.of(plan.gpu).name}"
        yield Said(Severity.FAIL, what, f"{fix}; --gpu tells of other GPUs", Known.RUN, source)
    elif other := said.mismatch(plan.name, plan.needs_arch):
        yield Said(Severity.FAIL, other, fix, Known.RUN, source)
    elif short := here.shortage(plan.gpus):
        knobs = dialect(plan.engine).memory.knobs
        fix += f", or set {knobs.tp} and {knobs.pp}"
        yield Said(Severity.FAIL, short, fix, Known.RUN, source)


def _incomplete(host: Host) -> Iterator[Said]:
    """What of a checkpoint that is here is not: it would not load, whatever fits."""
    seen = host.model
    fix = "`glm5-serve model DIR` lists all of it; `glm5-serve fetch` completes it"
    gone = [*seen.missing.otherwise(()), *seen.broken.otherwise({}), *seen.pointers.otherwise(())]
    source = "tests/capacity/test_fit.py"
    broken = seen.broken.otherwise({})
    if closed := [name for name, what in broken.items() if what.endswith("permission denied")]:
        what = f"this user may not read {', '.join(closed[:4])} of the checkpoint"
        fix = "let this user, and the server's, read it: `chmod a+r` there"
        yield Said(Severity.FAIL, f"{what}; sizes are computed", fix, Known.RUN, source)
    elif gone:
        more = f" and {len(gone) - 4} more" if len(gone) > 4 else ""
        what = f"the checkpoint is not complete: {', '.join(gone[:4])}{more} missing or broken"
        yield Said(Severity.FAIL, f"{what}; sizes are computed", fix, Known.RUN, source)
    elif seen.shards.known and not seen.shards.get():
        what = "the folder has no weight files: sizes are computed from its config.json"
        yield Said(Severity.WARN, what, fix, Known.RUN, source)


def _slots(made: Fit) -> str:
    slots = made.slots or 0
    return f"{slots:,} slots for the state of linear attention take {_gib(slots * made.slot)}"


def _down(fraction: float) -> str:
    return f"{int(fraction * 100) / 100:.2f}"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
