"""Whether the figures of a round may be believed. Pure.

What load generators report is not: a server that refuses everything looks fastest, empty answers
count as successes, tokens that were asked for as tokens that were made, and the exit status says
nothing. So every answer must have a text that is one, and the server's own counters must have moved
by what the clients were told. A question that has a right answer gets that: generators tell answers
in the order of their prompts (read: both gather them).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from launcher.bench.bounds import Asked, impossible, is_too_long
from launcher.engines.figures import Figures
from launcher.engines.generator import Answer, Sample
from launcher.printable import line
from launcher.serve.smoke import garbage

TAIL = 80  # words at the end of an answer that are looked at once more
PERIODS = range(8, 61)  # words of what it says again and again; `garbage` sees fewer
AGAIN = 3  # times
_RULES = re.compile(r"[-=_*~.|+#:\s]{4,}")  # lines of tables and headings are no gibberish
OWN_A_MINUTE = 600  # tokens that the launcher's probes and its canary have it make
_LONGEST = 120  # characters of an error that are shown
_LOOKED_AT = 4096  # at each of its ends
# What clients written in Python (aiohttp, requests, urllib) call what `server.unanswered` tells.
_THEIRS = (
    (re.compile(r"refused|connect call failed|cannot connect", re.I), "connection refused"),
    (re.compile(r"timed? ?out", re.I), "no answer in time"),
    (re.compile(r"payload|incomplete", re.I), "its answer breaks off"),
    (
        re.compile(r"disconnected|reset by peer|broken pipe|without response", re.I),
        "it closed the connection without an answer",
    ),
)


def wrong(
    sample: Sample,
    asked: Asked,
    counted: Figures,
    words: Callable[[str, int], str] = lambda said, most: said[:most],
) -> tuple[str, ...]:
    """Why a round is not to be trusted, all there is to say; () where it is.

    `counted` is what the server counted meanwhile. Answers that are longer than they can be are not
    looked at. `words` makes what is quoted fit for people (`server.Server.words`).
    """
    answered = (*_answers(sample, len(asked.prompts), words),)
    if far := sum(is_too_long(one, asked.tokens) for one in sample.answers):
        what = f"{far} of {len(sample.answers)} answers are longer than their tokens can be"
        return (*answered, what)
    return (
        *answered,
        *_texts(sample.answers, asked.expected, words),
        *impossible(sample, asked),
        *_counts(sample, asked, counted),
    )


def _answers(sample: Sample, asked: int, words: Callable[[str, int], str]) -> Iterator[str]:
    told = sample.answers
    if len(told) != asked:
        yield f"{asked} requests, and {len(told)} answers in the result"
    if errors := [_first(words(one.error, len(one.error))) for one in told if one.error]:
        (most, _), *_ = Counter(errors).most_common(1)
        yield f"{len(errors)} of {len(told)} requests failed: {most}"


def _first(error: str) -> str:
    """What an error says: its first line, of a traceback the last, in words of ours where it is of
    a connection.
    """
    ends = error if len(error) <= 2 * _LOOKED_AT else f"{error[:_LOOKED_AT]}\n{error[-_LOOKED_AT:]}"
    lines = [one for one in ends.strip().splitlines() if one.strip()] or ["it does not say why"]
    said = line(lines[-1 if lines[0].startswith("Traceback") else 0].strip())
    return next((ours for theirs, ours in _THEIRS if theirs.search(said)), said[:_LONGEST])


def _texts(
    told: Sequence[Answer], expected: Sequence[str], words: Callable[[str, int], str]
) -> Iterator[str]:
    answered = [one for one in told if not one.error]
    if empty := sum(not one.text.strip() for one in answered):
        yield f"{empty} of {len(told)} answers are empty"
    texts = [one.text for one in answered if one.text.strip()]
    faults = Counter(fault for one in texts if (fault := unsound(one)))
    for fault, count in faults.most_common():
        yield f"{count} of {len(told)} answers are no text: {fault}"
    if len(expected) == len(told) and not faults:
        odd = [
            (one.text, pattern)
            for one, pattern in zip(told, expected, strict=True)
            if one.text.strip() and not one.error and not _fits(one.text, pattern)
        ]
        if odd:
            text, pattern = odd[0]
            yield (
                f"{len(odd)} of {len(told)} answers are wrong: {line(words(text, 60))!r} where"
                f" {pattern[:60]!r} is right"
            )


def _fits(text: str, expected: str) -> bool:
    return bool(re.search(expected, text, re.IGNORECASE | re.DOTALL))


def unsound(text: str) -> str | None:
    """Why an answer is no text, in words; None where it looks like one.

    A long answer may be right at first and then go on with the same words for ever.
    """
    words = text.split()
    plain = _RULES.sub(" ", text)
    tail = _RULES.sub(" ", " ".join(words[-TAIL:]))
    return garbage(plain) or garbage(tail) or _loop(words)


def _loop(words: Sequence[str]) -> str | None:
    for period in PERIODS:
        if len(words) >= AGAIN * period:
            last = [
                words[len(words) - (n + 1) * period : len(words) - n * period] for n in range(AGAIN)
            ]
            if all(one == last[0] for one in last):
                return f"it ends in the same {period} words again and again"
    return None


def _counts(sample: Sample, asked: Asked, counted: Figures) -> Iterator[str]:
    """Its counters must have moved by what clients were told, what warmed it up, and what its
    launcher asks.
    """
    made = sum(one.output_tokens for one in sample.answers)
    if counted.answered is None:
        return
    if counted.answered < made:
        yield (
            f"clients were told of {made} tokens, the server's own counter grew by"
            f" {counted.answered:.0f}"
        )
    own = OWN_A_MINUTE * math.ceil(sample.seconds / 60)
    warmed = (asked.concurrency + 1) * asked.tokens
    if counted.answered > made + warmed + own:
        yield (
            f"the server made {counted.answered:.0f} tokens meanwhile, {made} of them for this:"
            " somebody else asked it, too"
        )
