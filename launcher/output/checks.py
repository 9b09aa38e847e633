"""Doctor's checks as a list, as an explanation, as the page docs/checks.md: all from their
docstrings.
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from typing import Any

from launcher.doctor.checks import Check, every_check, known_ids
from launcher.plan.findings import EXPLAINED, SCHEMA

INTRODUCTION = """\
# Checks

What `glm5-serve doctor` looks at, made by `glm5-serve checks --markdown`. Each check's title is true of a healthy
host. The evidence (the value seen and where) and the command that fixes it stand in doctor's report.

How a rule is known: *tested* means that our tests execute it, *observed* that a host or log which we
hold shows it, *reported* that others met it, *source* that it stands in source or documentation and was not run.
"""


REQUIRED = "Required: no --allow lets it fail."


def show(id: str | None, *, as_json: bool) -> None:
    """Print all checks, or one explained; on a terminal folded between words. Raises UserError
    (usage) for an id that no check has.
    """
    from launcher.output.console import console, lines

    text = listing(id, as_json=as_json)
    if as_json:
        print(text)
    else:
        console(sys.stdout).print(lines(text.split("\n")))


def listing(id: str | None, *, as_json: bool) -> str:
    """All checks, or one explained. Raises UserError (usage) for an id that no check has."""
    if id is not None:
        known_ids([id])
    chosen = [check for check in every_check() if id in (None, check.id)]
    if as_json:
        rows = [_data(check, full=id is not None) for check in chosen]
        return json.dumps({"schema": SCHEMA, "checks": rows}, indent=1)
    if id is not None:
        return "\n".join(_explained(chosen[0]))
    width = max(len(check.id) for check in chosen)
    lines = []
    for group, members in groupby(chosen, key=lambda check: check.group):
        lines += ["", group, *(f"  {check.id:<{width}}  {check.title}" for check in members)]
    return "\n".join(lines[1:])


def _data(check: Check, *, full: bool) -> dict[str, Any]:
    row = {"id": check.id, "title": check.title, "group": check.group}
    if not full:
        return row
    doc = f"{EXPLAINED} {check.id}"
    return row | {"why": check.why, "known": check.known, "doc": doc, "required": check.required}


def _explained(check: Check) -> list[str]:
    required = ["", REQUIRED] if check.required else []
    return [
        f"{check.id}  ({check.group})",
        "",
        check.title,
        "",
        check.why,
        "",
        check.known,
        *required,
    ]


def page() -> str:
    """The documentation page: a heading for each check."""
    parts = [INTRODUCTION]
    for group, members in groupby(every_check(), key=lambda check: check.group):
        parts.append(f"## {group[0].upper()}{group[1:]}\n")
        parts += [_section(check) for check in members]
    return "\n".join(parts).rstrip()


def _section(check: Check) -> str:
    required = f"\n{REQUIRED}\n" if check.required else ""
    return f"### {check.id}\n\n{check.title} {check.why}\n\n*{check.known}*\n{required}"
