"""How `bench` looks: what it does while it measures, then a table, a plot, the verdict, and how it
is beside others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from launcher import folding
from launcher.bench.beside import whose
from launcher.bench.compare import ALPHA, Compared
from launcher.bench.load import SCENARIOS
from launcher.bench.record import SCHEMA, Level, Line, Round, Run, Times, Verdict
from launcher.engines.engine import dialect
from launcher.operate.bench import Beat
from launcher.output.terminal import is_drawn_on

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

WIDEST_PLOT = 90  # columns


class Screen:
    """Takes the lines as they come; progress goes to stderr, results to stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.run: Run | None = None
        self.levels: list[Level] = []
        self.verdict: Verdict | None = None
        self._status: Status | None = None

    def show(self, line: Line | Beat) -> None:
        """Take one in."""
        match line:
            case Beat():
                self._beat(line)
                return
            case Run():
                self.run = line
            case Level():
                self.levels.append(line)
            case Verdict():
                self.verdict = line
            case Round():
                self._round(line)
        if self.as_json:
            print(json.dumps(asdict(line)), flush=True)

    def _beat(self, at: Beat) -> None:
        if not is_drawn_on(sys.stderr):
            return
        from launcher.output.console import console, words

        text = (
            f"{at.who}  {at.concurrency} at once, round {at.round} of {at.rounds},"
            f" {at.seconds:.0f} s"
        )
        if self._status is None:
            self._status = console(sys.stderr).status("")
            self._status.start()
        self._status.update(words(text))

    def _round(self, one: Round) -> None:
        if is_drawn_on(sys.stderr) or self.as_json:
            return
        said = f"; not to be trusted: {one.wrong[0]}" if one.wrong else ""
        text = (
            f"{one.concurrency} at once, round {one.round}: {one.output_tok_s:,.1f} tok/s"
            f" in {one.seconds:.1f} s{said}"
        )
        folding.tell(text, sys.stderr)

    def close(self) -> None:
        """Nothing is measured any more."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def report(self) -> None:
        """Print all of it for a person."""
        if self.as_json or self.run is None or self.verdict is None:
            return
        from launcher.output.bench_plot import terminal
        from launcher.output.console import console, words

        screen = console(sys.stdout)
        screen.print(words((self.run.profile, "bold"), f"  {_heading(self.run)}"))
        for note in self.run.notes:
            screen.print(words((f"note: {note}", "yellow")))
        if self.levels:
            _levels(screen, self.levels)
            screen.print(words((_legend(self.run), "dim")))
            for note in _unknown(self.levels):
                screen.print(words((f"note: {note}", "yellow")))
        if plot := terminal(self.levels, min(screen.width, WIDEST_PLOT)):
            screen.print(plot)
        _verdict(screen, self.verdict)


def _heading(run: Run) -> str:
    engine = f"{dialect(run.engine).name} {run.release or ''}".rstrip()
    load = f"scenario {run.scenario}" if run.scenario in SCENARIOS else "its smoke test's questions"
    return f"{engine}, {whose(run)}; {load}, up to {run.tokens} tokens an answer"


def _legend(run: Run) -> str:
    return (
        "medians over the rounds, and how far these are apart; p50/p95/p99 of requests; good: first"
        f" token within {run.objective.ttft_ms:g} ms, each token within {run.objective.tpot_ms:g}"
    )


def _unknown(levels: Sequence[Level]) -> Iterator[str]:
    """What nobody knows of answers that came in one piece."""
    if whole := sum(one.one_piece for one in levels):
        yield (
            f"{whole} of {sum(one.requests for one in levels)} answers came in one piece, as"
            " through a proxy that buffers: the time of each token is not known, so they are not"
            " counted as good; tokens a second are right"
        )


def _levels(screen: Console, levels: Sequence[Level]) -> None:
    from launcher.output.console import columns

    head = ["at once", "tok/s", "spread", "first token ms", "each token ms", "good"]
    cells = [
        [
            str(one.concurrency),
            f"{one.output_tok_s:,.1f}",
            f"{one.fastest / one.slowest - 1:.0%}" if one.slowest > 0 else "-",
            _times(one.ttft_ms),
            _times(one.tpot_ms),
            f"{one.good / max(one.requests, 1):.0%}",
        ]
        for one in levels
    ]
    for name, told in (
        ("accept", [_if(one.accept_length, "{:.2f}") for one in levels]),
        ("hits", [_if(one.cache_hits, "{:.0%}") for one in levels]),
        ("J/tok", [_if(one.joules_per_token, "{:.2f}") for one in levels]),
    ):
        if any(told):
            head.append(name)
            cells = [[*row, text or "-"] for row, text in zip(cells, told, strict=True)]
    columns(screen, head, cells)


def _if(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _times(told: Times) -> str:
    return "/".join(map(_ms, (told.p50, told.p95, told.p99)))


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _verdict(screen: Console, told: Verdict) -> None:
    from launcher.output.console import row, words

    if told.trusted:
        screen.print(row("trusted", told.held, style="bold green"))
    else:
        screen.print(words(("not to be trusted", "bold red")))
        for reason in told.reasons:
            screen.print(row("", reason))
    if told.ended != "complete":
        screen.print(row("ended", f"{told.ended}; what was measured before stays"))
    for one in told.beside:
        text = (
            f"{one.share:.0%} of {one.theirs:,g} tok/s, {one.concurrency} at once: {one.what};"
            f" differs: {'; '.join(one.differs) or 'nothing that is told'} ({one.point}:"
            f" {one.source})" + (f"; note: {one.note}" if one.note else "")
        )
        screen.print(row("beside", text))
    if told.remark:
        screen.print(row("beside", f"nothing to compare with: {told.remark}"))
    for cause in told.causes:
        screen.print(row("seen", cause))


def compared(
    told: Sequence[Compared],
    a: str,
    b: str,
    differs: Sequence[str] = (),
    notes: Sequence[str] = (),
    *,
    as_json: bool,
    paired: bool,
) -> None:
    """B beside A; `differs`: what is not alike but for their figures; `notes`: what a reader must
    know of either.
    """
    if as_json:
        for one in told:
            line = {"schema": SCHEMA, "line": "compared", **asdict(one)}
            print(json.dumps({**line, "differs": [*differs], "notes": [*notes]}))
        return
    from launcher.output.console import columns, console, row, words

    screen = console(sys.stdout)
    screen.print(row("A", a, 3))
    screen.print(row("B", b, 3))
    for what in differs:
        screen.print(words(("differs", "yellow"), f"   {what}"))
    for note in notes:
        screen.print(words((f"note of {note}", "yellow")))
    heads = ["at once", "A tok/s", "B tok/s", "B by A", "p", ""]
    columns(screen, heads, [*map(_row, told)], gap=2)
    screen.print(words((_how(told, paired=paired), "dim")))


def _row(one: Compared) -> tuple[str, ...]:
    verdict = {"better": "B is better", "worse": "B is worse"}.get(one.verdict, one.verdict)
    return (
        str(one.concurrency),
        f"{one.a:,.1f} ({one.spread_a:.0%})",
        f"{one.b:,.1f} ({one.spread_b:.0%})",
        f"{one.ratio:.3f} ({one.low:.2f}-{one.high:.2f})",
        f"{one.p:.3f}",
        f"{verdict}; {one.remark}" if one.remark else verdict,
    )


def _how(told: Sequence[Compared], *, paired: bool) -> str:
    rounds = " and ".join(map(str, told[0].rounds))
    how = "rounds in turn" if paired else "measured one after the other: a drift counts as a change"
    return (
        f"medians of {rounds} rounds, how far they are apart; ratio with its 95 % interval; exact"
        f" permutation test, {how}; two equal ones are told apart in at most {ALPHA:.0%} of lines"
    )
