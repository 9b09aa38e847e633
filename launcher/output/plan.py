"""What the commands that look print: for a person, or as JSON for a script."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from launcher.config import published
from launcher.config.shown import place_of
from launcher.engines.engine import dialect
from launcher.plan.plan import Plan, Setting, changed, to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from launcher.operate.contained import Rendered

SCHEMA = 1
GONE = ("stopped", "failed", "dead")  # states in which nobody answers
WIDTH = 10  # of the names in a status
WIDE = 140  # columns that an option and its reason have room in, beside each other
BROAD = 160  # columns that a table of reasons wants; below, each stands under its setting


def plan(shown: Rendered, *, form: str, explain: bool) -> None:
    """A plan: to paste, to parse, or to understand."""
    if form == "json":
        print(json.dumps(to_json(shown.plan), indent=1))
    elif explain:
        _explain(shown.plan)
    else:
        print(shown.text, end="")


def _explain(shown: Plan) -> None:
    """Each value with its reason; what a rule set also with how that is known, and what speaks
    against it.
    """
    from rich.padding import Padding

    from launcher.output.console import console, words

    screen = console(sys.stdout)
    screen.print(words((shown.name, "bold"), f"  {_for_whom(shown)}"))
    for note in shown.notes:
        screen.print(words((f"note: {note}", "yellow")))
    for line in _of_point(shown):
        screen.print(words((line, "dim")))
    if screen.width < BROAD:
        for setting in shown.settings:
            head = f"{setting.name} {setting.value}".rstrip(), "bold"
            screen.print(words(head, (f"  {place_of(setting.layer)}", "cyan")))
            screen.print(Padding.indent(_reason(setting), 4))
        return
    from launcher.output.console import table_of

    table = table_of("flag or variable", "value", "set by", "why")
    for setting in shown.settings:
        cells = map(words, (setting.name, setting.value, place_of(setting.layer)))
        table.add_row(*cells, _reason(setting))
    screen.print(table)


def _of_point(shown: Plan) -> Iterator[str]:
    """The operating point and what others got at it; what it lacks here stands in the notes."""
    if shown.point:
        told = published.beside(shown)
        others = f"others got {told}" if told else "no published figure of it is known here"
        yield f"operating point {shown.point}: {others}"
    yield from (f"measured: {what}" for what in shown.measured[:1])


def _reason(setting: Setting) -> Text:
    from launcher.output.console import words

    why = words(setting.why)
    if setting.known:
        why += words((f" ({setting.known}: {setting.source})", "dim"))
    if setting.against:
        why += words((f" against: {setting.against}", "yellow"))
    return why


def difference(before: Plan, after: Plan, *, as_json: bool) -> bool:
    """What another plan would run otherwise, and why; whether anything differs, or may."""
    changes = changed(before, after)
    strange = [one.release for one in (before, after) if not _is_known(one)]
    unknown = f"{' and '.join(map(str, strange))} is not in the catalogue" if strange else ""
    if as_json:
        rows = [
            {"name": name, "before": _told(old), "after": _told(new)} for name, old, new in changes
        ]
        told = {"schema": SCHEMA, "before": before.name, "after": after.name, "changes": rows}
        print(json.dumps(told | {"unknown": unknown or None}, indent=1))
        return bool(changes or unknown)
    from launcher.output.console import console

    screen = console(sys.stdout)
    both = [note for note in before.notes if note in after.notes]
    for sign, colour, plan in (("-", "red", before), ("+", "green", after)):
        _line(screen, (f"{sign} {plan.name} ({_for_whom(plan)})", colour))
        for note in plan.notes:
            if note not in both:
                _line(screen, (f"  note: {note}", "yellow"))
    for note in both:
        _line(screen, (f"note: {note}", "yellow"))
    for _, *sides in changes:
        for sign, colour, setting in zip("-+", ("red", "green"), sides, strict=True):
            if setting:
                _changed(screen, sign, colour, setting)
    if not changes:
        screen.print(f"no difference that is known: {unknown}" if unknown else "no difference")
    return bool(changes or unknown)


def _changed(screen: Console, sign: str, colour: str, setting: Setting) -> None:
    """One side of what differs: its reason beside it, or below where the terminal is narrow."""
    head = f"{sign} {f'{setting.name} {setting.value}'.rstrip()}"
    why = f"{setting.why}{f' ({setting.known})' if setting.known else ''}"
    if screen.width < WIDE:
        _line(screen, (head, colour))
        _line(screen, (f"    {why}", "dim"))
    else:
        _line(screen, (f"{head:<54}", colour), (f" {why}", "dim"))


def _line(screen: Console, *parts: tuple[str, str]) -> None:
    """One line, whose rest hangs below it."""
    from launcher.output.console import hung, words

    for part in hung(screen, words(*parts)):
        screen.print(part)


def _is_known(plan: Plan) -> bool:
    """Whether the catalogue has the release that a plan was made for."""
    return plan.release is None or plan.release in dialect(plan.engine).options.releases


def _for_whom(plan: Plan) -> str:
    release = f"{dialect(plan.engine).name} {plan.release}" if plan.release else ""
    return ", ".join(filter(None, (plan.arch, release)))


def _told(setting: Setting | None) -> dict[str, Any] | None:
    return asdict(setting) if setting else None
