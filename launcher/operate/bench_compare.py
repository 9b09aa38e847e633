"""Two measurements beside each other: of records, or of two servers that are up, round against
round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from launcher import printable
from launcher.bench.compare import Compared, compared
from launcher.bench.figures import level_of
from launcher.bench.record import Round
from launcher.errors import Exit, UserError
from launcher.operate.bench import Tell, Unmeasurable, measured
from launcher.operate.bench_files import Record, record
from launcher.operate.bench_subject import Subject

# What a reader takes for alike in two measurements, where nothing else is said.
ALIKE = (
    "engine",
    "release",
    "model",
    "version",
    "precision",
    "gpu",
    "gpus",
    "driver",
    "tokens",
    "objective",
)
UNSET = "not set"
SLOWEST, FASTEST = 1e-6, 1e9  # tokens a second of any server
MOST_ROUNDS = 500


def of_records(a: Path, b: Path) -> list[Compared]:
    """B by A at each concurrency that both have. Raises UserError where they cannot be compared."""
    first, second = trusted(a), trusted(b)
    if first.run.scenario != second.run.scenario:
        raise UserError(
            f"{a.name} is of scenario {first.run.scenario}, {b.name} of {second.run.scenario}",
            fix="measure both with one --scenario",
            status=Exit.USAGE,
        )
    both = [
        one.concurrency
        for one in first.levels
        if one.concurrency in {other.concurrency for other in second.levels}
    ]
    if not both:
        raise UserError(
            f"{a.name} and {b.name} have no concurrency in common",
            fix="measure both with one --concurrency",
            status=Exit.USAGE,
        )
    return [
        compared(at, _speeds(first, a, at), _speeds(second, b, at), paired=False) for at in both
    ]


def _speeds(record: Record, path: Path, at: int) -> list[float]:
    """Of its rounds at one concurrency, as many as can be told apart in seconds."""
    found = record.speeds(at)
    if not found or len(found) > MOST_ROUNDS or not all(SLOWEST <= one <= FASTEST for one in found):
        what = f"{path.name}: its {len(found)} rounds at concurrency {at} tell no speed"
        raise UserError(what, fix="measure again", status=Exit.USAGE)
    return found


def differences(a: Path, b: Path) -> tuple[str, ...]:
    """What is not alike in two records, beside their figures, in words."""
    first, second = (record(path).run for path in (a, b))
    told = [(name.replace("_", " "), getattr(first, name), getattr(second, name)) for name in ALIKE]
    told += [
        (f"--{name}", first.options.get(name, UNSET), second.options.get(name, UNSET))
        for name in sorted({*first.options, *second.options})
    ]
    found = [
        f"{name}: {_worth(one)} in A, {_worth(other)} in B"
        for name, one, other in told
        if one != other
    ]
    if first.options == second.options and first.plan != second.plan and not found:
        found.append("variables, or options that name a place: a record does not have them")
    return tuple(found)


def _worth(told: object) -> str:
    if told == "":
        return "set"
    return "unknown" if told is None else printable.line(str(told))[:60]


def notes(a: Path, b: Path) -> tuple[str, ...]:
    """What a reader must know of either record, in words."""
    return of_whom([*_notes(record(a))], [*_notes(record(b))])


def of_whom(a: Sequence[str], b: Sequence[str]) -> tuple[str, ...]:
    """The notes of A and of B, what is so of both once."""
    whose = {"A and B": {*a} & {*b}, "A": {*a} - {*b}, "B": {*b} - {*a}}
    return tuple(
        f"{name}: {printable.line(one)}"
        for name, told in whose.items()
        for one in dict.fromkeys((*a, *b))
        if one in told
    )


def _notes(it: Record) -> Iterator[str]:
    yield from it.run.notes
    if it.verdict and it.verdict.ended != "complete":
        yield f"it ended before its time: {it.verdict.ended}"


def contradiction(it: Record) -> str:
    """What in a record with a trusted verdict cannot be together; "" where all can."""
    if it.verdict and it.verdict.reasons:
        return f"it is trusted, and says why it is not: {it.verdict.reasons[0]}"
    if wrong := next((one for one in it.rounds if one.wrong), None):
        at = f"round {wrong.round} at concurrency {wrong.concurrency}"
        return f"it is trusted, and {at} is not: {wrong.wrong[0]}"
    if {one.concurrency for one in it.rounds} != {one.concurrency for one in it.levels}:
        return "its rounds are of another concurrency than its figures"
    for level in it.levels:
        rounds = [one for one in it.rounds if one.concurrency == level.concurrency]
        if level != level_of(rounds):
            return f"its figures at concurrency {level.concurrency} are not those of its rounds"
    return ""


def trusted(path: Path) -> Record:
    """A record that is to be trusted. Raises UserError."""
    found = record(path)
    if found.verdict and found.verdict.trusted:
        if why := printable.line(contradiction(found)):
            what = f"{path.name} contradicts itself: {why}"
            raise UserError(what, fix="measure again", status=Exit.NO)
        return found
    why = "; ".join(found.verdict.reasons) if found.verdict else "it has no verdict"
    raise UserError(f"{path.name} is not to be trusted: {why}", fix="measure again", status=Exit.NO)


def of_servers(a: Subject, b: Subject, rounds: int, tell: Tell) -> list[Compared]:
    """B by A, a round of each in turn, the first one changing: what drifts meets both.

    Raises UserError where a round of either cannot be trusted.
    """
    if a.scenario != b.scenario:
        raise UserError(
            f"{a.instance.name} and {b.instance.name} would get different loads",
            fix="compare two that serve one model",
            status=Exit.USAGE,
        )
    return [_pairs(a, b, at, rounds, tell) for at in a.scenario.concurrency]


def _pairs(a: Subject, b: Subject, at: int, rounds: int, tell: Tell) -> Compared:
    speeds: tuple[list[float], list[float]] = ([], [])
    for number in range(1, rounds + 1):
        order = ((a, speeds[0]), (b, speeds[1]))
        for it, found in order if number % 2 else order[::-1]:
            found.append(_sound(it, at, number, rounds, tell).output_tok_s)
    return compared(at, *speeds, paired=True)


def _sound(it: Subject, at: int, number: int, rounds: int, tell: Tell) -> Round:
    try:
        made = measured(it, at, number, rounds, tell)
    except Unmeasurable as error:
        raise _untrusted(it, [str(error)]) from None
    if made.wrong:
        raise _untrusted(it, made.wrong)
    return made


def _untrusted(it: Subject, why: Sequence[str]) -> UserError:
    what = f"{it.instance.name} is not to be trusted: {'; '.join(why)}"
    fix = f"`glm5-serve smoke {it.instance.name}` and `glm5-serve events {it.instance.name}`"
    return UserError(what, fix=fix, status=Exit.NO)
