"""Judging somebody's launch command for a release and an architecture."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from launcher.engines import issues
from launcher.engines.descriptions import MEANINGS
from launcher.engines.engine import NAMES, dialect
from launcher.engines.issues import Shows
from launcher.engines.match import Case
from launcher.engines.members import counting, overridden
from launcher.engines.options import Given, Option, Release
from launcher.engines.tables import complaints
from launcher.engines.target import Target
from launcher.formats import unread
from launcher.formats.container import unreleased
from launcher.formats.launches import INSIDE, Launch
from launcher.knowledge import forks, nccl, wrappers
from launcher.lint import around, directives, room
from launcher.lint.as_plan import as_plan
from launcher.lint.by_option import Seen, canonical_name, told
from launcher.lint.concerns import Concern, Verdict, guesses, in_image, ranked
from launcher.lint.config_file import has_file, of_file
from launcher.lint.outside import doubts
from launcher.lint.parsing import (
    WHEEL,
    glued,
    is_unjudged,
    may_be_built_in,
    of_its_fork,
    of_option,
    passed_over,
    unjudged,
)
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan

MOST_HINTS = 20  # unknown options of a launch whose meaning is looked for
OF_OTHERS = "for others than the engine and NCCL"
NOT_JUDGED = "not judged"
OUTSIDE = "filled in from outside: unknown here"
# Options that take nothing of a GPU's memory, whatever they are set to.
WEIGHTLESS = re.compile(
    r"(.*-)?(port|host|addr|url|path-prefix|parser|key|keyfile|certfile|template)|served-model-name"
    r"|node-rank|(log|metrics|trace|otlp|uvicorn|api|ssl)-.*|(random-)?seed|.*-timeout|revision"
)
TELLING = (
    *(begun for name in NAMES for begun in dialect(name).variables),
    "NCCL_",
    "CUDA_",
    "PYTORCH_",
    "TORCH_",
    "OMP_",
    "FLASHINFER_",
    "SAFETENSORS_",
)


@dataclass(frozen=True)
class Entry:
    """What becomes of one flag or variable; `concerns` are all that was found, the worst first."""

    name: str  # as it stands in the command, `--tp` or `NCCL_P2P_LEVEL`
    value: str
    verdict: Verdict
    why: str
    known: Known
    source: str
    when: Shows | None = None
    instead: str | None = None
    concerns: tuple[Concern, ...] = ()
    unjudged: str = ""  # what of it nobody here judges, or why nobody does: it is not called fine


def lint(launch: Launch, target: Target, others: Sequence[Launch] = ()) -> list[Entry]:
    """One entry for each flag and variable of a launch, in its order; the `others` are of the same
    text.
    """
    within = target.known
    givens = launch.given(within)
    case, seen = _case(launch, givens, target, within), _seen(launch, givens, within)
    of_it = told(case, within, seen)
    if not _unsized(launch, givens, within):
        if target.count is not None and (few := around.few(target.count, case)):
            of_it[_blamed(case)].append(replace(few, why=f"on the host of these facts {few.why}"))
        for name, concern in _of_room(launch, givens, target, others):
            of_it[name].append(concern)
    of_it.update(
        {name: [around.in_time(one, launch) for one in all] for name, all in of_it.items()}
    )
    if launch.image:
        of_it.update({name: [in_image(one, within) for one in all] for name, all in of_it.items()})
    for name, concern in directives.shown_keys(launch):
        of_it[name].append(concern)
    of_it.update({name: around.reached(all, launch, within) for name, all in of_it.items()})
    entries = []
    unknown, lost, doubted = 0, overridden(givens), doubts(launch.given, target)
    for at, given in enumerate(givens):
        value = "" if given.is_positional else " ".join(given.values)
        name = given.name.lstrip("-")
        if told_why := _left_alone(given, launch, within):
            open_ = told_why[0] if told_why[0].startswith(NOT_JUDGED) else ""
            entries.append(Entry(given.word, value, Verdict.FINE, *told_why, unjudged=open_))
            continue
        is_open = bool(launch.outside & {given.word, *given.values})
        unknown += given.option is None
        concerns: list[Concern] = []
        if at < bool(launch.again):
            concerns.append(around.again(given))
        elif given.word not in launch.outside:
            as_read = replace(given, problem=None) if is_open and given.option else given
            stead, hints = lost.get(at), unknown <= MOST_HINTS
            either = is_open or bool(stead and launch.outside & {*stead.values})
            parsed = of_option(as_read, stead, within, hints=hints, is_open=either)
            concerns += [one for one in parsed if not (at in doubted and one.verdict.is_refused)]
            concerns += of_file(given, givens, within)
        if at not in lost:
            said = of_it[canonical_name(given, within)]
            concerns += [one for one in said if one.id] if is_open else said
        if is_open and not concerns:
            entries.append(Entry(given.word, value, Verdict.FINE, OUTSIDE, Known.READ, WHEEL))
            continue
        entry = _entry(given.word, value, name, concerns, given.option)
        if at in doubted and not concerns:
            entry = replace(entry, unjudged=f"{NOT_JUDGED}: {doubted[at]}")
        elif not concerns and (what := unjudged(given)):
            entry = replace(entry, unjudged=f"{NOT_JUDGED}: {what}")
        entries.append(entry)
    for name, word in launch.variables.items():
        # That nobody reads it is not so where the command is made of it, or a fork reads it.
        fork = forks.of_variable(name)
        is_read = name in launch.used or (fork and fork.id in launch.forks)
        useless = Verdict.INERT if is_read else None
        concerns = [one for one in of_it[name] if one.verdict is not useless]
        entries.append(_entry(name, word.value, name, concerns, None))
    entries += _hidden(launch)
    for name, value, concern in around.told(launch, case, seen.open | seen.absent):
        entries.append(_entry(name, value, name, [concern], None))
    return entries


def _left_alone(given: Given, launch: Launch, within: Release) -> tuple[str, Known, str] | None:
    """Why an option is nobody's here to judge, how that is known, and from where: a wrapper takes
    it, a fork has it, or an image that is no release may.
    """
    front = dialect(launch.engine).fronts.get(launch.program)
    if front and given.option is None and front.reads(given.word, within.name):
        return f"{launch.program} reads it, before the engine does", Known.READ, WHEEL
    wrapper = wrappers.of_program(launch.starter)
    if wrapper and (why := passed_over(given, wrapper, within)):
        return why, Known.of(wrapper.evidence), wrapper.source
    if fork := of_its_fork(given, launch.forks):
        return f"not judged: {fork.name} have it", Known.of(fork.evidence), fork.source
    if unreleased(launch.image) and may_be_built_in(given, within):
        why = f"not judged: no release has it, and {launch.image} is none of them"
        return why, Known.READ, WHEEL
    return None


def _hidden(launch: Launch) -> Iterator[Entry]:
    """Variables that are set and do not get to the server."""
    for name, value in launch.hidden.items():
        if not name.startswith(TELLING) or name in launch.env:
            continue
        is_inside = launch.form.startswith(INSIDE)
        why = f"`{launch.form}` does not hand it on" if is_inside else "is not exported"
        concern = Concern(
            Verdict.INERT,
            f"is set, but {why}: the server does not get it",
            Known.READ,
            "how shells and containers pass variables",
            instead=f"-e {name}={value}" if is_inside else f"export {name}={value}",
        )
        yield _entry(name, value, name, [concern], None)


def _of_room(
    launch: Launch, givens: Sequence[Given], target: Target, others: Sequence[Launch]
) -> Iterator[tuple[str, Concern]]:
    """What can be said of the GPUs' memory, and of what."""
    within = target.known
    plan = as_plan(launch, givens, target, within)
    beside = [
        (f"the launch of line {one.line}", as_plan(one, one.given(within), target, within))
        for one in others
        if one.engine == launch.engine and not one.references
    ]
    if found := room.concern(plan, target):
        yield found[0] or _blamed(plan), found[1]
    elif short := room.shared(plan, target, beside):
        yield _blamed(plan), short


def _blamed(given: Plan | Case) -> str:
    """The option that takes too many GPUs, or too few."""
    named = dialect(given.engine if isinstance(given, Plan) else given.target.engine).option_of
    return named("tp_size" if given.flag(named("tp_size")) is not None else "model_path")


def _unsized(launch: Launch, givens: Sequence[Given], within: Release) -> tuple[str, ...]:
    """What comes from outside and may change what the GPUs have to hold."""
    options = [one for one in counting(givens) if launch.outside & {one.word, *one.values}]
    options += [one for one in givens if one.option is None and glued(one.word, within)]
    open_ones = {
        one.word for one in options if not WEIGHTLESS.fullmatch(canonical_name(one, within))
    }
    hides = launch.variables.get("CUDA_VISIBLE_DEVICES")
    return (*sorted(open_ones), *(["CUDA_VISIBLE_DEVICES"] if hides and not hides.known else []))


def _seen(launch: Launch, givens: Sequence[Given], within: Release) -> Seen:
    """What nobody knows of it: `keyed` where a key may stand in a file with more options, or with
    variables, which is not read.
    """
    variables = {name for name, word in launch.variables.items() if not word.known}
    options = {
        canonical_name(one, within) for one in counting(givens) if launch.outside & {*one.values}
    }
    more = unread.sets_variables(launch.notes)
    key = {"keyed"} if more or has_file(givens, launch.engine) else set()
    absent = key | (_asked(launch) if more else set())
    return Seen(frozenset(variables | options), frozenset(absent), _is_part(launch, givens, within))


def _asked(launch: Launch) -> set[str]:
    """The variables that some issue asks for, and the launch does not set."""
    rows = issues.every_issue([launch.engine])
    return {name for row in rows for name in row.when.names if name.isupper()} - {*launch.variables}


def _is_part(launch: Launch, givens: Sequence[Given], within: Release) -> bool:
    """Whether it is some options of a command, and not all: nothing names a model."""
    model = dialect(launch.engine).option_of("model_path")
    named = {canonical_name(one, within) for one in givens}
    return launch.form == "options" and model not in named


def _entry(
    word: str, value: str, name: str, concerns: Sequence[Concern], option: Option | None
) -> Entry:
    if not concerns:
        default = f"; default {option.default}" if option and option.default is not None else ""
        why = MEANINGS.get(name, "accepted" if option else _of_whom(name)) + default
        return Entry(word, value, Verdict.FINE, why, Known.READ, WHEEL)
    found = ranked(concerns)
    worst = found[0]
    why = "; ".join(dict.fromkeys(concern.why for concern in found))
    return Entry(
        word,
        value,
        worst.verdict,
        why,
        worst.known,
        worst.source,
        worst.when,
        worst.instead,
        tuple(found),
    )


def _of_whom(name: str) -> str:
    """Whose variable it is, for one that nothing is said of."""
    if name in nccl.NAMES:
        return "NCCL reads it"
    engines = (dialect(known) for known in NAMES)
    return next(
        (f"{one.name} reads it" for one in engines if one.options.read_by(name)),
        f"for {fork.name}" if (fork := forks.of_variable(name)) else OF_OTHERS,
    )


def _case(launch: Launch, givens: Sequence[Given], target: Target, within: Release) -> Case:
    """The case that a launch is, on the host of the target where its facts are known."""
    made = issues.of_plan(as_plan(launch, givens, target, within), target.release)
    return replace(
        made,
        target=replace(made.target, infiniband=target.infiniband),
        serves=wrappers.of_program(launch.starter) is None,
    )


def notes(launch: Launch, target: Target) -> tuple[str, ...]:
    """What is assumed, or not known, about the launch as a whole."""
    within = target.known
    givens = launch.given(within)
    old = issues.unchecked(_case(launch, givens, target, within))
    of_old = (
        f"nobody looked at {issue.id} for {within.catalogue.engine} {target.release}: up to"
        f" {issue.checked} {issue.what}"
        for issue in old
    )
    left_out = (f"left out: {what}" for what in complaints())
    outside = ", ".join(launch.references[:6])
    unseen = _unseen(launch, givens, target)
    filled = (f"filled in from outside, unknown here: {outside}",) if outside else ()
    plan = as_plan(launch, givens, target, within)
    unsized = _unsized(launch, givens, within)
    doubt = room.doubt(plan, target) if not unsized else None
    if unsized and plan.model:
        doubt = f"room on the GPUs is not judged: {', '.join(unsized[:4])} may change it"
    case = _case(launch, givens, target, within)
    beside = directives.notes(launch, case, is_large=bool(case.model & around.LARGE))
    return (
        *filled,
        *beside,
        *((unseen,) if unseen else ()),
        *_doubted(launch, target),
        *_unjudged(launch, givens, within),
        *plan.notes,
        *((doubt,) if doubt else ()),
        *of_old,
        *left_out,
    )


def _unseen(launch: Launch, givens: Sequence[Given], target: Target) -> str:
    """What would be said if the files that are not read set nothing; "" for nothing."""
    within = target.known
    case, seen = _case(launch, givens, target, within), _seen(launch, givens, within)
    if not seen.absent or seen.part:
        return ""
    before, given = replace(seen, absent=frozenset[str]()), {*case.flags, *case.env}
    found = [
        issue
        for issue in issues.issues(case)
        if before.knows(issue, given) and not seen.knows(issue, given)
    ]
    names = {name for one in found for name in seen.absent & one.when.names}
    guessed = len([*guesses(case, seen.open)]) - len([*guesses(case, seen.open | seen.absent)])
    is_keyed = guessed or any("keyed" in one.when.without for one in found)
    told = [*(["a key"] if is_keyed else []), *sorted(names)]
    return f"not judged, for what is not read may set it: {', '.join(told)}" if told else ""


def _doubted(launch: Launch, target: Target) -> Iterator[str]:
    """The options of which nobody knows what a release does that is none of those known."""
    givens, words = launch.given(target.known), defaultdict[str, list[str]](list)
    for at, why in doubts(launch.given, target).items():
        words[why].append(givens[at].word)
    for why, named in words.items():
        yield f"{', '.join(dict.fromkeys(named))}: {why}"


def _unjudged(launch: Launch, givens: Sequence[Given], within: Release) -> Iterator[str]:
    """What the program that starts the engine may have, and nobody here knows."""
    wrapper = wrappers.of_program(launch.starter)
    words = [one.word for one in givens if wrapper and is_unjudged(one, within)]
    unknown = [word for word in words if wrapper and not wrapper.has(word)]
    if wrapper and unknown:
        named = ", ".join(dict.fromkeys(unknown))
        yield f"not judged: {named}: no option of the engine, {wrapper.name} may have it"
