"""Whether a server that was right still answers rightly, and as fast as it did.

Pure: when it is asked, what, and what its answers mean. Time comes in; `canary_ask.py` asks. Two
wrong answers in a row to questions of one kind, or a sign that is twice as bad as it was after this
start for several looks in a row, make it *degraded*. What could not be asked, or was not answered
in time, says nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from launcher.counting import rate
from launcher.engines.signs import Signs
from launcher.plan.policy import CanaryPolicy

WRONG = 2  # wrong answers in a row, of one kind of question, that are no accident
LOOKS = 3  # looks in a row at a sign that are none
USUAL, SETTLED = 5, 3  # looks at this start that say how it is, at most and at least
HALF, RECOVERED = 2.0, 1.5  # times worse than usual: what is degraded, and what no longer is
AGAIN = 5.0  # seconds until a question is asked again that was answered wrongly
LOST = 90.0  # seconds beyond its time after which whoever asks does not come back
CROWDED = 0.2  # of a question that a rank stood in line for a processor: its speed says nothing
TELLING = 16  # tokens of an answer that tell a speed
Key = tuple[str | int, ...]


class Said(Enum):
    """What came of a question."""

    RIGHT = "right"
    WRONG = "wrong"
    UNKNOWN = "unknown"  # not asked, or not answered


@dataclass(frozen=True)
class Question:
    """One of a kind (policy.CANARIES): `round` says which of those that there are."""

    kind: str
    round: int


@dataclass(frozen=True)
class Look:
    """What came of a question: in words, in `seconds` and `tokens`, and what the engine counted."""

    said: Said
    detail: str
    tokens: int = 0
    seconds: float = 0.0
    signs: Signs | None = None


@dataclass(frozen=True)
class Degraded:
    """That it does not answer as it did: since when, why, and what kind of death that would be."""

    since: float
    what: str
    cause: str  # of verdict.KILLED_FOR


@dataclass(frozen=True)
class Canary:
    """What is known of one run of a server since it was ready."""

    at: float  # when it is asked next
    turns: tuple[str, ...]
    proved: frozenset[str] = frozenset()  # kinds that were answered rightly before
    number: int = 0  # questions so far
    asking: Question | None = None  # since `at`
    suspect: Question | None = None  # it is asked once more
    wrong: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # kind: how often, what
    usual: Mapping[Key, tuple[float, ...]] = field(default_factory=dict)
    slow: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # sign: how often, what
    unasked: frozenset[str] = frozenset()  # kinds that it never answered rightly
    last: Look | None = None
    counts: Mapping[str, int] = field(default_factory=dict)  # Said's values: how often
    degraded: Degraded | None = None

    @property
    def next(self) -> Question | None:
        """What it is asked next; None where there is nothing that it can be asked."""
        if self.suspect:
            return self.suspect
        turns = [kind for kind in self.turns if kind not in self.unasked]
        rounds, turn = divmod(self.number, len(turns) or 1)
        return Question(turns[turn], rounds) if turns else None


def begin(policy: CanaryPolicy, proved: frozenset[str], now: float) -> Canary | None:
    """The canary of a server that is ready, or None; `proved`: what it answered rightly already."""
    if not policy.every or not policy.asks:
        return None
    return Canary(now + policy.every, _turns(policy.asks), proved)


def _turns(asks: tuple[str, ...]) -> tuple[str, ...]:
    """Their order: three at most, so that what breaks one kind alone is met within three.

    A fact that is asked with reasoning is not asked without.
    """
    return tuple(kind for kind in asks if kind != "fact" or "reasoning" not in asks)


def wakes_at(canary: Canary, policy: CanaryPolicy) -> float | None:
    """When there is something to do: to act, to ask, or to give up who asked."""
    if canary.degraded and policy.act == "restart":
        return canary.degraded.since
    if canary.asking:
        return canary.at + policy.within + LOST
    return canary.at if canary.next else None


def ask(canary: Canary, now: float) -> tuple[Canary, Question]:
    """Ask what is next; there is something."""
    question = canary.next
    assert question
    return replace(canary, asking=question, at=now), question


def fairly(look: Look, in_line: float, lost: float) -> Look:
    """A look without its speed where that is the host's: a rank stood `in_line` for a processor for
    such a share of it, or the launcher itself did not run for the seconds `lost`.
    """
    if in_line >= CROWDED or lost > 0:
        return replace(look, tokens=0, signs=None)
    return look


def hear(canary: Canary, look: Look, now: float, policy: CanaryPolicy) -> Canary:
    """Take in what came of the question that was asked."""
    asked = canary.asking
    assert asked
    said = look.said.value
    heard = replace(
        canary,
        asking=None,
        at=now + policy.every,
        number=canary.number + (asked is not canary.suspect),
        counts={**canary.counts, said: canary.counts.get(said, 0) + 1},
        last=look,
    )
    match look.said:
        case Said.RIGHT:
            heard = _compared(_right(heard, asked), asked, look)
        case Said.WRONG:
            heard = _wrong(heard, asked, look, now + min(policy.every, AGAIN))
    return _judged(heard, now)


def _right(canary: Canary, asked: Question) -> Canary:
    wrong = {kind: told for kind, told in canary.wrong.items() if kind != asked.kind}
    return replace(canary, suspect=None, wrong=wrong, proved=canary.proved | {asked.kind})


def _wrong(canary: Canary, asked: Question, look: Look, soon: float) -> Canary:
    """One more wrong answer; of a kind that was never right it is none, but a question that this
    model cannot be asked.
    """
    if asked.kind not in canary.proved:
        return replace(canary, suspect=None, unasked=canary.unasked | {asked.kind})
    times = canary.wrong.get(asked.kind, (0, ""))[0] + 1
    told = replace(canary, wrong={**canary.wrong, asked.kind: (times, look.detail)})
    if times >= WRONG:
        return replace(told, suspect=None)
    return replace(told, suspect=asked, at=soon)


def _compared(canary: Canary, asked: Question, look: Look) -> Canary:
    """Hold each sign of a right answer beside what is usual for it."""
    usual, slow = dict(canary.usual), dict(canary.slow)
    for name, key, value in _signs(asked, look):
        known = usual.get((name, *key), ())
        middle = statistics.median(known) if len(known) >= SETTLED else None
        times = slow.get(name, (0, ""))[0]
        if middle is not None and value >= middle * (RECOVERED if times >= LOOKS else HALF):
            slow[name] = min(times + 1, LOOKS), _words(name, value, middle)
        else:
            slow.pop(name, None)
            if len(known) < USUAL:
                usual[name, *key] = (*known, value)
    return replace(canary, usual=usual, slow=slow)


def _signs(asked: Question, look: Look) -> list[tuple[str, Key, float]]:
    """The signs that a look tells: what each may be compared by, and a value that is less when all
    is well.

    What the launcher measured itself is told where the engine counts no steps: this host may have
    had no processor free for it.
    """
    if (signs := look.signs) is None:
        return []
    alone = (asked.kind,)
    found: list[tuple[str, Key, float]] = []
    if signs.step:
        found.append(("step", signs.load, signs.step))
    if signs.accepted:
        found.append(("accepted", alone, 1 / signs.accepted))
    if signs.step and signs.accepted:
        found.append(("speed", alone, signs.step / signs.accepted))
    elif not signs.step and look.tokens >= TELLING and look.seconds > 0 and signs.load == (0, 0):
        found.append(("speed", alone, look.seconds / look.tokens))
    return found


def _words(name: str, value: float, usual: float) -> str:
    match name:
        case "step":
            return f"a step takes {rate(1000 * value)} ms, {rate(1000 * usual)} ms after this start"
        case "accepted":
            told = f"{1 / value:.2f} tokens of a step are accepted"
            return f"{told}, {1 / usual:.2f} after this start"
        case _:
            return f"{rate(1 / value)} tok/s for a request, {rate(1 / usual)} after this start"


def _judged(canary: Canary, now: float) -> Canary:
    wrong = [what for times, what in canary.wrong.values() if times >= WRONG]
    slow = [what for times, what in canary.slow.values() if times >= LOOKS]
    if not wrong and not slow:
        return replace(canary, degraded=None)
    cause = "wrong-output" if wrong else "slow-output"
    since = canary.degraded.since if canary.degraded else now
    return replace(canary, degraded=Degraded(since, "; ".join((*wrong, *slow)), cause))
