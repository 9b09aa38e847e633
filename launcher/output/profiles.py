"""Profiles as people look at them: all there are, one of them, and whether one is valid."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from launcher import counting
from launcher.config import layers
from launcher.config.select import BROKEN, Row
from launcher.config.shown import Shown
from launcher.engines.engine import dialect
from launcher.errors import Exit
from launcher.lint.notes import STOPS
from launcher.output.plan import SCHEMA
from launcher.plan.plan import Plan
from launcher.printable import cut

if TYPE_CHECKING:
    from rich.text import Text

KEY = 34  # columns of a key in what a profile comes to


def listed(rows: Sequence[Row], environ: Mapping[str, str], *, every: bool, as_json: bool) -> None:
    """The profiles, the default for this host first, then those that fit it; of packaged ones for
    other GPUs, and of old names, how many there are, but for `every`.
    """
    if as_json:
        told = [one.to_json() for one in rows]
        print(json.dumps({"schema": SCHEMA, "profiles": told}, indent=1))
        return
    from launcher.output.console import console, row, table_of, table_or_blocks, words

    wanted = rows if every else _of_interest(rows)
    shown = sorted(wanted, key=lambda one: (not one.default, not one.fits))
    table = table_of("name", "fits", "from", "needs", "what")
    for one in shown:
        cells = (one.name, _fits(one), _place(one), one.needs, cut(one.description))
        name, fits, *rest = map(words, cells)
        fits.stylize("green" if one.fits else "dim")
        table.add_row(name, fits, *rest)
    screen = console(sys.stdout)
    table_or_blocks(screen, table, map(_block, shown))
    if left := len(rows) - len(shown):
        screen.print(row("not shown", f"{left} for other GPUs, or old names: --all"))
    screen.print(row("looked in", ", ".join(str(folder) for _, folder in layers.places(environ))))


def _of_interest(rows: Sequence[Row]) -> list[Row]:
    """Without old names; where GPUs are seen, of the packaged ones those that fit them, or are
    broken.
    """
    no_gpus = all(one.obstacle == "no GPU seen" for one in rows if not one.fits)
    return [
        one
        for one in rows
        if one.place != "alias"
        and (one.fits or no_gpus or one.place != "packaged" or one.obstacle == BROKEN)
    ]


def _fits(one: Row) -> str:
    if not one.fits:
        return f"no: {one.obstacle}"
    return "yes, the default" if one.default else "yes"


def _place(one: Row) -> str:
    return f"{one.place}, shadowed" if one.shadowed else one.place


def _block(one: Row) -> tuple[Text, tuple[str, ...]]:
    from launcher.output.console import words

    fits = _fits(one), "green" if one.fits else "dim"
    head = words((one.name, "bold"), "  ", fits, f"  {_place(one)}")
    return head, (f"needs {one.needs}" if one.needs else "", cut(one.description))


def show(seen: Shown, *, as_json: bool) -> None:
    """A profile's file, what it extends, and who sets what."""
    if as_json:
        print(json.dumps({"schema": SCHEMA, **seen.to_json()}, indent=1, default=str))
        return
    from launcher.output.console import beside, console, lines, row, words

    screen = console(sys.stdout)
    screen.print(row("profile", f"{seen.name} ({seen.place})"))
    screen.print(row("file", seen.path))
    screen.print(row("extends", " <- ".join(seen.extends) or "-"))
    screen.print()
    screen.print(lines(seen.text.rstrip("\n").split("\n")))
    screen.print()
    screen.print(words(("what it comes to, and who sets it; rules choose the rest", "dim")))
    for one in seen.values:
        value = one.value if isinstance(one.value, str) else json.dumps(one.value, default=str)
        beside(screen, (one.key, ""), KEY, f"{value}  ", (one.place, "cyan"))


def valid(plan: Plan, stops: Sequence[tuple[str, str]], path: str, *, as_json: bool) -> int:
    """That a profile may be used, with what is to be said of it; Exit.NO where its engine would not
    start with it.
    """
    status = Exit.NO if stops else Exit.FINE
    if as_json:
        of = {"profile": plan.name, "path": path, "engine": plan.engine, "release": plan.release}
        told = {"starts": not stops, "notes": list(plan.notes)}
        print(json.dumps({"schema": SCHEMA, **of, **told}, indent=1))
        return status
    from launcher.output.console import beside, console, words

    screen = console(sys.stdout)
    verdict = ("would not start", "bold red") if stops else ("valid", "bold green")
    screen.print(words((plan.name, "bold"), "  ", verdict, f"  {', '.join(_for_whom(plan))}"))
    for note in plan.notes:
        colour = "red" if note.startswith(STOPS) else "yellow"
        beside(screen, ("note", colour), 4, cut(note))
    return status


def _for_whom(plan: Plan) -> Iterator[str]:
    """What a plan is made for, and of what."""
    if plan.gpus:
        yield f"{counting.of(plan.gpus, 'GPU')}{f', {plan.arch}' if plan.arch else ''}"
    yield " ".join(filter(None, (dialect(plan.engine).name, plan.release)))
    yield plan.model
    yield f"{plan.host}:{plan.port}{' with a key' if plan.key_file else ''}"


def made(plan: Plan) -> None:
    """What a profile that is about to be written comes to, to standard error."""
    from launcher.output.console import beside, console, row

    screen = console(sys.stderr)
    screen.print(row("runs", ", ".join(_for_whom(plan)), 7))
    for note in plan.notes:
        beside(screen, ("note", "yellow"), 4, note)
