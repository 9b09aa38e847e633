"""What doctor prints for a person: groups, one line a check, details only for what is not ok."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from launcher import counting
from launcher.api import doctor
from launcher.doctor.checks import REQUIRED, unmade
from launcher.doctor.heading import head
from launcher.doctor.run import DoctorOptions, Examined, Report
from launcher.doctor.topology import drawn
from launcher.errors import Exit
from launcher.plan.findings import Finding, Severity, failures, to_json, verdict

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {
    Severity.OK: "green",
    Severity.WARN: "yellow",
    Severity.UNKNOWN: "magenta",
    Severity.FAIL: "red",
}
WIDTH, GROUP_WIDTH = 8, 21  # of the first columns
ADVISORY = re.compile(r"(cve|ghsa|pysec)-")  # what the rows of advisories are called
MANY = 5  # checks that one reason hides: enough to say it first, and not to name each


def report(seen: Examined, findings: Sequence[Finding], words: DoctorOptions) -> int:
    """Print what `doctor` found: a script that fixes it, JSON, or a page; the exit status."""
    if words.fix:
        from launcher.doctor.remedies import script

        print(script(seen.host, findings), end="")
    elif words.format == "npd":
        from launcher.output.plugins import npd, npd_status

        print(npd(findings))
        return npd_status(verdict(findings))
    elif words.format == "prometheus":
        from launcher.output.plugins import prometheus

        print(prometheus({"": findings}), end="")
    elif words.as_json:
        print(json.dumps(doctor.to_json(seen, findings), indent=1))
    else:
        from launcher.output import console

        fits = (f"fits  {line}" for line in doctor.fits(seen))
        show(
            console.console(sys.stdout),
            findings,
            head(seen),
            *fits,
            topology=drawn(seen.host),
            every=words.every or bool(words.only),
            absent=_absent(seen, findings, words),
        )
    return status(verdict(findings), strict=words.strict)


def _absent(
    seen: Examined, findings: Sequence[Finding], words: DoctorOptions
) -> list[tuple[str, str]]:
    """The checks that were asked for by name and not made, each with the reason."""
    made = {found.id for found in findings}
    missing = [id for id in dict.fromkeys(words.only) if id not in made]
    return [(id, unmade(id, seen.plan)) for id in missing]


def status(worst: Severity, *, strict: bool) -> Exit:
    """The exit status that a verdict is."""
    failed = worst is Severity.FAIL or (strict and worst is not Severity.OK)
    return Exit.NO if failed else Exit.FINE


def refused(as_json: bool) -> Report:
    """Who shows what keeps something from being started, where more is to see than the refusal
    says.
    """

    def shown(seen: Examined, findings: Sequence[Finding]) -> None:
        if as_json:
            told = to_json(findings, seen.plan.name, seen.host.observed)
            print(json.dumps({"event": "doctor", **told}), flush=True)  # before the refusal
        elif not REQUIRED.issuperset(found.id for found in failures(findings)):
            from launcher.output import console

            show(console.console(sys.stderr), findings, head(seen))

    return shown


def show(
    console: Console,
    findings: Sequence[Finding],
    head: str,
    *more: str,
    topology: Sequence[tuple[str, str]] = (),
    every: bool = False,
    absent: Sequence[tuple[str, str]] = (),
) -> None:
    """Print a report, with `more` lines and the host's topology below its heading: first what
    keeps most from being seen, then the checks by group; with `every`, those that are ok, and what
    was not seen, by name. `absent` are checks that were asked for and not made, and why.
    """
    from launcher.output.console import beside, words

    console.print(words((head, "bold")))
    for text in more:
        console.print(words(text))
    for name, text in topology:
        beside(console, (name, "dim"), GROUP_WIDTH - 2, text)
    console.print()
    hidden = _hidden(findings)
    _in_the_way(console, hidden, every)
    for group, members in groupby(findings, key=lambda found: found.group):
        _group(console, group, list(members), every)
    _not_seen(console, hidden)
    for id, why in absent:
        line(console, ("skipped", "magenta"), (id, "bold"), f"  {why}")
    if findings:
        _end(console, findings)


def _group(console: Console, group: str, findings: list[Finding], every: bool) -> None:
    from launcher.output.console import words

    console.print(words((f"{group:<{GROUP_WIDTH}}", "bold"), (f" {_summary(findings)}", "dim")))
    known = [] if every else _advisories(findings)
    for found in findings:
        if known and found is known[0]:
            _of_advisories(console, known)
        elif found in known:
            continue
        elif found.severity is not Severity.OK and not _is_blind(found):
            _detail(console, found)
        elif every and found.severity is Severity.OK:
            told = (f"{found.id}  {found.title}", (f"  {found.evidence}", "dim"))
            line(console, (found.severity.word, "green"), *told)


def _advisories(findings: Sequence[Finding]) -> list[Finding]:
    """Those that only tell of advisories, where there are several."""
    told = [
        found
        for found in findings
        if found.severity is Severity.WARN and not found.allowed and ADVISORY.match(found.id)
    ]
    return told if len(told) > 1 else []


def _of_advisories(console: Console, known: Sequence[Finding]) -> None:
    """One line for all of them, and one for what helps against each: what each is, `--all`
    tells.
    """
    ids = ", ".join(found.id.upper() for found in known)
    what = f"  {len(known)} are known of this release: {ids}"
    line(
        console,
        (Severity.WARN.word, COLOURS[Severity.WARN]),
        ("advisories", "bold"),
        what,
        ("  (--all: what each is)", "dim"),
    )
    helps: dict[str, list[str]] = {}
    for found in known:
        helps.setdefault(found.fix, []).append(found.id.upper())
    for fix, against in helps.items():
        of = f"  ({', '.join(against)})" if len(helps) > 1 else ""
        if fix:
            line(console, ("fix", "bold"), fix, (of, "dim"))


def _is_blind(found: Finding) -> bool:
    return found.severity is Severity.UNKNOWN and not found.fix


def _hidden(findings: Sequence[Finding]) -> list[tuple[str, list[str]]]:
    """Why checks could not be made, and which: one reason hides many, the one that hides most
    first.
    """
    hidden: dict[str, list[str]] = {}
    for found in filter(_is_blind, findings):
        hidden.setdefault(found.evidence, []).append(found.id)
    return sorted(hidden.items(), key=lambda one: -len(one[1]))


def _in_the_way(console: Console, hidden: Sequence[tuple[str, list[str]]], every: bool) -> None:
    """What keeps most checks from being made comes before all that they would say."""
    told = [(why, ids) for why, ids in hidden if len(ids) >= MANY]
    for why, ids in told:
        line(
            console,
            ("unknown", "magenta"),
            f"{counting.of(len(ids), 'check')} cannot be made: {why}",
        )
        if every:
            line(console, ("", ""), (", ".join(ids), "dim"))
    if told:
        console.print()


def _not_seen(console: Console, hidden: Sequence[tuple[str, list[str]]]) -> None:
    from launcher.output.console import words

    told = [(why, ids) for why, ids in hidden if len(ids) < MANY]
    if told:
        console.print(words(("not seen", "bold")))
    for why, ids in told:
        line(console, ("unknown", "magenta"), why)
        line(console, ("", ""), (", ".join(ids), "dim"))


def _detail(console: Console, found: Finding) -> None:
    word = "allowed" if found.allowed else found.severity.word
    colour = "dim" if found.allowed else COLOURS[found.severity]
    line(console, (word, colour), (found.id, "bold"), f"  {found.evidence}")
    if found.why and found.severity is not Severity.UNKNOWN:
        line(console, ("", ""), (found.why, "dim"))
    if found.fix:
        line(console, ("fix", "bold"), found.fix)


def line(console: Console, head: tuple[str, str], *parts: str | tuple[str, str]) -> None:
    """A word in the first column, then a text that is folded beside it."""
    from launcher.output.console import beside

    beside(console, head, WIDTH, *parts)


def _summary(findings: Sequence[Finding]) -> str:
    """How many of each kind, the worst first: `1 fail, 2 unknown, 9 ok`."""
    counts = Counter(
        "allowed" if found.allowed and found.severity else found.severity.word for found in findings
    )
    kinds = ("fail", "unknown", "warn", "allowed", "ok")
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])


def _end(console: Console, findings: Sequence[Finding]) -> None:
    from launcher.output.console import words

    worst = verdict(findings)
    console.print()
    console.print(words((worst.word, f"bold {COLOURS[worst]}"), f"  {_summary(findings)}"))
    todo = [
        found for found in findings if found.severity is worst and not found.allowed and found.fix
    ]
    if worst is not Severity.OK and todo:
        console.print(words(f"first   {todo[0].fix}", (f"  ({todo[0].id})", "dim")))
