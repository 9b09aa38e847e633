"""What there is to say of each option and variable of a launch, by its one name. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from launcher.engines import issues
from launcher.engines.issues import Issue
from launcher.engines.match import Case
from launcher.engines.options import Given, Release
from launcher.lint.concerns import Concern, guesses, of_issue


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
        is_by_presence = not (rests or issue.test or issue.bounds or "{value}" in issue.what)
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
    return told


def canonical_name(given: Given, within: Release) -> str:
    """The one name of what a command line sets, abbreviated or not."""
    return within.catalogue.canonical(given.setting.lstrip("-"))
