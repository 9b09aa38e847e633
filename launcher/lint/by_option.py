"""What there is to say of each option and variable of a launch, by its one name. Pure."""

from __future__ import annotations

from collections import defaultdict

from launcher.engines import issues
from launcher.engines.match import Case
from launcher.engines.options import Given, Release
from launcher.lint.concerns import Concern, guesses, of_issue


def told(case: Case, within: Release, unknown: frozenset[str]) -> defaultdict[str, list[Concern]]:
    """What issues and guesses say, by the canonical name of the option, or the variable."""
    told: defaultdict[str, list[Concern]] = defaultdict(list)
    for name, concern in guesses(case, unknown):
        told[name].append(concern)
    for issue in issues.issues(case):
        when = issue.when
        if not unknown & {*issue.blames, *when.names, *when.traits, *when.without}:
            told[issue.name].append(of_issue(issue, within))
    return told


def canonical_name(given: Given, within: Release) -> str:
    """The one name of what a command line sets, abbreviated or not."""
    return within.catalogue.canonical(given.setting.lstrip("-"))
