"""The screen of `glm5-serve lint`: verdicts, a table over releases, and the diff."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.knowledge import gpus
from launcher.lint.concerns import Verdict, by_remedy
from launcher.lint.fix import Fixed
from launcher.lint.lint import NOT_JUDGED, OUTSIDE, Entry
from launcher.lint.run import Judged, Judgement
from launcher.printable import cut

if TYPE_CHECKING:
    from rich.console import Console

# What was said, and of which launch: of the next ones it is not said again.
Told = dict[tuple[object, ...], str]
Row = dict[str, Entry]  # what is said of one flag or variable, by release

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
BESIDE = 22  # columns of a verdict
LEGEND = "· fine   - inert or needless   d deprecated   ! risky   x breaks, or is refused"


def show(judgement: Judgement) -> None:
    """Each launch with what is said of it."""
    from launcher.output import console as terminal
    from launcher.output.console import words

    console = terminal.console(sys.stdout)
    for note in judgement.unread:
        console.print(words((f"not read: {cut(judgement.hidden(note))}", "yellow")))
    told: Told = {}
    for number, judged in enumerate(judgement.launches):
        if number:
            console.print()
        _show(console, judged, told, is_alone=len(judgement.launches) == 1)
    if len(judgement.launches) > 1:
        wrong = sum(not judged.is_sound for judged in judgement.launches)
        console.print(
            f"\n{len(judgement.launches)} launches, {wrong} will not run, or not correctly"
        )


def _show(console: Console, judged: Judged, told: Told, *, is_alone: bool) -> None:
    from launcher.output.console import words

    place = cut(judged.launch.name) or f"line {judged.launch.line}"
    names = list(judged.releases)
    releases = names[0] if judged.is_of_one else f"{names[0]} to {names[-1]}"
    for_whom = f"{dialect(judged.launch.engine).name} {releases} on {_gpu(judged.target)}"
    line = f"line {judged.launch.line}"
    where = f"{place}, {line}" if judged.launch.name else "" if is_alone else line
    head = f"{judged.launch.form}{f' ({where})' if where else ''}, judged for {for_whom}"
    console.print(words((head, "bold")))
    others = dict.fromkeys(told[one,] for one in judged.notes if told.get((one,), place) != place)
    for note in judged.notes:
        if told.setdefault((note,), place) == place:
            console.print(words((f"note: {cut(judged.hidden(note))}", "yellow")))
    if others:
        console.print(words((f"note: also what is noted of {' and '.join(others)}", "yellow")))
    if judged.is_of_one:
        _list(console, judged, judged.releases[names[0]], told, place)
    else:
        _table(console, judged)


def _gpu(target: Target) -> str:
    """The GPUs that it was judged for."""
    if told := gpus.products().get(target.gpu or ""):
        return f"{told.name}, {target.arch}"
    return f"{target.arch}, whichever GPU that is" if target.arch else "any GPU"


def _named(judged: Judged, entry: Entry) -> str:
    return cut(judged.hidden(f"{entry.name} {entry.value}".rstrip()))


def _list(
    console: Console, judged: Judged, entries: Sequence[Entry], told: Told, place: str
) -> None:
    from launcher.output.console import indented, words

    console.print()
    for entry in sorted(entries, key=lambda entry: -entry.verdict.rank):
        if not entry.concerns and entry.why != OUTSIDE:
            continue
        colour = COLOURS.get(entry.verdict, "red")
        when = f", {entry.when}" if entry.when else ""
        line = ((f"{entry.verdict + when:<{BESIDE}}", colour), (_named(judged, entry), "bold"))
        if not entry.concerns:
            console.print(words(*line, (f"  {entry.why}", "dim")))
            continue
        said = (entry.name, entry.value, *((one.why, one.instead) for one in entry.concerns))
        if (whose := told.setdefault(said, place)) != place:
            console.print(words(*line, (f"  as of {whose}", "dim")))
            continue
        console.print(words(*line))
        for instead, concerns in by_remedy(entry.concerns):
            known = [one for one in concerns if one.advisory and one.verdict is Verdict.RISKY]
            known = known if len(known) > 1 else []
            for concern in (one for one in concerns if one not in known):
                milder = f"{concern.verdict}: " if concern.verdict is not entry.verdict else ""
                source = (f" ({concern.known}: {concern.source})", "dim")
                why = words((milder, "yellow"), cut(judged.sentence(concern.why)), source)
                console.print(indented(console, why, BESIDE))
            if known:
                ids = ", ".join(one.advisory for one in known)
                more = (" (--json: what each is)", "dim")
                count = f"{_of_all(len(known), entry)} known of this release: {ids}"
                console.print(indented(console, words(count, more), BESIDE))
            if instead:
                fix = words(("instead ", "bold"), cut(judged.sentence(instead)))
                console.print(indented(console, fix, BESIDE))
    left = [entry for entry in entries if not entry.concerns and entry.why != OUTSIDE]
    for entry in left:
        if entry.unjudged:
            head = (f"{NOT_JUDGED:<{BESIDE}}", "cyan")
            console.print(words(head, (_named(judged, entry), "bold")))
            what = cut(judged.sentence(entry.unjudged.removeprefix(f"{NOT_JUDGED}: ")))
            console.print(indented(console, words((what, "dim")), BESIDE))
    fine = [entry for entry in left if not entry.unjudged]
    if fine:
        listed = ", ".join(_named(judged, entry) for entry in fine)
        console.print(words(("fine", "green")))
        console.print(indented(console, words((listed, "dim")), BESIDE))
    counts = Counter(NOT_JUDGED if entry.unjudged else entry.verdict for entry in entries)
    summed = [f"{counts[one]} {one}" for one in (*reversed(Verdict), NOT_JUDGED) if counts[one]]
    console.print("\n" + ", ".join(summed))


def _of_all(count: int, entry: Entry) -> str:
    """How many of the advisories that an entry has are told together."""
    every = sum(bool(one.advisory) for one in entry.concerns)
    return f"{count} advisories are" if count == every else f"{count} of {every} advisories"


def unchanged(judgement: Judgement) -> str:
    """Why a text stays as it is, though something may have been said of it: `--fix` changes only
    what will not run, or not correctly.
    """
    told = {
        entry.verdict
        for judged in judgement.launches
        for entries in judged.releases.values()
        for entry in entries
        if entry.concerns
    }
    advice = [verdict for verdict in reversed(Verdict) if verdict in told - {Verdict.FINE}]
    if not advice:
        return "nothing to change"
    return f"--fix changes nothing: what is {_or(advice)} starts, and is yours to decide"


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def changes(judgement: Judgement, fix: Fixed, text: str) -> None:
    """The text's lines before and after, in a diff."""
    from launcher.output import console as terminal
    from launcher.output.console import words

    console = terminal.console(sys.stdout)
    console.print()
    for obstacle in fix.obstacles:
        console.print(words(f"no rewrite: {cut(judgement.hidden(obstacle))}"))
    if not fix.obstacles and not fix.changes:
        console.print(unchanged(judgement))
    if not fix.changes:
        return
    console.print("what --fix would change (--write: in the file)", style="bold")
    before, after = (judgement.hidden(one).splitlines() for one in (text, fix.text))
    for line in [*difflib.unified_diff(before, after, lineterm="", n=1)][2:]:
        style = {"-": "red", "+": "green", "@": "dim"}.get(line[:1], "")
        console.print(words((cut(line), style)))


def _table(console: Console, judged: Judged) -> None:
    """A row for each flag and variable that is not fine everywhere, a column for each release."""
    from launcher.output.console import columns, words

    many = judged.releases
    heads = ["", *(release.removeprefix("0.5") for release in many)]
    rows = _rows(many)
    odd = [row for row in rows if any(entry.concerns for entry in row.values())]
    told = []
    for row in odd:
        marks = [words(_mark(row.get(release))) for release in many]
        told.append([words(_named(judged, _first(row))), *marks])
    console.print()
    columns(console, heads, told)
    console.print(f"{LEGEND}\n", style="dim")
    for row in odd:
        _spans(console, judged, row)
    calm = [row for row in rows if row not in odd]
    left = [row for row in calm if any(entry.unjudged for entry in row.values())]
    for what, of in (
        ("fine everywhere", [row for row in calm if row not in left]),
        (NOT_JUDGED, left),
    ):
        named = [cut(judged.hidden(_first(row).name)) for row in of]
        if named:
            console.print(words((f"{what}: {', '.join(named)}", "dim")))
    console.print("--release RELEASE shows one, with what to change", style="dim")


def _rows(many: Mapping[str, Sequence[Entry]]) -> list[Row]:
    """What is said of each flag and variable, by release. A word that is the value of an option in
    one release stands alone where there is no such option.
    """
    rows: dict[tuple[str, int], Row] = {}
    for release, entries in many.items():
        met = Counter[str]()
        for entry in entries:
            rows.setdefault((entry.name, met[entry.name]), {})[release] = entry
            met[entry.name] += 1
    return [*rows.values()]


def _first(row: Row) -> Entry:
    return next(iter(row.values()))


def _mark(entry: Entry | None) -> tuple[str, str]:
    if entry is None:
        return "", ""
    return MARKS.get(entry.verdict, "x"), COLOURS.get(entry.verdict, "red")


def _spans(console: Console, judged: Judged, row: Row) -> None:
    """What becomes of one flag, releases in which it is the same told once."""
    from launcher.output.console import beside, words

    places = {release: at for at, release in enumerate(judged.releases)}
    releases, entries = [*row], [*row.values()]
    console.print(words((_named(judged, entries[0]), "bold")))
    first = 0
    for at in range(1, len(entries) + 1):
        entry = entries[first]
        if (
            at < len(entries)
            and (entries[at].verdict, entries[at].why) == (entry.verdict, entry.why)
            and places[releases[at]] == places[releases[at - 1]] + 1
        ):
            continue
        span = releases[first] if first == at - 1 else f"{releases[first]}-{releases[at - 1]}"
        verdict = f"{entry.verdict}, {entry.when}" if entry.when else entry.verdict
        head = f"{span:<15}  {verdict}"
        said = dict.fromkeys(cut(judged.sentence(concern.why)) for concern in entry.concerns)
        for why in said or [""]:
            beside(console, (head, COLOURS.get(entry.verdict, "red")), 38, why)
            head = ""
        first = at
