"""A start phase by phase, beside those before it: while it goes on, and as history."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.engines.log import PHASES
from launcher.errors import UserError, in_words
from launcher.output.bars import Line, Part, Signs, bar, binary, duration, flow, signs_for
from launcher.statedir.starts import READY, STOPPED, PastStart, Usual, Waited, usual
from launcher.statedir.state import StartRecord
from launcher.statedir.times import local

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LETTERS = {
    "process": ("p", "cyan"),
    "distributed": ("d", "magenta"),
    "weights": ("w", "blue"),
    "kv": ("k", "yellow"),
    "compile": ("c", "red"),
    "graphs": ("g", "green"),
    "warmup": ("u", "bright_blue"),
    "smoke": ("s", "bright_green"),
}
STRANGE = ("?", "")  # the letter of a phase that has none
WIDTH = 100  # columns where nobody says how many there are
MOST = 140
HEAD = 47  # columns of when a start began, its run, its result and its seconds
LEAST = 10  # columns of a picture
NAMES = max(map(len, PHASES.values()))
LEAST_READ = 100 << 20  # bytes that are worth a word
LEAST_SECONDS = 1.0


def waited_for(phase: str, waited: Waited, took: float, gpus: int) -> str:
    """What the processes of a phase were seen doing, in words; "" for nothing that takes time. One
    of a single GPU has no other to wait for.
    """
    is_long = took >= LEAST_SECONDS
    has_to_meet = phase == "distributed" and gpus > 1
    told = ["waits for the other ranks"] if has_to_meet and is_long else []
    if waited.read >= LEAST_READ:
        rate = f" ({binary(waited.read / took)}/s)" if is_long else ""
        told.append(f"disk: {binary(waited.read)} read{rate}")
    for seconds, what in (
        (waited.compiling, "compiler"),
        (waited.asleep, "asleep in a disk or driver"),
        (waited.starved, "in line for a processor"),
    ):
        if seconds >= LEAST_SECONDS:
            told.append(f"{what}: {seconds:.0f} s")
    return ", ".join(told)


def meanwhile(start: StartRecord) -> str:
    """What the processes of a whole start waited for, in words; "" for nothing that took time."""
    whole = sum(start.waits.values(), Waited())
    return waited_for("", whole, sum(start.seconds.values()), start.gpus)


def base(usual: Usual) -> str:
    """What an estimate is based on."""
    return "the last start" if usual.of == 1 else f"the median of the last {usual.of} starts"


def _before(usual: Usual) -> str:
    """Those that came before the start that is shown."""
    return "the start before" if usual.of == 1 else f"the median of {usual.of} starts before"


def left(usual: Usual | None, phase: str, spent: float) -> str:
    """How long it will take yet, in words that say that this is an estimate, and of what."""
    if usual is None:
        return "no earlier start here tells how long it takes"
    seconds = usual.left(phase, spent)
    if seconds is None:
        return f"no earlier start here had the phase {PHASES.get(phase, phase)}"
    late = spent > usual.seconds[phase]
    took = f"; {PHASES.get(phase, phase)} takes longer than then" if late else ""
    if seconds < 0.5:
        return f"due by {base(usual)}{took}"
    about = duration(seconds) if seconds >= 120 else f"{seconds:.0f} s"
    return f"about {about} left by {base(usual)}{took}"


def to_come(start: StartRecord, elapsed: float) -> str:
    """How long a start that has gone on so long will."""
    return left(start.usual, start.phase or "process", start.spent(elapsed))


def phases(start: StartRecord, elapsed: float, signs: Signs) -> list[Line]:
    """The phases of a start that goes on: those that are over, the present one, those to come."""
    expected = dict(start.usual.seconds) if start.usual else {}
    took = {**start.seconds, start.phase or "process": start.spent(elapsed)}
    lines = []
    for phase in [*took, *(name for name in expected if name not in took)]:
        known = f"usually {expected[phase]:6.1f} s" if phase in expected else ""
        done = f"{took[phase]:7.1f} s" if phase in took else f"{'-':>7}  "
        style = "bold" if phase == start.phase else "" if phase in took else "dim"
        doing: list[Part] = [(f"  {known:16}", "dim")]
        if phase == start.phase:
            doing.append((f"  {_how_far(start, expected.get(phase), took[phase], signs)}", ""))
        if phase in start.waits:
            waited = waited_for(phase, start.waits[phase], took[phase], start.gpus)
            doing.append((f"  {waited}", "dim"))
        name = PHASES.get(phase, phase)
        lines.append(((f"  {name:{NAMES}} {done}", style), *doing))
    return lines


def _how_far(start: StartRecord, expected: float | None, spent: float, signs: Signs) -> str:
    """The present phase as a bar: by what the engine counts, else by what it usually takes."""
    if (at := start.progress) and at.total > 0:
        return f"{bar(at.done / at.total, 12, signs)} {at.done}/{at.total}"
    return bar(spent / expected, 12, signs) if expected else ""


def lines(starts: Sequence[PastStart], width: int, signs: Signs) -> list[Line]:
    """A line each, as long as it took, and the last that became ready phase by phase."""
    longest = max((start.total for start in starts), default=0.0) or 1.0
    if (room := width - HEAD - 5) >= LEAST:
        title: Line = ((f"{'started':19}  {'run':>4}  {'result':9} {'seconds':>8}", "dim"),)
        made = [title, *(_line(start, longest, room) for start in starts)]
    else:
        made = [line for start in starts for line in _block(start, longest, width)]
    met = {name for start in starts for name in start.seconds}
    seen = [name for name in PHASES if name in met]
    strange = sorted(met - {*PHASES})  # of another release, or nobody's
    legend = flow(
        [
            *((LETTERS[name], (f" {PHASES[name]}", "dim")) for name in seen),
            *(((STRANGE, (f" {name}: not known", "dim"))) for name in strange),
        ],
        width,
        "",
    )
    return [*made, (), *legend, *_last(starts, width, signs)]


def _line(start: PastStart, longest: float, room: int) -> Line:
    result, why = _result(start)
    head = (f"{local(start.time):19}  {start.run:4}  ", ""), (f"{result[0]:9}", result[1])
    return (*head, (f" {_seconds(start.total)}  ", ""), *_drawn(start.seconds, longest, room), why)


def _block(start: PastStart, longest: float, width: int) -> list[Line]:
    """The same where a line has no room for it."""
    result, why = _result(start)
    told: list[Line] = [
        ((local(start.time), ""),),
        ((f"run {start.run}", ""),),
        (result,),
        ((f"{start.total:.1f} s", ""),),
    ]
    picture: Line = (("  ", ""), *_drawn(start.seconds, longest, max(LEAST, width - 4)), why)
    return [*flow(told, width, ""), picture]


def _seconds(took: float) -> str:
    """In a column: from a million on (11 days) without tenths."""
    return f"{took:8.1f}" if took < 999_999.95 else f"{took:8.0f}"


def _result(start: PastStart) -> tuple[Part, Part]:
    """What became of it, and why."""
    is_ready = start.outcome == READY
    style = {READY: "green", STOPPED: ""}.get(start.outcome, "red")
    return (start.outcome, style), ("" if is_ready else f" {start.reason}", "dim")


def _drawn(seconds: Mapping[str, float], longest: float, room: int) -> list[Part]:
    """Each phase by its letter, as often as it is long."""
    counts = _parts([*seconds.values()], longest, room)
    return [
        (letter * count, colour)
        for phase, count in zip(seconds, counts, strict=True)
        for letter, colour in (LETTERS.get(phase, STRANGE),)
    ]


def _parts(seconds: Sequence[float], longest: float, room: int) -> list[int]:
    """Columns for times, as many as for their sum, `room` for the longest sum: none has fewer than
    a shorter one.
    """
    exact = [took / longest * room for took in seconds]  # no quotient here is above 1
    counts = [int(one) for one in exact]
    by_rest = sorted(range(len(exact)), key=lambda at: exact[at] - counts[at], reverse=True)
    for at in by_rest[: round(sum(exact)) - sum(counts)]:
        counts[at] += 1
    return counts


def _last(starts: Sequence[PastStart], width: int, signs: Signs) -> list[Line]:
    """The last one that became ready, beside those like it before."""
    at = next((n for n in reversed(range(len(starts))) if starts[n].outcome == READY), None)
    if at is None:
        return []
    last = starts[at]
    before = usual(starts[:at], last.model, last.engine, last.release)
    beside = f", beside {_before(before)}" if before else ""
    title = f"the last that became ready, run {last.run} of {local(last.time)}{beside}"
    made: list[Line] = [(), ((title, "dim"),)]
    # beside it: name, seconds, what is usual, and what they did where that has room
    room = max(LEAST, min(40, width - 62)) if width > HEAD else 0
    counts = _parts([*last.seconds.values()], last.total or 1.0, room)
    for (phase, took), first, count in zip(
        last.seconds.items(), accumulate([0, *counts[:-1]]), counts, strict=True
    ):
        picture = (" " * first + signs.full * count).ljust(room)
        usually = (
            f"{_seconds(before.seconds[phase])} s"
            if before and phase in before.seconds
            else " " * 10
        )
        doing = waited_for(phase, last.waits.get(phase, Waited()), took, last.gpus)
        name, colour = PHASES.get(phase, phase), LETTERS.get(phase, ("", ""))[1]
        row: Line = ((f"  {name:{NAMES}} ", ""), (picture, colour), (f"{_seconds(took)} s", ""))
        made.append((*row, (usually, "dim"), (f"  {doing}" if doing else "", "dim")))
    return made


def show(starts: Sequence[PastStart], *, as_json: bool, svg: Path | None) -> None:
    """Past starts, oldest first, on standard output, and as a picture in a file. Raises UserError
    where that cannot be written.
    """
    if as_json:
        print(json.dumps({"schema": 1, "starts": [start.to_json() for start in starts]}, indent=1))
    else:
        from launcher.output.console import console, words

        screen = console(sys.stdout)
        width = min(MOST, screen.width) if sys.stdout.isatty() else WIDTH
        for line in lines(starts, width, signs_for(screen.encoding)):
            put(screen, words(*line))
    if svg:
        _draw(starts, svg)


def put(screen: Console, line: Text) -> None:
    """Print a line: folded at a terminal's edge, whole elsewhere, for grep."""
    from launcher.output.console import hung

    for part in hung(screen, line):
        screen.print(part)


def _draw(starts: Sequence[PastStart], svg: Path) -> None:
    from launcher.output.console import paper, words

    drawn = paper(WIDTH + 20)
    for line in lines(starts, WIDTH + 20, signs_for("utf-8")):
        put(drawn, words(*line))
    try:
        svg.write_text(drawn.export_svg(title="glm5-serve events --starts"))
    except OSError as error:
        fix = "name another file: --svg FILE"
        raise UserError(f"cannot write {svg}: {in_words(error)}", fix=fix) from None
