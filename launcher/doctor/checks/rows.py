"""How doctor says what a known issue is, and which of them a plan on a host has."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from launcher.doctor.checks.engine import release
from launcher.doctor.checks.judging import Verdict
from launcher.doctor.checks.nccl import effective
from launcher.engines import issues
from launcher.engines.issues import Issue
from launcher.engines.match import Case
from launcher.host.facts import Host, UnobservedError
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan


def found(host: Host, plan: Plan) -> Mapping[str, Sequence[Issue]]:
    """The issues of a plan on this host by id, worst first; of the engine where its release is
    known.
    """
    try:
        installed = release(host, plan.engine)
    except UnobservedError:
        installed = None
    packages = host.engine.packages.otherwise({})
    told: dict[str, list[Issue]] = {}
    for issue in issues.issues(case(host, plan, installed)):
        if (installed or not issue.engine) and not issue.is_fixed(packages):
            told.setdefault(issue.id, []).append(issue)
    return told


def case(host: Host, plan: Plan, installed: str | None) -> Case:
    """What rows are held against: the plan, for what is installed and with what is set there."""
    return issues.of_plan(plan, installed, _variables(host, plan))


def _variables(host: Host, plan: Plan) -> Mapping[str, str]:
    """As the server gets them; the plan's alone where nobody saw the host's."""
    seen = host.environment.variables
    return {**effective(host), **seen.get()} if seen.known else plan.env


def verdict(told: Sequence[Issue]) -> Verdict:
    """What one row says, of each variable or option that it says it of."""
    first = told[0]
    seen = "; ".join(f"{_setting(issue)}: {issue.what}" for issue in told)
    advisory = f"{first.advisory}, " if first.advisory else ""
    return Verdict(
        Severity.FAIL if first.severity.is_fatal else Severity.WARN,
        f"{advisory}{seen} ({first.known}: {first.source})",
        "; ".join(dict.fromkeys(issue.fix for issue in told)),
    )


def _setting(issue: Issue) -> str:
    if issue.name.isupper():
        return f"{issue.name}={issue.value}"
    return f"--{issue.name} {issue.value}".rstrip()


def title(issue: Issue) -> str:
    """A row in a line, whatever it is told of."""
    return f"{'|'.join(issue.blames)}: {_open(issue.what)}."


def condition(issue: Issue) -> str:
    """Where a row holds, when it shows, and what helps, in words."""
    when = issue.when
    options = (f"{name} {' or '.join(map(_word, of))}" for name, of in when.options.items())
    told = [
        ", ".join(when.gpu),
        f"{issue.engine} {when.release}".strip() if str(when.release) else "",
        *sorted(when.traits),
        *(f"not {trait}" for trait in sorted(when.without)),
        *options,
        *(f"{name}: {bounds}" for name, bounds in issue.bounds.items()),
        when.where.text.replace("_", "-") if when.where else "",
    ]
    where = "; ".join(part for part in told if part)
    shows = f", {issue.shows}" if issue.shows else ""
    return (
        f"{issue.severity.capitalize()}{shows}{f' ({where})' if where else ''}."
        f" Fix: {_open(issue.fix)}."
    )


def _word(value: str) -> str:
    return {"": "not set", "*": "anything"}.get(value, value.replace("!", "other than "))


def _open(text: str) -> str:
    return re.sub(r"\{(\w+)(!r)?\}", r"<\1>", text)


def source(issue: Issue) -> str:
    """How a row is known, and how far."""
    advisory = f"{issue.advisory}; " if issue.advisory else ""
    known = f"{issue.known.capitalize()}: {advisory}{issue.source}."
    return f"{known} Looked at up to {issue.checked}."
