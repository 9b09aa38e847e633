"""An engine's own load generator, as a value: how it is started, and how its result is read; made
in the engine's folder, found by `engine.generator`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What came of one request; tokens by the server's own usage, seconds by the generator's clock.

    `first` is the time to the first token, `rest` from there to the last one.
    """

    text: str
    error: str
    input_tokens: int
    output_tokens: int
    first: float
    rest: float


@dataclass(frozen=True)
class Sample:
    """One run of the generator: how long it measured (seconds), and every answer."""

    seconds: float
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Wanted:
    """One run that is asked for. `body` is what every request has beside its prompt."""

    python: str
    release: str | None
    url: str
    model: str  # the checkpoint, for its tokenizer
    tokenizer: str
    name: str  # as it is served
    prompts: tuple[str, ...]
    tokens: int  # at most, in each answer
    concurrency: int
    body: Mapping[str, Any]
    file: Path  # for the prompts
    result: Path
    has_module: bool = True  # whether the environment has `Generator.module`


@dataclass(frozen=True)
class Counters:
    """What a server counted since it began: tokens read and made; of its prefix cache the tokens
    that were looked for and those found; drafts of tokens and what was accepted of them. None: it
    does not count that.
    """

    input: float | None = None
    output: float | None = None
    looked: float | None = None
    found: float | None = None
    drafts: float | None = None
    accepted: float | None = None
    accept_length: float | None = None  # of late, where it says that instead

    def since(self, before: Counters) -> Counters:
        """What was counted after `before`."""

        def grown(new: float | None, old: float | None) -> float | None:
            return None if new is None or old is None else new - old

        return Counters(
            grown(self.input, before.input),
            grown(self.output, before.output),
            grown(self.looked, before.looked),
            grown(self.found, before.found),
            grown(self.drafts, before.drafts),
            grown(self.accepted, before.accepted),
            self.accept_length,
        )


@dataclass(frozen=True)
class Slow:
    """A line of an engine's log that tells why it is slow: its pattern, what it means, how it is
    known.
    """

    pattern: re.Pattern[str]
    what: str
    source: str


@dataclass(frozen=True)
class Generator:
    """How an engine's load generator is used."""

    name: str  # as people write it
    module: str  # without which it does not take long prompts; "": nothing more
    longest: int  # tokens of a prompt that it takes without
    variable: str  # by which it is given the key
    prompts: Callable[[Wanted], str]  # the file that it reads
    argv: Callable[[Wanted], tuple[str, ...]]
    read: Callable[[str], Sample]  # raises ValueError for what is no result
    counters: Callable[[str], Counters]  # of the text of the server's /metrics
    slow: Sequence[Slow] = ()


_SAMPLE = re.compile(
    r"^([a-z_]+:\w+)(?:\{([^}\n]*)\})? (\d+(?:\.\d+)?(?:e[-+]?\d{1,3})?)$", re.MULTILINE
)


def total(metrics: str, name: str, label: str = "") -> float | None:
    """The sum of a counter over its series, those with a `label` alone; None where there is
    none.
    """
    found = _series(metrics, name, label)
    return sum(found) if found else None


def mean(metrics: str, name: str, label: str = "") -> float | None:
    """The mean of a gauge over its series, likewise."""
    found = _series(metrics, name, label)
    return sum(found) / len(found) if found else None


def _series(metrics: str, name: str, label: str) -> list[float]:
    return [
        float(value)
        for each, labels, value in _SAMPLE.findall(metrics)
        if each == name and label in labels
    ]
