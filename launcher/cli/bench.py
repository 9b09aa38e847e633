"""How fast it is."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher import folding
from launcher.bench.load import SCENARIOS
from launcher.cli.options import Seconds, json_option, profile_option
from launcher.errors import Exit

if TYPE_CHECKING:
    from launcher.bench.record import Line, Objective
    from launcher.operate.bench import Beat
    from launcher.operate.bench_subject import Subject, Wish
    from launcher.statedir.folder import StateDir


def _numbers(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, ...]:
    """`1,8,64`."""
    words = value.split(",") if value is not None else []
    if any(not word.strip().isdecimal() or not 0 < int(word) <= 1024 for word in words):
        raise click.BadParameter("wanted numbers from 1 to 1024 with commas: 1,8,64")
    return tuple(dict.fromkeys(map(int, words)))


@click.command()
@profile_option(required=False)
@click.option(
    "--scenario",
    type=click.Choice(tuple(SCENARIOS)),
    default="balanced",
    show_default=True,
    help="The kind of load; a model on the CPU gets its smoke test's questions.",
)
@click.option(
    "--concurrency",
    metavar="LIST",
    callback=_numbers,
    help="How many requests at once: 1,8,64.",
)
@click.option(
    "--rounds", type=click.IntRange(3, 50), help="At each concurrency: 4; of a comparison 6."
)
@click.option(
    "--slo",
    metavar="TTFT,TPOT",
    default="2000,50",
    show_default=True,
    help="A good request: milliseconds to the first token, and for each after it.",
)
@click.option("--anyway", is_flag=True, help="Also while others ask it.")
@click.option(
    "--within",
    metavar="SECONDS",
    type=Seconds(10, 86400),
    default=900.0,
    show_default=True,
    help="For a round; what takes longer is ended.",
)
@click.option(
    "--save",
    metavar="PATH",
    help="Keep a record, without names of this host: a new file, or a folder/.",
)
@click.option(
    "--plot",
    metavar="FILE.png",
    help="Latency against throughput as a picture: a new file, or a folder/.",
)
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Is B faster? Two records of --save, or two profiles that are up.",
)
@json_option
def bench(
    profile: str | None,
    scenario: str,
    concurrency: tuple[int, ...],
    rounds: int | None,
    slo: str,
    save: str | None,
    plot: str | None,
    compare: tuple[str, str] | None,
    as_json: bool,
    **how: Any,
) -> int:
    """Measure how fast a running server is, by its engine's own load generator, and judge it.

    Every answer must be sound and every token counted by the server, or nothing is to be trusted
    (exit 1). What was measured stands beside what others got, with its source. With --compare, exit
    1 if B is worse.
    """
    from launcher.operate.bench import PAIRS, ROUNDS
    from launcher.operate.bench_subject import Wish

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup's stays
            signal.signal(number, signal.default_int_handler)

    wish = Wish(scenario, concurrency, rounds or (PAIRS if compare else ROUNDS), _slo(slo), **how)
    if not compare:
        return _measure(profile, wish, save, plot, as_json=as_json)
    if profile or save or plot:
        raise click.UsageError("--compare takes two names, and no profile, --save or --plot")
    return _compare(*compare, wish, as_json=as_json)


def _slo(text: str) -> Objective:
    from launcher.bench.record import Objective

    try:
        first, each = map(float, text.split(","))
    except ValueError:
        raise click.UsageError(f"--slo {text}: wanted two numbers, such as 2000,50") from None
    if not (0 < first < 1e9 and 0 < each < 1e9):
        raise click.UsageError(f"--slo {text}: wanted milliseconds above 0")
    return Objective(first, each)


def _instance(name: str | None) -> StateDir:
    from launcher.operate import control
    from launcher.statedir.home import state_home

    return control.select_up(state_home(os.environ), name)


def _subject(instance: StateDir, wish: Wish) -> Subject:
    from launcher.files.programs import ROOT
    from launcher.operate import identity
    from launcher.operate.bench_subject import subject

    os.chdir(ROOT)  # the generator is a Python, which imports from the current folder
    return subject(identity.enter(instance, writing=True), wish, os.environ)


def _measure(
    profile: str | None, wish: Wish, save: str | None, plot: str | None, *, as_json: bool
) -> int:
    from launcher.operate.bench import bench
    from launcher.operate.bench_files import Created, Saved, place
    from launcher.output.bench import Screen
    from launcher.output.bench_plot import has_points, picture, require_pictures

    if plot:
        require_pictures()
    instance = _instance(profile)
    screen, name = Screen(as_json=as_json), instance.name
    # Files first: root becomes the instance's owner, who may not write where root said.
    with contextlib.ExitStack() as undo:
        undo.callback(screen.close)
        shown: list[Callable[[Line | Beat], None]] = [screen.show]
        saved = undo.enter_context(Saved(place(save, name, "jsonl"), os.environ)) if save else None
        drawn = place(plot, name, "png", only=True) if plot else None
        image = undo.enter_context(Created(drawn)) if drawn else None
        shown += [saved.line] if saved else []
        verdict = bench(_subject(instance, wish), lambda line: _each(shown, line))
        screen.close()
        screen.report()
        if image and has_points(screen.levels):
            image.write(picture(screen.levels, name))
        files = [one for one in (saved, image) if one]
    for one in files:
        if one.is_whole:
            folding.tell(f"wrote {one.path}", sys.stderr)
    if image and screen.levels and not has_points(screen.levels):
        folding.tell("note: no picture: nobody knows the time of a token", sys.stderr)
    failed = [one.failed for one in files if one.failed]
    for what in failed:
        folding.tell(f"error  {what}", sys.stderr, hanging=7)
    if verdict.ended == "interrupted":
        return 130
    if failed:
        return Exit.CONFIG
    return Exit.FINE if verdict.trusted else Exit.NO


def _each(shown: Sequence[Callable[[Line | Beat], None]], line: Line | Beat) -> None:
    for show in shown:
        show(line)


def _compare(a: str, b: str, wish: Wish, *, as_json: bool) -> int:
    from launcher.operate import bench_compare
    from launcher.output.bench import Screen, compared

    differs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files = [Path(one) for one in (a, b)]
    are_files = [one.is_file() or one.suffix == ".jsonl" for one in files]
    paired = not any(are_files)
    if not paired and not all(are_files):
        raise click.UsageError(f"{a} and {b}: two records, or two profiles that are up")
    if paired:
        screen = Screen(as_json=as_json)
        try:
            both = (_subject(_instance(a), wish), _subject(_instance(b), wish))
            told = bench_compare.of_servers(*both, wish.rounds, screen.show)
        finally:
            screen.close()
        notes = bench_compare.of_whom(both[0].notes, both[1].notes)
    else:
        told = bench_compare.of_records(*files)
        differs, notes = bench_compare.differences(*files), bench_compare.notes(*files)
    compared(told, a, b, differs, notes, as_json=as_json, paired=paired)
    return Exit.NO if any(one.verdict == "worse" for one in told) else Exit.FINE


COMMANDS: tuple[click.Command, ...] = (bench,)
