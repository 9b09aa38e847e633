"""What a server says of its work at a moment, and what two such moments tell: rates, shares, and
how long clients wait for a first token. `top` and `bench` read them here, the canary in `signs.py`.

Where the figures stand is an engine's (`runtime.Runtime.figures`); here is what they mean. All of
them are of the engine's own making: nothing that a client writes is in one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace

from launcher.counting import LARGEST

SINCE_START = 0.0  # seconds that stand for all of a server's life
STEP = 3600.0  # seconds of a step of decoding
ACCEPTED = 1000.0  # tokens of a step of speculation: drafts have some dozens at most
RATE = 1e9  # tokens a second
# The most of a gauge that any server can have; counters have what anybody can mean.
_MOST = {"running": 1e9, "waiting": 1e9, "kv": 10.0, "rate": RATE, "accept": ACCEPTED, "at": 1e12}
_COUNTERS = ("generated", "answered", "prompts", "cached", "drafts", "accepted")


def sane(value: float | None, most: float) -> float | None:
    """A figure that a server gave, or one made of such; None of one that no server can have."""
    return value if value is not None and 0 <= value <= most else None


@dataclass(frozen=True)
class Steps:
    """Steps of decoding since the server's start: how many, the requests in each, summed (`rows`),
    the seconds that each took, once for each request in it (`row_seconds`), and the tokens of
    `prompts` that were read within them.
    """

    count: float
    rows: float
    row_seconds: float
    prompts: float = 0.0


@dataclass(frozen=True)
class Figures:
    """Of all replicas together; None for what it does not tell.

    Counters grow for as long as the server lives: tokens `generated`, those of answers that are
    over (`answered`), tokens of prompts, and those of them that were `cached`, `steps`, `drafts`
    (one for each request in a step of speculation) and the tokens `accepted` of them. Gauges are of
    now: `kv`, the share of the cache that is in use on the fullest replica; its own `rate` in
    tokens a second, and the tokens that its last few steps `accept`ed, the certain one included.
    `first` counts the first tokens by the seconds that they took at most. `at`: when the oldest of
    it was published, in seconds since 1970. `lacks`: what could not be read, and what to do, in
    words. `is_all`: there is nothing more to ask for, whether or not all of it was asked for.

    A figure that no server can have is none, whoever read it.
    """

    running: int | None = None
    waiting: int | None = None
    kv: float | None = None
    rate: float | None = None
    accept: float | None = None
    generated: float | None = None
    answered: float | None = None
    prompts: float | None = None
    cached: float | None = None
    drafts: float | None = None
    accepted: float | None = None
    steps: Steps | None = None
    first: Mapping[float, float] = field(default_factory=dict)
    at: float | None = None
    lacks: tuple[str, ...] = ()
    is_all: bool = False

    def __post_init__(self) -> None:
        for name, most in (_MOST | dict.fromkeys(_COUNTERS, LARGEST)).items():
            object.__setattr__(self, name, sane(getattr(self, name), most))
        steps = self.steps
        if steps and any(sane(told, LARGEST) is None for told in astuple(steps)):
            object.__setattr__(self, "steps", None)
        if any(sane(count, LARGEST) is None for count in self.first.values()):
            object.__setattr__(self, "first", {})


@dataclass(frozen=True)
class First:
    """How long first tokens took: the median is `at_most` so many seconds (inf: longer than any
    bucket), of so many `requests`, in the last `over` seconds, or since the server's start.
    """

    at_most: float
    requests: int
    over: float


@dataclass(frozen=True)
class Rates:
    """What two moments tell: tokens a second, the share of prompts that was cached, tokens a step
    of speculation; None where nothing does.
    """

    tokens: float | None = None
    hits: float | None = None
    accept: float | None = None


def between(before: Figures | None, now: Figures, seconds: float) -> Rates:
    """What the counters did in so many seconds; gauges tell what no counter does.

    A counter that fell is of another server. The engine's own rate stands still for a while when
    nothing runs any more: it counts while something does.
    """
    before = before or Figures()
    made = _grown(before.generated, now.generated)
    gauge = (now.rate if now.running else 0.0) if now.rate is not None else None
    return Rates(
        tokens=sane(made / seconds, RATE) if made is not None and seconds > 0 else gauge,
        hits=_share(_grown(before.cached, now.cached), _grown(before.prompts, now.prompts)),
        accept=accept_length(before, now) or now.accept,
    )


def since(before: Figures, now: Figures) -> Figures:
    """Its counters from `before` on; None where one fell, or is of one of them alone."""
    return replace(
        now,
        generated=_grown(before.generated, now.generated),
        answered=_grown(before.answered, now.answered),
        prompts=_grown(before.prompts, now.prompts),
        cached=_grown(before.cached, now.cached),
        drafts=_grown(before.drafts, now.drafts),
        accepted=_grown(before.accepted, now.accepted),
    )


def _grown(before: float | None, now: float | None) -> float | None:
    return now - before if before is not None and now is not None and now >= before else None


def _share(part: float | None, whole: float | None) -> float | None:
    return min(1.0, part / whole) if part is not None and whole else None


def accept_length(before: Figures, now: Figures, least: float = 1) -> float | None:
    """Tokens that come of a step of speculation: its own, and those that were accepted of the
    draft; None for `least` drafts of which too few were counted.
    """
    accepted, drafts = _grown(before.accepted, now.accepted), _grown(before.drafts, now.drafts)
    if accepted is None or drafts is None or drafts < least:
        return None
    return sane(1 + accepted / drafts, ACCEPTED)


def first_tokens(before: Figures | None, now: Figures, seconds: float) -> First | None:
    """How long first tokens took in so many seconds; where none came, since the server's start."""
    old = before.first if before else {}
    grown = {le: count - old.get(le, 0.0) for le, count in now.first.items()}
    if before and grown and min(grown.values()) >= 0 and (found := _median(grown, seconds)):
        return found
    return _median(now.first, SINCE_START)


def _median(counts: Mapping[float, float], over: float) -> First | None:
    """By the upper edge of the bucket in which it lies."""
    total = counts.get(math.inf, 0.0)
    if total < 1:
        return None
    at_most = next(le for le in sorted(counts) if counts[le] >= total / 2)
    return First(at_most, round(total), over)
