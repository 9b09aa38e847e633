"""What cannot be: what a load generator tells of a round, held against what was asked, against
itself and against our own clock. Pure.

Bounds are generous: what is beyond one is no matter of a fast or a slow server, it is not so. A
token has at least one byte of its text, and over a whole text far fewer characters than the
longest one of a vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.engines.generator import Answer, Sample

LONGEST = 16  # characters of a token, over a whole text; one alone may be 128 spaces
SPARE = 1024  # characters: so that a short text may be of the longest ones
UNSEEN = 8  # tokens of an answer without a text: its end, what a parser strips
TEMPLATE = 8192  # tokens that a chat template, with its system prompt, puts around a question
SLACK = 0.05  # seconds by which two clocks of one machine may be read apart
DRIFT = 1.01  # times


@dataclass(frozen=True)
class Asked:
    """What a round asked: `tokens` of an answer at most, `concurrency` requests at once, and
    the patterns that answers fit, one a prompt; () where nothing is known of them.

    `took`: seconds of the whole run by our own clock. `thinks`: its tokens are not all in its
    texts.
    """

    prompts: tuple[str, ...]
    tokens: int
    concurrency: int
    took: float
    expected: tuple[str, ...] = ()
    thinks: bool = False


def is_too_long(answer: Answer, tokens: int) -> bool:
    """Whether so many tokens cannot be that text, nor those that were told."""
    return len(answer.text) > SPARE + LONGEST * min(tokens, answer.output_tokens)


def impossible(sample: Sample, asked: Asked) -> Iterator[str]:
    """What of it cannot be, in words; of requests that failed nothing is held against anything."""
    answers = [one for one in sample.answers if one.text.strip() and not one.error]
    yield from _clock(sample.seconds, answers, asked)
    yield from _made(answers, asked)
    if len(sample.answers) == len(asked.prompts):
        yield from _read(sample, asked.prompts)


def _clock(seconds: float, answers: list[Answer], asked: Asked) -> Iterator[str]:
    if seconds <= 0:
        yield "it took no time"
    if untimed := sum(one.first <= 0 for one in answers):
        yield f"{untimed} answers have no time to their first token"
    if seconds > _at_most(asked.took):
        yield f"it measured {seconds:,.2f} s, and ran for {asked.took:,.2f} s by our own clock"
    took = [one.first + one.rest for one in answers]
    if beyond := sum(one > _at_most(seconds) for one in took):
        yield f"{beyond} answers took up to {max(took):,.2f} s, the whole round {seconds:,.2f} s"
    elif sum(took) > asked.concurrency * _at_most(seconds):
        yield (
            f"its answers took {sum(took):,.2f} s together, more than {asked.concurrency} at once"
            f" can in the {seconds:,.2f} s of the round"
        )


def _at_most(seconds: float) -> float:
    return DRIFT * seconds + SLACK


def _made(answers: list[Answer], asked: Asked) -> Iterator[str]:
    if uncounted := sum(one.output_tokens < 1 for one in answers):
        yield f"the server counted no token for {uncounted} answers"
    if beyond := sum(one.output_tokens > asked.tokens for one in answers):
        yield f"{beyond} answers have more tokens by its usage than the {asked.tokens} asked for"
    elif unseen := sum(
        one.output_tokens > _bytes(one.text) + UNSEEN for one in answers if not asked.thinks
    ):
        yield (
            f"{unseen} answers have more tokens by its usage than letters: it made fewer, or"
            " reasons where nobody can judge it"
        )


def _read(sample: Sample, prompts: tuple[str, ...]) -> Iterator[str]:
    odd = [
        (one.input_tokens, prompt)
        for one, prompt in zip(sample.answers, prompts, strict=True)
        if not (one.error or _is_read(one.input_tokens, prompt))
    ]
    if odd:
        tokens, prompt = odd[0]
        yield (
            f"{len(odd)} prompts cannot have the tokens that were counted: {tokens} of"
            f" {len(prompt):,} letters"
        )


def _is_read(tokens: int, prompt: str) -> bool:
    """Whether a prompt can be so many tokens."""
    is_enough = tokens >= 1 and len(prompt) <= SPARE + LONGEST * tokens
    return is_enough and tokens <= _bytes(prompt) + TEMPLATE


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))
