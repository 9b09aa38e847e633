"""Whether a launch has room on its GPUs: the numbers of `glm5-serve fit`. Pure.

A GPU is the product that was said; of an architecture alone, what is so on each of its products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from launcher.capacity import sizes
from launcher.capacity.estimate import figures
from launcher.capacity.memory import GIB, Weights
from launcher.capacity.outcome import Fit, Said
from launcher.capacity.verdicts import doubts, longest, obstacles
from launcher.engines.dialect import is_so
from launcher.engines.engine import dialect
from launcher.engines.issues import Shows
from launcher.engines.memory import Place, number
from launcher.engines.placement import devices
from launcher.engines.remedy import Remedy
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.host.facts import Host, Model
from launcher.knowledge import gpus
from launcher.knowledge.shape import Shape
from launcher.lint.concerns import Concern, Verdict
from launcher.plan.evidence import Known
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

MOST_RANKS = 1 << 16  # of all hosts; what is above is no number of them


def fits(plan: Plan, target: Target) -> Mapping[str, Fit]:
    """How a plan fits each of these GPUs, by their names; none where its sizes are not known, or
    not all of it is on them.
    """
    if not _is_on_gpus(plan):
        return {}
    try:
        shape, weights = _sizes(plan, target)
    except UserError:
        return {}
    host = Host(model=target.model)
    return {
        name: figures(plan, shape, weights, host, memory)
        for name, memory in _memory(target).items()
    }


def _is_on_gpus(plan: Plan) -> bool:
    """Whether all of it is on GPUs, on a number of them that is one."""
    knobs = dialect(plan.engine).memory.knobs
    if plan.flag(*knobs.others) is not None or is_so(dialect(plan.engine).no_gpus, plan.flag):
        return False
    return all(0 < number(plan, name, default=1) <= MOST_RANKS for name in (knobs.tp, knobs.pp))


def _sizes(plan: Plan, target: Target) -> tuple[Shape, Weights]:
    """Those of its model. Raises UserError where nobody knows them."""
    shape = sizes.shape(target.model, plan.model)
    return shape, sizes.weights(target.model, plan.model, shape)


def _memory(target: Target) -> dict[str, int]:
    """Bytes of what the GPUs may be, by their names, the largest last."""
    if told := gpus.products().get(target.gpu or ""):
        return {told.name: told.memory}
    if target.memory:
        return {"the GPUs here": target.memory}
    return {one.name: one.memory for one in gpus.of_arch(target.arch)}


def concern(plan: Plan, target: Target) -> tuple[str, Concern] | None:
    """That there is no room, or may be none, whatever the product is; in numbers of the largest
    that is best off. With the option of the plan that alone is to blame; "" where it is how the
    model is cut.
    """
    found = fits(plan, target)
    told = _told(plan, target, found, lambda *how: chain(obstacles(*how), doubts(*how)))
    all_told = [(one, name) for name, one in told.items() if one]
    if len(all_told) < len(told) or not told or _is_no_fraction(plan):
        return None
    mildest = min(one.severity for one, _ in all_told)
    [*_, (said, name)] = [each for each in all_told if each[0].severity is mildest]
    verdict = Verdict.BREAKS if mildest is Severity.FAIL else Verdict.RISKY
    why = f"{'even ' if len(told) > 1 else ''}on {name} {said.what}"
    is_context = said.blames == dialect(plan.engine).memory.knobs.context
    remedies = (Remedy({said.blames: str(longest(found[name]))}),) if is_context else ()
    told_of = Concern(verdict, why, said.known, said.source, Shows.LOAD, said.fix, remedies)
    if plan.flag(said.blames) is not None:
        return said.blames, told_of
    # a model's own context is asked for where nobody asks for less
    return dialect(plan.engine).option_of("model_path") if is_context else "", told_of


def _told(
    plan: Plan,
    target: Target,
    found: Mapping[str, Fit],
    of: Callable[[Fit, Plan, Shape], Iterator[Said]],
) -> dict[str, Said | None]:
    """The first thing to say of how it fits each of these GPUs, by their names."""
    shape = _sizes(plan, target)[0] if found else None
    return {
        name: next(of(made, plan, shape), None) if shape else None for name, made in found.items()
    }


def _is_no_fraction(plan: Plan) -> bool:
    """Whether it says a share that is none, which its row tells."""
    formulas = dialect(plan.engine).memory
    said = plan.flag(formulas.knobs.fraction)
    return said is not None and formulas.asked(plan).fraction is None


def doubt(plan: Plan, target: Target) -> str | None:
    """That nobody knows it, or that the products of an architecture differ in it."""
    try:
        _sizes(plan, target)
    except UserError as error:
        is_asked = plan.model and _is_on_gpus(plan)
        return f"room on the GPUs was not judged: {error.what}" if is_asked else None
    room = {
        name: said is None
        for name, said in _told(plan, target, fits(plan, target), obstacles).items()
    }
    if len(set(room.values())) < 2:
        return None
    some, others = (", ".join(name for name in room if room[name] is has) for has in (True, False))
    return f"it has room on {some}, and none on {others}: --gpu PRODUCT tells which"


def shared(plan: Plan, target: Target, others: Sequence[tuple[str, Plan]]) -> Concern | None:
    """That it has no room beside one of these, by what a person calls them, on the same GPUs."""
    at_once = [(called, other) for called, other in others if _are_at_once(plan, other)]
    mine = fits(plan, target) if at_once else {}
    for called, other in at_once:
        both = sorted(_gpus(plan) & _gpus(other))
        own = target if other.model == plan.model else replace(target, model=Model())
        theirs = fits(other, own) if both else {}
        short = [name for name in mine if name in theirs and _is_short(mine[name], theirs[name])]
        if short and short == [*mine]:
            what = _beside(called, both, short[-1], mine[short[-1]], theirs[short[-1]])
            fix = f"other GPUs for one of them (CUDA_VISIBLE_DEVICES, {_place(plan).option})"
            known, source = Known.REPORTED, "as `glm5-serve fit`"
            return Concern(Verdict.RISKY, what, known, source, Shows.LOAD, fix)
    return None


def _are_at_once(one: Plan, other: Plan) -> bool:
    """Whether they run on one host at a time: prefill and decode, on ports of their own."""
    modes = {_place(plan).part for plan in (one, other)}
    ports = {plan.flag("port") for plan in (one, other)}
    return modes == {"prefill", "decode"} and len(ports) == 2


def _place(plan: Plan) -> Place:
    return dialect(plan.engine).memory.place(plan)


def _gpus(plan: Plan) -> frozenset[int]:
    """The GPUs of the host that it takes; none where they are named another way than by number."""
    taken = devices(plan)
    return frozenset(map(int, taken)) if all(one.isdecimal() for one in taken) else frozenset()


def _is_short(one: Fit, other: Fit) -> bool:
    return one.weights + one.needed + other.weights + other.needed > one.free


def _beside(called: str, both: Sequence[int], name: str, one: Fit, other: Fit) -> str:
    taken, needed = one.weights + other.weights, one.needed + other.needed
    what = f"shares GPU {', '.join(map(str, both))} with {called}: the weights of both take"
    what += f" {taken / GIB:.1f} GiB of {one.free / GIB:.1f} on {name}, and they need"
    return f"{what} {needed / GIB:.1f} to run with"
