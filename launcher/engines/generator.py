"""An engine's own load generator, as a value: how it is started, and how its result is read; made
in the engine's folder, found by `engine.generator`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import nesting

LONGEST = 1e7  # seconds of anything that is measured
MOST = 10**9  # tokens of a request
LISTS = ("generated_texts", "errors", "input_lens", "output_lens", "ttfts", "itls")


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


def result(text: str) -> Sample:
    """A result as both engines' generators write it: a JSON object with a list for each thing that
    is told of its requests. What else is in it, settings and a key among them, is not kept. Raises
    ValueError for what no generator can have seen.
    """
    said = nesting.of_json(text)
    try:
        rows = zip(*(said[name] for name in LISTS), strict=True)
        return Sample(_seconds(said["duration"]), tuple(_answer(*row) for row in rows))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no result of a load generator: {error}") from None


def _answer(
    text: object, error: object, read: object, made: object, first: object, rest: object
) -> Answer:
    """One request; `rest`: the seconds between its tokens. Raises ValueError."""
    if not (isinstance(text, str) and isinstance(error, str | None) and isinstance(rest, list)):
        raise ValueError("an answer without its text, or its times")
    gaps = [_seconds(one) for one in rest]
    return Answer(text, error or "", _count(read), _count(made), _seconds(first), sum(gaps))


def _seconds(said: object) -> float:
    """A time that a clock can have told. Raises ValueError."""
    if isinstance(said, int | float) and not isinstance(said, bool) and 0 <= said <= LONGEST:
        return float(said)
    raise ValueError(f"no time: {str(said)[:20]}")


def _count(said: object) -> int:
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= MOST:
        return said
    raise ValueError(f"no number of tokens: {str(said)[:20]}")


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
class Slow:
    """A line of an engine's log that tells why it is slow: its pattern, what it means, how it is
    known. One that a server says while it works counts if it came under the load, `least` times.
    """

    pattern: re.Pattern[str]
    what: str
    source: str
    is_of_load: bool = False
    least: int = 1


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
    slow: Sequence[Slow] = ()
