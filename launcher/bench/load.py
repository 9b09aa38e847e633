"""What is asked of a server: scenarios, and the prompts for them. Pure.

The texts ship with this program and were written for it. Every prompt begins with a mark of its
own, so that no prefix cache knows it, but for what a scenario says is shared; what follows is prose
and a question that a long answer suits. A model on a CPU is asked the questions of its smoke test:
what it is known to answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TEXT = Path(__file__).with_name("prose.txt")
TOKENS_A_WORD = 1.5  # of English, generously
TASKS = (
    "Tell what these notes are about, in your own words and in several paragraphs.",
    "Write the next page in the same manner.",
    "List what can be learnt from these notes, and explain each point.",
    "Write a letter to a friend who has not read them, and tell him all that matters.",
    "Which of these notes would you leave out, and why? Go through them one by one.",
    "Write a review of these notes for a newspaper.",
)


@dataclass(frozen=True)
class Scenario:
    """A kind of load: words of a prompt of its own, words that all begin with, tokens that an
    answer may have, and how many are under way at a time.
    """

    name: str
    words: int
    shared: int
    tokens: int
    concurrency: tuple[int, ...]

    @property
    def input_tokens(self) -> int:
        """Tokens of a prompt, at most."""
        return int((self.words + self.shared) * TOKENS_A_WORD)


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("latency", 600, 0, 512, (1,)),
        Scenario("balanced", 1400, 0, 512, (1, 8, 16, 32)),
        Scenario("throughput", 5900, 0, 1024, (64, 128, 256)),
        Scenario("long", 45_000, 0, 512, (1, 4)),
        Scenario("agentic", 700, 11_000, 300, (1, 8, 16)),
    )
}
OWN_TOKENS = 32  # of an answer to a question of the smoke test
OWN_CONCURRENCY = (1, 4)


def own(concurrency: tuple[int, ...] = OWN_CONCURRENCY) -> Scenario:
    """The questions of a smoke test as a load."""
    return Scenario("smoke", 0, 0, OWN_TOKENS, concurrency)


def requests(concurrency: int) -> int:
    """How many requests a round has."""
    return max(8, 3 * concurrency)


@cache
def paragraphs() -> tuple[str, ...]:
    """The prose that prompts are made of."""
    return tuple(
        " ".join(part.split()) for part in TEXT.read_text(encoding="utf-8").split("\n\n") if part
    )


def prompts(scenario: Scenario, count: int, mark: str) -> tuple[str, ...]:
    """So many prompts; the same for the same `mark`, none beginning like those of another."""
    drawn = random.Random(mark)
    shared = f"Notebook {mark}.\n\n{_prose(drawn, scenario.shared)}\n\n" if scenario.shared else ""
    return tuple(
        f"{shared}Note {mark}-{number}.\n\n{_prose(drawn, scenario.words)}\n\n{drawn.choice(TASKS)}"
        for number in range(count)
    )


def in_turn(words: Sequence[str], count: int) -> tuple[str, ...]:
    """So many of some questions, or of what answers them; () of none."""
    return tuple(words[number % len(words)] for number in range(count)) if words else ()


def _prose(drawn: random.Random, words: int) -> str:
    return "\n\n".join(_pieces(drawn, words))


def _pieces(drawn: random.Random, words: int) -> Iterator[str]:
    """Paragraphs in any order, each under a number, until there are so many words."""
    number = 0
    while words > 0:
        for text in drawn.sample(paragraphs(), len(paragraphs())):
            number += 1
            said = text.split()[: max(words, 0)]
            words -= len(said)
            if said:
                yield f"{number}. {' '.join(said)}"
