"""What goes wrong with which release, GPU, model, option or variable, when, and what helps.

The rows are in each engine's `issues.toml` and in `knowledge/variables.toml`; doctor, lint and the
supervisor ask here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from string import Formatter
from typing import Any

from launcher.engines.conditions import conditions
from launcher.engines.engine import NAMES, dialect
from launcher.engines.match import Case, Span, When
from launcher.engines.options import version
from launcher.engines.relation import word
from launcher.engines.remedy import Remedy, any_of, for_profile
from launcher.engines.target import Target
from launcher.knowledge import gpus, rows
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan

OF_VARIABLES = Path(__file__).parents[1] / "knowledge/variables.toml"
KEYS = (
    "severity shows blames bounds when lacking test what fixed remedies advisory evidence"
    " source checked".split()
)  # of a row, whose name is its id


class Harm(StrEnum):
    """How bad an issue is, worst first."""

    BREAKS = "breaks"
    CONFLICTS = "conflicts"
    RISKY = "risky"
    INERT = "inert"
    NEEDLESS = "needless"

    @property
    def is_fatal(self) -> bool:
        """Whether a server with it will not run, or not correctly."""
        return self in (Harm.BREAKS, Harm.CONFLICTS)


class Shows(StrEnum):
    """When an issue shows itself, earliest first."""

    PARSE = "at parse"
    LOAD = "at load"
    AFTER = "after load"
    OUTPUT = "in the output"
    TRAFFIC = "under load"


@dataclass(frozen=True)
class Bounds:
    """What a number must be: at least `least`, and at most `most` where that is told."""

    least: float
    most: float | None = None

    @classmethod
    def of(cls, name: str, told: Any) -> Bounds:
        """From `[1]` or `[1, 65535]`. Raises ValueError."""
        match told:
            case [int() | float()] | [int() | float(), int() | float()]:
                return cls(*told)
        raise ValueError(f"bounds: {name} = {told!r} is no [least] or [least, most]")

    def has(self, number: float) -> bool:
        """Whether a number is within."""
        return self.least <= number and (self.most is None or number <= self.most)

    def __str__(self) -> str:
        return f"{self.least:.15g} " + ("or more" if self.most is None else f"to {self.most:.15g}")


@dataclass(frozen=True)
class Issue:
    """A row; or, from `issues`, what it says of a case: `blames` is then the one option or variable
    that it is told of, `value` what that is set to.
    """

    id: str
    severity: Harm
    shows: Shows | None
    blames: tuple[str, ...]  # options, variables, or "NCCL_*": each of those
    when: When
    what: str
    remedies: tuple[Remedy, ...]  # each helps; lint applies the first
    known: Known
    source: str
    checked: str  # the newest release for which somebody looked again; a day, of variables
    test: str = ""
    bounds: Mapping[str, Bounds] = field(default_factory=dict)  # it is told of what is outside
    advisory: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)  # packages, and from which release on
    engine: str = ""  # that it is of; "": it is so whatever the engine
    lacking: bool = False  # it is what a release has not got yet: so is every older one
    value: str = ""

    @property
    def name(self) -> str:
        """The option or variable that it is told of."""
        return self.blames[0]

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """What the variables begin with that it blames by a pattern."""
        return tuple(blame[:-1] for blame in self.blames if blame.endswith("*"))

    @property
    def fix(self) -> str:
        """What helps, for whoever has a profile."""
        return any_of(self.remedies, for_profile)

    def is_fixed(self, packages: Mapping[str, str]) -> bool:
        """Whether one of the packages that are installed, by name, makes it go."""
        return any(
            version(packages.get(name, "")) >= version(first) for name, first in self.fixed.items()
        )


def tables(engines: Iterable[str] = NAMES) -> tuple[rows.Table[Issue], ...]:
    """The file of each engine, and that of what is so whatever the engine."""
    return (*(_table(name) for name in engines if name in NAMES), _table(""))


@cache
def _table(engine: str) -> rows.Table[Issue]:
    return read(dialect(engine).issues if engine else OF_VARIABLES, engine)


def read(path: Path, engine: str = "") -> rows.Table[Issue]:
    """The good rows of a file, and what is wrong with the others."""
    return rows.read(path, None, lambda id, row: _issue(str(id), row, engine))


def every_issue(engines: Iterable[str] = NAMES) -> tuple[Issue, ...]:
    """All rows of these engines, and of any, that can be read."""
    return tuple(row for table in tables(engines) for row in table.rows)


def _issue(id: str, row: Mapping[str, Any], engine: str) -> Issue:
    rows.only(row, KEYS)
    test = row.get("test", "")
    if test and test not in (known_tests := conditions(engine)):
        raise ValueError(f"test: {test!r} is not one of {', '.join(known_tests)}")
    severity = Harm(_one_of([*Harm], row, "severity"))
    what, package = rows.text("what", row["what"]), dialect(engine).package if engine else ""
    remedies = tuple(Remedy.of(told, package) for told in row["remedies"])
    when = When.of(row.get("when", {}))
    bounds = {name: Bounds.of(name, told) for name, told in row.get("bounds", {}).items()}
    if not test:  # which has words of its own
        compared = map(word, when.where.names) if when.where else ()
        known = {"name", "value", *compared, *(["wanted"] if bounds else [])}
        _require_filled("what", what, known)
        _require_filled("remedies", any_of(remedies, for_profile), known)
    return Issue(
        id=id,
        severity=severity,
        shows=Shows(_one_of([*Shows], row, "shows")) if "shows" in row else None,
        blames=tuple(bounds) or rows.texts("blames", row["blames"]),
        when=when,
        what=what,
        remedies=remedies,
        known=Known.of(row["evidence"]),
        source=row["source"],
        checked=rows.release(row) if engine else str(rows.day(row)),
        test=test,
        bounds=bounds,
        advisory=row.get("advisory", ""),
        fixed={name: rows.text(f"fixed: {name}", at) for name, at in row.get("fixed", {}).items()},
        engine=engine,
        lacking=row.get("lacking", False) is True,
    )


def _require_filled(key: str, text: str, known: Set[str]) -> None:
    words = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    if odd := sorted(words - known):
        raise ValueError(f"{key}: nobody fills in {{{odd[0]}}}")


def _one_of(words: list[str], row: Mapping[str, Any], key: str) -> str:
    if row[key] not in words:
        raise ValueError(f"{key}: {row[key]!r} is not one of {', '.join(words)}")
    return str(row[key])


def of_plan(plan: Plan, release: str | None = None, env: Mapping[str, str] | None = None) -> Case:
    """The case that a plan is: for the release that it was resolved for and its own variables, if
    no others are given.
    """
    product = gpus.products().get(plan.gpu or "")
    memory = product.memory if product else None
    return Case(
        Target(
            release or plan.release,
            plan.arch,
            plan.gpu,
            memory=memory,
            engine=plan.engine,
        ),
        {setting.option: setting.value for setting in plan.settings if setting.option},
        plan.env if env is None else env,
        plan.gpus,
        frozenset(plan.traits),
        keyed=plan.key_file is not None,
    )


def issues(case: Case) -> list[Issue]:
    """What is known to go wrong with a case, worst first."""
    found = [issue for issue in _met(case) if _looked_at(issue, case)]
    worst_first = [*Harm].index
    return sorted(_mended_at_once(found), key=lambda issue: worst_first(issue.severity))


def _mended_at_once(found: Sequence[Issue]) -> Iterator[Issue]:
    """With one release for all advisories that a release mends: the newest that one of them
    names. Which one would do for an advisory alone is told with it; that no release mends the
    others yet is theirs to say.
    """
    told = [
        remedy.release
        for issue in found
        if issue.advisory
        for remedy in issue.remedies
        if remedy.release
    ]
    newest = max(told, key=lambda text: Span.of(text).first, default="")
    for issue in found:
        yield _not_before(issue, newest) if issue.advisory else issue


def _not_before(issue: Issue, newest: str) -> Issue:
    first = next((one.release for one in issue.remedies if one.release), newest)
    if first == newest:
        return issue
    what = f"{issue.what} (gone from {first.removeprefix('>=')} on)"
    remedies = (replace(one, release=newest) if one.release else one for one in issue.remedies)
    return replace(issue, what=what, remedies=tuple(remedies))


def unchecked(case: Case) -> list[Issue]:
    """What is known of older releases, and nobody has looked at again for this one."""
    return [issue for issue in _met(case) if not _looked_at(issue, case)]


def _looked_at(issue: Issue, case: Case) -> bool:
    asked = version(case.target.release or "") or case.release
    return not issue.engine or asked <= version(issue.checked)


def _met(case: Case) -> Iterator[Issue]:
    given = {*case.flags, *case.env}
    for row in every_issue((case.target.engine,)):
        if not row.prefixes and given.isdisjoint(row.blames):  # most rows: nothing to tell it of
            continue
        of_it = row.engine == case.target.engine if row.engine else case.gpus
        # what a release has not got is asked of that release itself, not of one that stands for it
        asked = version(case.target.release or "") if row.lacking and case.target.is_before else ()
        if of_it and row.when.suits(case, asked) and _goes_back_to(row, case):
            yield from _told(row, case)


def _goes_back_to(row: Issue, case: Case) -> bool:
    """Whether a row is of a release older than all that are known. An advisory says since when,
    and what is not there yet never was; nobody looked when another fault that some release mended
    began.
    """
    span = row.when.release
    if not (row.engine and case.target.is_before):
        return True
    is_mended = bool(span.last or span.before)
    return span.has(version(case.target.release or "")) and (
        bool(span.first or row.advisory) or row.lacking or not is_mended
    )


def _told(row: Issue, case: Case) -> Iterator[Issue]:
    compared = row.when.words(case) or {}
    for name in _blamed(row, case):
        value = case.value(name) or ""
        words = conditions(row.engine)[row.test](case, name, value) if row.test else {}
        if row.bounds:
            words = {"wanted": str(row.bounds[name])}
        if words is not None:
            yield _filled(row, {**compared, "name": name, "value": value, **words}, case)


def _blamed(row: Issue, case: Case) -> list[str]:
    """Each option out of its bounds, each variable that a pattern means, else the first that is
    there.
    """
    if row.bounds:
        given = {name: case.number(name) for name in row.bounds if case.value(name) is not None}
        return [
            name
            for name, number in given.items()
            if number is not None and not row.bounds[name].has(number)
        ]
    if row.prefixes:
        return [name for name in case.env if name.startswith(row.prefixes)]
    return [blame for blame in row.blames if case.value(blame) is not None][:1]


def _filled(row: Issue, words: Mapping[str, str], case: Case) -> Issue:
    remedies = tuple(remedy.filled(words, case) for remedy in row.remedies)
    # What we ran is one release; of the others the source was read.
    ran = row.known is Known.RUN and row.engine and case.target.nearest != row.checked
    return replace(
        row,
        blames=(words["name"],),
        value=words["value"],
        what=row.what.format(**words),
        remedies=remedies,
        known=Known.READ if ran else row.known,
    )
