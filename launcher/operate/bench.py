"""Measure a server that is up, by its engine's own load generator, and judge what comes out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from launcher.bench.beside import beside, whose
from launcher.bench.causes import Allowed, Lines, Signs, causes, lines, signs, watts
from launcher.bench.figures import level_of, round_of
from launcher.bench.judge import wrong
from launcher.bench.record import Level, Line, Round, Run, Verdict
from launcher.engines.engine import dialect
from launcher.engines.figures import Figures, since
from launcher.engines.generator import Wanted
from launcher.engines.http import ForeignError, countdown
from launcher.engines.server import SILENCE, unanswered
from launcher.errors import UserError
from launcher.host.facts import Engine
from launcher.knowledge import bench_points
from launcher.operate import web, written
from launcher.operate.bench_about import described
from launcher.operate.bench_run import Ran, run
from launcher.operate.bench_subject import (
    ASKED_WITHIN,
    Left,
    Subject,
    died,
    environment,
    figures,
    in_flight,
    in_words,
)
from launcher.operate.bench_watch import Watch
from launcher.plan.findings import Finding

ROUNDS = 4  # at each concurrency: two records of four can be told apart
PAIRS = 6  # of a comparison of two that are up
QUIET_WITHIN = 20.0  # seconds for what is under way to end between rounds
COUNTED_WITHIN = 3.0  # seconds for a server's counters to take in what it answered
LOG_LINES = 20_000  # of its log, that are looked at for what makes it slow


@dataclass(frozen=True)
class Beat:
    """Where it is: shown, and not kept."""

    concurrency: int
    round: int
    rounds: int
    seconds: float
    who: str


Tell = Callable[[Line | Beat], None]


def bench(it: Subject, tell: Tell) -> Verdict:
    """Measure a server, round by round; `tell` gets each line as it comes.

    What was measured counts, whatever ends it: Ctrl-C, a server that dies, a generator that does.
    """
    made = described(it)
    tell(made)
    before = _log(it)
    levels: list[Level] = []
    reasons: list[str] = []
    ended = "complete"
    try:
        for level, said in _levels(it, tell):
            levels += [level] if level else []
            reasons += said
    except KeyboardInterrupt:
        ended = "interrupted"
    except Unmeasurable as error:
        reasons.append(str(error))
    if reasons:
        ended = "it was stopped where its figures could not be trusted"
    told = beside(made, levels, bench_points.table().rows)
    is_trusted = bool(levels) and not reasons
    verdict = Verdict(
        trusted=is_trusted,
        reasons=tuple(dict.fromkeys(reasons)) or (() if levels else ("nothing was measured",)),
        held=_held(it, levels) if is_trusted else "",
        ended=ended,
        beside=told,
        remark="" if told else _remark(made, levels),
        causes=_causes(it, levels, before),
    )
    tell(verdict)
    return verdict


def _held(it: Subject, levels: Sequence[Level]) -> str:
    """What its figures were held against."""
    answers = f"each answer is {'right' if it.questions else 'sound'}"
    if all(one.counted for one in levels):
        return f"{answers}, tokens are as the server's own counters say"
    how = "and nobody counted with it" if it.always_thinks else "held against its texts' lengths"
    return f"{answers}; it has no counters: tokens are those of its usage, {how}"


class Unmeasurable(Exception):  # noqa: N818 - it says what it is
    """Nothing can be measured any more; the message says why."""


def _levels(it: Subject, tell: Tell) -> Iterator[tuple[Level | None, tuple[str, ...]]]:
    """Each concurrency, with what was found wrong; the first that is ends it."""
    for concurrency in it.scenario.concurrency:
        rounds: list[Round] = []
        try:
            for number in range(1, it.wish.rounds + 1):
                rounds.append(measured(it, concurrency, number, it.wish.rounds, tell))
                tell(rounds[-1])
                if rounds[-1].wrong:
                    break
        except (KeyboardInterrupt, Unmeasurable):
            if rounds:
                yield _told(rounds, tell), ()
            raise
        said = tuple(f"concurrency {concurrency}: {why}" for why in rounds[-1].wrong)
        yield _told(rounds, tell), said
        if said:
            return


def _told(rounds: Sequence[Round], tell: Tell) -> Level:
    level = level_of(rounds)
    tell(level)
    return level


def measured(it: Subject, concurrency: int, number: int, rounds: int, tell: Tell) -> Round:
    """One round. Raises Unmeasurable where there is no result."""
    mark = f"{time.time_ns() // 1_000_000:x}"
    wanted = it.wanted(concurrency, mark)
    left = countdown(it.wish.within - it.spent)
    it.spent = 0.0
    _in_time(it, left)
    _wait_until_quiet(it, left)
    before = figures(it, left)
    beat = lambda took: tell(Beat(concurrency, number, rounds, took, it.instance.name))
    with Watch(is_wanted=bool(it.plan.gpus)) as watch:
        ran = _run(it, wanted, left, beat)
    it.seen += watch.samples
    if ran.sample is None:
        raise Unmeasurable(died(it) or ran.why)
    made = sum(one.output_tokens for one in ran.sample.answers)
    grown = _counted(it, before, made)
    drawn = watts(signs(watch.samples, it.gpus)) if len(watch.samples) > 1 else None
    made_of_it = round_of(ran.sample, grown, it.wish.objective, concurrency, number, drawn)
    said = wrong(ran.sample, it.asked(wanted, ran.took), grown, it.server.words)
    if grown.answered is None and before.answered is not None:
        said = (*said, "its counters, which it had before, cannot be read: nobody counted with it")
    if said and (why := died(it)):
        said = (why, *said)
    return replace(made_of_it, wrong=said)


def _run(it: Subject, wanted: Wanted, left: Left, beat: Callable[[float], None]) -> Ran:
    within = _in_time(it, left)
    try:
        return run(it.generator, wanted, environment(it), it.server, within, beat)
    except OSError as error:
        return Ran(None, f"{it.generator.name} could not be started: {error.strerror or error}")


def _in_time(it: Subject, left: Left) -> float:
    """The seconds that are left of a round. Raises Unmeasurable where none are."""
    try:
        return left()
    except TimeoutError:
        slow = f"it took {it.wish.within:g} s (--within) to say what it does"
        raise Unmeasurable(f"{slow}: no time was left to measure it") from None


def _wait_until_quiet(it: Subject, left: Left) -> None:
    """Wait for what is under way to end. Raises Unmeasurable where it does not, and where somebody
    else holds the port: the generator would give him the key.
    """
    try:
        web.talk(it.server, "GET", "/v1/models", None, min(ASKED_WITHIN, left()))
    except ForeignError as error:
        raise Unmeasurable(str(error)) from None
    except SILENCE as error:
        raise Unmeasurable(died(it) or f"the server does not answer: {unanswered(error)}") from None
    until = time.monotonic() + QUIET_WITHIN
    while (running := in_flight(it, left)) and not it.wish.anyway:
        if time.monotonic() > until:
            raise Unmeasurable(f"{in_words(running)} of others in flight")
        time.sleep(0.2)


def _counted(it: Subject, before: Figures, made: int) -> Figures:
    """What it counted since: SGLang does when a request ends, and a moment later."""
    left = countdown(COUNTED_WITHIN)
    grown = since(before, figures(it, left))
    with contextlib.suppress(TimeoutError):
        while grown.answered is not None and grown.answered < made and left():
            time.sleep(0.1)
            later = since(before, figures(it, left))
            grown = later if later.answered is not None else grown
    return grown


def _remark(made: Run, levels: Sequence[Level]) -> str:
    at = ", ".join(str(one.concurrency) for one in levels)
    where = f"concurrency {at}" if at else "any concurrency"
    return f"nobody's figure is known for {whose(made)} at {where}"


def signs_of(it: Subject) -> tuple[Signs, ...]:
    """What its GPUs did in all rounds."""
    return signs(it.seen, it.gpus)


def _log(it: Subject) -> list[str]:
    """The end of its log; nothing where it cannot be read."""
    with contextlib.suppress(UserError):
        return list(written.log_lines(it.instance, LOG_LINES, follow=False))
    return []


def _causes(it: Subject, levels: Sequence[Level], before: Sequence[str]) -> tuple[str, ...]:
    """What makes it slow, by what was seen, what doctor finds, and what its log tells; `before`:
    what that said before it was measured.
    """
    memory = dialect(it.plan.engine).memory
    depth = memory.asked(it.plan).depth or None
    allowed = Allowed(memory.at_once(it.plan), depth, memory.knobs.requests)
    findings = _findings(it) if it.plan.gpus else []
    log = lines(before, _log(it)) if it.plan.gpus else Lines()
    return causes(signs_of(it), levels, findings, log, it.generator.slow, allowed)


def _findings(it: Subject) -> list[Finding]:
    from launcher.doctor.checks import judge
    from launcher.doctor.run import TAKEN_BY_OURS
    from launcher.host.observe import observe

    host = observe(it.plan, it.environ, it.driver, Engine())
    return judge(host, it.plan, skip=TAKEN_BY_OURS)
