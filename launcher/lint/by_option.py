"""What there is to say of each option and variable of a launch, by its one name. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from launcher.engines import issues
from launcher.engines.engine import dialect
from launcher.engines.issues import Issue
from launcher.engines.match import Case
from launcher.engines.options import Given, Release
from launcher.lint.concerns import Concern, guesses, of_issue

BY_NAME = frozenset(("unread", "nccl-name"))  # conditions that no value changes


@dataclass(frozen=True)
class Seen:
    """What of a launch nobody knows: `open` are the options and variables that it gives, with
    values from elsewhere, and `absent` those that may stand in a file that nobody read. A `part` of
    a command says nothing of what it does not name.
    """

    open: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    part: bool = False

    def knows(self, issue: Issue, given: Collection[str]) -> bool:
        """Whether all is known that an issue rests on."""
        when = issue.when
        rests = {*when.names, *when.traits, *when.without}
        if self.part and (issue.test or rests - {*given}):
            return False
        tests_value = issue.test and issue.test not in BY_NAME
        is_by_presence = not (rests or tests_value or issue.bounds or "{value}" in issue.what)
        blamed = set() if is_by_presence else {*issue.blames}
        return not rests & (self.open | self.absent) and not blamed & self.open


def told(case: Case, within: Release, seen: Seen) -> defaultdict[str, list[Concern]]:
    """What issues and guesses say, by the canonical name of the option, or the variable."""
    told: defaultdict[str, list[Concern]] = defaultdict(list)
    for name, concern in guesses(case, seen.open | seen.absent) if not seen.part else ():
        told[name].append(concern)
    for issue in issues.issues(case):
        if seen.knows(issue, {*case.flags, *case.env}):
            told[issue.name].append(of_issue(issue, within))
    for name, concern in [*_shared(told, case, within)]:
        told[name].append(concern)
    return told


def _shared(
    told: Mapping[str, Sequence[Concern]], case: Case, within: Release
) -> Iterator[tuple[str, Concern]]:
    """What is said of one option or variable, of each other that the same remedy changes: it is
    not fine where it stands.
    """
    his = re.compile(dialect(case.target.engine).his)
    for name, concerns in told.items():
        for one in concerns:
            remedy = next((made for made in one.remedies if made.set or made.unset), None)
            if not (remedy and one.verdict.says_no):
                continue
            wanted: dict[str, str | None] = {**remedy.set, **dict.fromkeys(remedy.unset)}
            if any(his.fullmatch(changed) for changed in wanted):  # the author decides
                continue
            for changed, value in wanted.items():
                other = changed if changed.isupper() else within.catalogue.canonical(changed)
                given = case.value(other)
                if other != name and given is not None and given != value:
                    called = name if name.isupper() else f"--{name}"
                    yield other, replace(one, why=f"with {called}: {one.why}")


def canonical_name(given: Given, within: Release) -> str:
    """The one name of what a command line sets, abbreviated or not."""
    return within.catalogue.canonical(given.setting.lstrip("-"))
