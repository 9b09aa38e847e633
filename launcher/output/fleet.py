"""What doctor prints of several hosts: what is not alike, a table of hosts and areas, then what to
do.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from launcher.doctor.fleet import Fleet, Judged
from launcher.doctor.group import Difference
from launcher.doctor.run import DoctorOptions
from launcher.errors import Exit
from launcher.output.doctor import COLOURS, line, status
from launcher.output.plugins import prometheus
from launcher.plan.findings import SCHEMA, Finding, Severity, to_json

if TYPE_CHECKING:
    from rich.console import Console

MOST_NAMED = 8  # hosts that one line names
UNREACHABLE = "not reached"


def report(seen: Fleet, words: DoctorOptions) -> int:
    """Print what was found; the exit status. Where no host was reached nothing is fine."""
    if words.as_json:
        print(json.dumps(_json(seen), indent=1))
    elif words.format == "prometheus":
        findings = {one.name: None if one.unreachable else one.findings for one in seen.hosts}
        print(prometheus(findings, seen.differences), end="")
    else:
        from launcher.output import console

        _show(console.console(sys.stdout), seen, every=words.every or bool(words.only))
    if all(one.unreachable for one in seen.hosts):
        return Exit.NO
    return status(seen.verdict, strict=words.strict)


def _json(seen: Fleet) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "verdict": seen.verdict.word,
        "notes": list(seen.notes),
        "differences": [_difference(one) for one in seen.differences],
        "together": to_json(seen.together, None, "")["findings"],
        "hosts": [_host(one) for one in seen.hosts],
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "area": one.area.name,
        "odd": list(one.odd),
        "values": [{"value": value, "hosts": list(names)} for value, names in one.values],
        "unknown": list(one.unknown),
        "fix": one.area.fix,
    }


def _host(one: Judged) -> dict[str, Any]:
    why = one.unreachable
    told = one.seen and to_json(one.findings, one.seen.plan.name or None, one.seen.host.observed)
    return {
        "host": one.name,
        "address": one.answer.target.address,
        "verdict": one.verdict.word,
        "seconds": round(one.answer.seconds, 3),
        "unreachable": why and {"kind": why.kind, "what": why.what, "fix": why.fix},
        "report": told,
    }


def _show(console: Console, seen: Fleet, *, every: bool) -> None:
    from launcher.output.console import words

    ranked = _ranked(seen)
    console.print(words((_counted(seen), "bold")))
    for note in seen.notes:
        line(console, ("note", "bold"), note)
    if not seen.together:  # which says the same of the nodes of one plan
        _differences(console, seen.differences)
    console.print()
    _hosts(console, ranked)
    _unreached(console, ranked)
    _findings(console, seen, every)
    console.print()
    worst = seen.verdict
    console.print(words((worst.word, f"bold {COLOURS[worst]}"), f"  {_counted(seen)}"))


def _ranked(seen: Fleet) -> list[Judged]:
    """The worst first; among equals the one that is odd in most."""
    odd = Counter(name for one in seen.differences for name in one.odd)
    return sorted(seen.hosts, key=lambda one: (-one.verdict, -odd[one.name]))


def _counted(seen: Fleet) -> str:
    """`4 hosts: 1 fail, 2 ok, 1 not reached`."""
    kinds = Counter(UNREACHABLE if one.unreachable else one.verdict.word for one in seen.hosts)
    order = ("fail", UNREACHABLE, "unknown", "warn", "ok")
    told = ", ".join(f"{kinds[kind]} {kind}" for kind in order if kinds[kind])
    return f"{len(seen.hosts)} host{'s' * (len(seen.hosts) != 1)}: {told}"


def _differences(console: Console, found: Sequence[Difference]) -> None:
    """What is not alike."""
    from launcher.output.console import words

    if not found:
        return
    console.print()
    console.print(words(("not alike", "bold")))
    for one in found:
        line(console, ("differs", "yellow"), (one.area.name, "bold"), f"  {_told(one)}")
        line(console, ("fix", "bold"), one.area.fix)


def _told(one: Difference) -> str:
    """Who has what, the odd ones first."""
    told = sorted(one.values, key=lambda pair: not set(pair[1]) <= set(one.odd))
    return "; ".join(f"{_names(names)}: {value or 'none'}" for value, names in told)


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _hosts(console: Console, ranked: Sequence[Judged]) -> None:
    """Hosts and areas, of these the ones in which something is found; how many checks could not
    see.
    """
    from launcher.output.console import columns, words

    cells = {one.name: _areas(one.findings) for one in ranked}
    every = dict.fromkeys(found.group for one in ranked for found in one.findings)
    shown = [area for area in every if any(area in areas for areas in cells.values())]
    rows = []
    for one in ranked:
        word = UNREACHABLE if one.unreachable else one.verdict.word
        row = [words(one.name), words((word, COLOURS[one.verdict])), words(_blind(one))]
        fine = words("-" if one.unreachable else "")
        for area in shown:
            worst = cells[one.name].get(area)
            row.append(fine if worst is None else words((worst.word, COLOURS[worst])))
        rows.append(row)
    heads = ["host", "verdict", "not seen", *shown]
    columns(console, heads, rows, left=heads, gap=2)


def _blind(one: Judged) -> str:
    if one.unreachable:
        return "-"
    unknown = [found for found in one.findings if found.severity is Severity.UNKNOWN]
    return f"{len(unknown)} of {len(one.findings)}" if unknown else ""


def _areas(findings: Sequence[Finding]) -> dict[str, Severity]:
    """The worst failure or warning of each area that has one."""
    worst: dict[str, Severity] = {}
    for one in findings:
        if one.severity in (Severity.WARN, Severity.FAIL) and not one.allowed:
            worst[one.group] = max(one.severity, worst.get(one.group, Severity.OK))
    return worst


def _unreached(console: Console, ranked: Sequence[Judged]) -> None:
    from launcher.output.console import words

    lost = [(one.name, why) for one in ranked if (why := one.unreachable)]
    if lost:
        console.print()
        console.print(words((UNREACHABLE, "bold")))
    for name, why in lost:
        line(console, ("unknown", "magenta"), (name, "bold"), f"  {why.what}")
        line(console, ("fix", "bold"), why.fix)


def _findings(console: Console, seen: Fleet, every: bool) -> None:
    """What checks found, the worst first: what is the same on several hosts is told once."""
    from launcher.output.console import words

    found: dict[tuple[str, Severity, str], tuple[Finding, list[str]]] = {}
    every_one = [(one, "") for one in seen.together]
    every_one += [(one, host.name) for host in _ranked(seen) for one in host.findings]
    for one, name in every_one:
        is_told = one.severity > Severity.OK and (one.severity is not Severity.UNKNOWN or every)
        if is_told and not one.allowed:
            key = one.id, one.severity, one.evidence
            found.setdefault(key, (one, []))[1].append(name)
    if found:
        console.print()
        console.print(words(("findings", "bold")))
    for one, names in sorted(found.values(), key=lambda pair: -pair[0].severity):
        where = "" if names == [""] else f"{_names(names)}: "
        told = f"  {where}{one.evidence}"
        line(console, (one.severity.word, COLOURS[one.severity]), (one.id, "bold"), told)
        if one.fix:
            line(console, ("fix", "bold"), one.fix)
