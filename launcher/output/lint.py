"""`glm5-serve lint`: what it prints for a person, and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from launcher.config.target import TargetOptions, recorded, require_known
from launcher.engines import options as catalogue
from launcher.engines.target import ARCHS, Target, of, of_parts
from launcher.errors import Exit, UserError
from launcher.files.reading import named, reason
from launcher.formats.manifests import MOST, read
from launcher.formats.shell import Launch
from launcher.host.facts import Model, System
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, better, difference, lint, notes

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = 1
MOST_BYTES = 4 * MOST  # of a file: a character has four at most
COLOURS = {
    Verdict.FINE: "green",
    Verdict.ABBREVIATED: "green",
    Verdict.NEEDLESS: "cyan",
    Verdict.INERT: "cyan",
    Verdict.DEPRECATED: "yellow",
    Verdict.RISKY: "yellow",
}
MARKS = {
    Verdict.FINE: "·",
    Verdict.ABBREVIATED: "·",
    Verdict.NEEDLESS: "-",
    Verdict.INERT: "-",
    Verdict.DEPRECATED: "d",
    Verdict.RISKY: "!",
}
LEGEND = "· fine   - inert or needless   d deprecated   ! risky   x breaks, or is refused"
FALLBACK = "sm120"  # the GPUs that this is made for, where neither --arch nor this host says others
OLDEST = "0.5.9"  # the first that knows GLM-5


def run(file: str, aim: TargetOptions, *, as_json: bool) -> int:
    """Judge the launch in a file (`-`: standard input) and print it; exit 1 if it will not run, or
    not rightly.

    Raises UserError where there is no launch, or none of SGLang.
    """
    require_known(aim)
    launch = read(_text(file))
    if launch is None:
        what = (
            f"no launch of SGLang in {file}: no sglang.launch_server, no `sglang serve`, no options"
        )
        raise UserError(what, fix="give it the whole command, or its list of options")
    if launch.engine != "sglang":
        fix = "glm5-serve starts SGLang: `glm5-serve render` writes its command"
        raise UserError(f"{file} starts {launch.engine}, whose options are others", fix=fix)
    # The command is somebody's: what is installed here says nothing about it, the GPUs of this host
    # may.
    seen = of(recorded(aim.facts)) if aim.facts else Target()
    arch = aim.arch or seen.arch or _arch_here()
    target = replace(seen, sglang=aim.sglang or launch.release or seen.sglang, arch=arch)
    told = _one(launch, target) if target.sglang else {}
    many = {} if told else {name: lint(launch, replace(target, sglang=name)) for name in _known()}
    if as_json:
        print(json.dumps(_json(launch, target, told or many), indent=1))
    else:
        _show(launch, target, told, many)
    worst = max(
        (entry.verdict.rank for entries in (told or many).values() for entry in entries), default=0
    )
    return Exit.NO if worst >= Verdict.CONFLICTS.rank else Exit.FINE


def _arch_here() -> str:
    from launcher.host.observe import observe_driver

    here = of_parts(observe_driver(), System(), Model()).arch
    return here if here in ARCHS else FALLBACK


def _known() -> list[str]:
    return [
        name
        for name in catalogue.releases()
        if catalogue.version(name) >= catalogue.version(OLDEST)
    ]


def _one(launch: Launch, target: Target) -> dict[str, list[Entry]]:
    return {target.sglang or "": lint(launch, target)}


def _text(file: str) -> str:
    try:
        with named(file) as stream:
            data = stream.read(MOST_BYTES)
    except OSError as error:
        fix = "give a file, or - for standard input"
        raise UserError(
            f"cannot read {file}: {reason(error)}", fix=fix, status=Exit.USAGE
        ) from None
    return data.decode("utf-8", "replace")


def _json(launch: Launch, target: Target, told: Mapping[str, Sequence[Entry]]) -> dict[str, Any]:
    releases = {
        name: {
            "entries": [_entry(entry) for entry in entries],
            "instead": _instead(launch, entries, replace(target, sglang=name)),
        }
        for name, entries in told.items()
    }
    return {
        "schema": SCHEMA,
        "form": launch.form,
        "arch": target.arch,
        "notes": [*launch.notes, *notes(launch, target)],
        "releases": releases,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    data = asdict(entry)
    data["concerns"] = [
        {"verdict": concern.verdict, "why": concern.why} for concern in entry.concerns
    ]
    return data


def _instead(launch: Launch, entries: Sequence[Entry], target: Target) -> dict[str, Any] | None:
    plan = better(launch, entries, target)
    return {"argv": list(plan.argv), "env": plan.env} if plan else None


def _show(
    launch: Launch,
    target: Target,
    told: Mapping[str, Sequence[Entry]],
    many: Mapping[str, Sequence[Entry]],
) -> None:
    from launcher.output import console as terminal
    from launcher.output.console import words

    console = terminal.console(sys.stdout)
    releases = f"SGLang {target.sglang}" if told else f"SGLang {_known()[0]} to {_known()[-1]}"
    console.print(words((f"{launch.form}, judged for {releases} on {target.arch}", "bold")))
    doubt = [target.doubt] if told and target.doubt else []
    for note in (*launch.notes, *doubt, *notes(launch, target)):
        console.print(words((f"note: {note}", "yellow")))
    for entries in told.values():
        _list(console, entries)
        _diff(console, launch, entries, target)
    if many:
        _table(console, many)


def _list(console: Console, entries: Sequence[Entry]) -> None:
    from rich.padding import Padding

    from launcher.output.console import words

    console.print()
    for entry in sorted(entries, key=lambda entry: -entry.verdict.rank):
        colour = COLOURS.get(entry.verdict, "red")
        when = f", {entry.when}" if entry.when else ""
        line = (
            (f"{entry.verdict + when:<22}", colour),
            (f"{entry.name} {entry.value}".rstrip(), "bold"),
        )
        if not entry.concerns:
            console.print(words(*line, (f"  {entry.why}", "dim")))
            continue
        console.print(words(*line))
        for concern in entry.concerns:
            why = words(concern.why, (f" ({concern.known}: {concern.source})", "dim"))
            console.print(Padding.indent(why, 22))
        if entry.instead:
            console.print(Padding.indent(words(("instead ", "bold"), entry.instead), 22))
    counts = {
        verdict: sum(entry.verdict is verdict for entry in entries) for verdict in reversed(Verdict)
    }
    console.print(
        "\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    )


def _diff(console: Console, launch: Launch, entries: Sequence[Entry], target: Target) -> None:
    from launcher.output.console import words

    plan = better(launch, entries, target)
    if plan is None:
        console.print("\nno command instead: without --model-path there is nothing to start")
        return
    changes = difference(launch, plan)
    console.print(
        "\nthe command it would write instead" if changes else "\nnothing to change",
        style="bold" * bool(changes),
    )
    for line in changes:
        console.print(words((line, {"-": "red", "+": "green"}.get(line[:1], ""))))


def _table(console: Console, many: Mapping[str, Sequence[Entry]]) -> None:
    """A row for each flag and variable that is not fine everywhere, a column for each release."""
    from rich.table import Table

    from launcher.output.console import words

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for release in many:
        table.add_column(release.removeprefix("0.5"), justify="right")
    rows = list(zip(*many.values(), strict=True))
    odd = [row for row in rows if any(entry.concerns for entry in row)]
    for row in odd:
        marks = [words((MARKS.get(e.verdict, "x"), COLOURS.get(e.verdict, "red"))) for e in row]
        table.add_row(words(f"{row[0].name} {row[0].value}".rstrip()[:60]), *marks)
    console.print()
    console.print(table)
    console.print(f"{LEGEND}\n", style="dim")
    for row in odd:
        _spans(console, list(many), row)
    fine = [row[0].name for row in rows if row not in odd]
    if fine:
        console.print(words((f"fine everywhere: {', '.join(fine)}", "dim")))
    console.print(
        "--release RELEASE shows one, with the command it would write instead", style="dim"
    )


def _spans(console: Console, releases: Sequence[str], row: Sequence[Entry]) -> None:
    """What becomes of one flag, releases in which it is the same told once."""
    from rich.table import Table

    from launcher.output.console import words

    console.print(words((f"{row[0].name} {row[0].value}".rstrip(), "bold")))
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(min_width=17)
    lines.add_column(min_width=21, no_wrap=True)
    lines.add_column(overflow="fold")
    first = 0
    for at in range(1, len(row) + 1):
        if at < len(row) and (row[at].verdict, row[at].why) == (row[first].verdict, row[first].why):
            continue
        entry = row[first]
        span = releases[first] if first == at - 1 else f"{releases[first]}-{releases[at - 1]}"
        verdict = f"{entry.verdict}, {entry.when}" if entry.when else entry.verdict
        told = words((verdict, COLOURS.get(entry.verdict, "red")))
        lines.add_row(f"  {span}", told, words(entry.why if entry.concerns else ""))
        first = at
    console.print(lines)
