"""What `lint` would say of a plan, a line each: the same for `render`, `diff`, `fit`, `up` and
`restart`. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from launcher.engines import issues
from launcher.engines.members import overridden
from launcher.lint.by_option import Seen, canonical_name, told
from launcher.lint.concerns import Concern, by_remedy, in_container, in_image, ranked
from launcher.lint.config_file import of_file
from launcher.lint.outside import doubts
from launcher.lint.parsing import of_option
from launcher.plan.plan import Plan

STOPS = "would not start: "  # what such a note begins with


def noted(plan: Plan, form: str = "") -> Plan:
    """The plan with a note for each flag and variable that somebody set and lint has a word about;
    of what rules chose only what keeps a server from running, or from being right. `form` is that
    of a container with a network of its own.
    """
    return replace(plan, notes=tuple(dict.fromkeys((*plan.notes, *_notes(plan, form)))))


def _notes(plan: Plan, form: str) -> Iterator[str]:
    by_rule = {setting.name for setting in plan.settings if setting.known}
    for name, said, concerns in _judged(plan):
        wanted = [one for one in concerns if one.verdict.says_no or name not in by_rule]
        if form:
            within = issues.of_plan(plan).target.known
            inside = (in_image(one, within) for one in wanted)
            wanted = [in_container(one, form, (), within) for one in inside]
        for fix, alike in by_remedy(ranked(wanted)):
            yield _line(said, alike, fix)


def stopping(plan: Plan) -> Iterator[tuple[str, Concern]]:
    """What keeps a server from starting: the flag or variable with its value, and the worst that
    is to be said of it.
    """
    for _, said, concerns in _judged(plan):
        if concerns and (worst := ranked(concerns)[0]).keeps_down:
            yield said, worst


def _judged(plan: Plan) -> Iterator[tuple[str, str, list[Concern]]]:
    """Each flag and variable, the same with its value, and all that is to be said of it."""
    case = issues.of_plan(plan)
    within = case.target.known
    of_it = told(case, within, Seen()) if plan.gpus else defaultdict[str, list[Concern]](list)
    givens = within.given(plan.arguments)
    lost = overridden(givens)
    doubted = doubts(lambda release: release.given(plan.arguments), case.target)
    for at, given in enumerate(givens):
        parsed = of_option(given, lost.get(at), within, hints=True)
        named = [one for one in parsed if not (at in doubted and one.verdict.is_refused)]
        named += of_file(given, givens, within)
        known = [] if at in lost else of_it[canonical_name(given, within)]
        words = [given.word] if given.is_positional else [given.word, *given.values]
        yield given.word, " ".join(words), [*named, *known]
    for name, value in plan.env.items():
        yield name, f"{name}={value}", of_it[name]


def _line(said: str, concerns: Sequence[Concern], instead: str) -> str:
    """What the same helps against, the worst first, as one line."""
    worst = concerns[0]
    when = f", {worst.when}" if worst.when else ""
    fix = f"; fix: {instead}" if instead else ""
    stop = STOPS if worst.keeps_down else ""
    why = "; ".join(dict.fromkeys(concern.why for concern in concerns))
    return f"{stop}{worst.verdict}{when}: {said}: {why}{fix}"
