"""What is known of how an engine is told what to do, as a value; made in the engine's folder, found
by `engine.dialect`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from launcher.engines.key import Key
from launcher.engines.memory import Memory
from launcher.engines.options import Catalogue, Release, version

Spelled = tuple[str, str, Any]  # the name that was asked for, the name to write, the value
# Which of the traits `traits.CHOICES` its options and variables come to; the first gives the first
# of its names that is set, None where none is.
Choices = Callable[[Callable[..., Any], Mapping[str, str]], Mapping[str, bool]]
Words = Mapping[str, str]
Patterns = Mapping[str, str]  # of the whole of an option's value, by its name; "" is a switch's
Values = Callable[[str], str | None]  # of options and variables, None for what is not set
# What a row of an issue computes of a release, of what is set, and of the option or variable that
# it blames with its value: the words that its text may have in braces, None where nothing is wrong.
Condition = Callable[[Release, Values, str, str], Words | None]


def is_so(patterns: Patterns, flag: Callable[[str], Any]) -> bool:
    """Whether an option has a value that is meant; `flag` gives them, None for one not set."""
    told = {name: flag(name) for name in patterns}
    return any(
        value is not None and re.fullmatch(patterns[name], str(value))
        for name, value in told.items()
    )


@dataclass(frozen=True)
class Gone:
    """An option that recipes have and no known release does: what to write, and the values with
    which a launch is the same without it ("" for a switch, "*" for any).
    """

    advice: str
    same: tuple[str, ...] = ()

    def is_needless(self, value: str) -> bool:
        """Whether a launch is the same without it."""
        return value in self.same or "*" in self.same


@dataclass(frozen=True)
class Front:
    """What a program takes before the engine's own parser gets the rest, if it does."""

    model: str = ""  # the first release in which its first word may be the model; "": in none
    own: Mapping[str, str] = field(default_factory=dict)  # its options, by their first release
    other: str = ""  # a server that it may start instead, in words
    by: str = ""  # options by which it does: a pattern of one, or of one with its value
    of_others: bool = False  # whether it does so for models alone that are no language models

    def model_at(self, words: Sequence[str], release: str) -> int | None:
        """Which of the words is a model without a name; None where none is."""
        at = 0
        while at < len(words) and self.reads(words[at], release):
            at += 1 if "=" in words[at] else 2
        is_there = bool(self.model) and version(release) >= version(self.model)
        return at if is_there and at < len(words) and words[at][:1] not in ("", "-") else None

    def started(self, words: Sequence[str]) -> str:
        """The option by which it starts the other server; "" where it does not."""
        apart = [part for word in words for part in word.split("=", 1)]
        each = (*apart, *map(" ".join, pairwise(apart)))
        return next((one for one in each if self.by and re.fullmatch(self.by, one)), "")

    def reads(self, word: str, release: str) -> bool:
        """Whether a word is an option of its own, which takes a value."""
        first = self.own.get(word.partition("=")[0])
        return first is not None and version(release) >= version(first)


@dataclass(frozen=True)
class Scale:
    """How one model over several nodes is told: options that all nodes have, those of a follower
    beside its rank, the variable with the address that a node tells the others, and why.
    """

    # of the first node's address and port, how many there are, and seconds to wait for them
    common: Callable[[str, int, int, int], Mapping[str, Any]]
    rank: str
    follower: Mapping[str, Any]
    own_address: str
    why: Mapping[str, str]


@dataclass(frozen=True)
class Dialect:
    """An engine's words. Options are named as its newest release has them, without dashes."""

    name: str  # as people write it
    package: str  # the distribution that has its release, and what is imported
    packages: tuple[str, ...]  # of its environment: those whose release matters
    program: tuple[str, ...]  # what its interpreter is told to run
    programs: tuple[tuple[str, ...], ...]  # how others start it: words that stand together
    images: tuple[str, ...]  # whose entry point it is: what follows them are its arguments
    options: Catalogue
    roles: Mapping[str, str]  # options that the launcher reads, and their names in profile.Flags
    his: str  # options that nobody but a launch's author decides: a pattern of their names
    matters: str  # options without which a server would be another one, likewise
    of_model: tuple[str, ...]  # options that suit one model, or what they begin with
    host: str  # that it listens on where none is said
    port: int
    serves: str  # what else whoever reaches it may use, in words
    unguarded: str  # what its API key does not guard, in words; "" for nothing that matters
    choices: Choices  # of its own options and variables
    spelled: Callable[[Mapping[str, Any], Release], Iterator[Spelled]]  # as a release takes them
    tokenizers: tuple[
        str, ...
    ]  # options that bring another tokenizer than the checkpoint's, or none
    cpu_heads: tuple[int, ...]  # sizes of heads that its attention on a CPU takes; (): not known
    no_gpus: Patterns  # options by whose values it runs on no GPU
    of_hosts: Patterns  # options by whose values its ranks may be on the GPUs of other hosts
    secrets: tuple[str, ...]  # options that would show a secret in `ps`
    key: Key  # how it is given its API key
    config: str  # the option that names a file with more options
    positional: str  # the option whose value stands first, without a name; "": none does
    fronts: Mapping[str, Front]  # of its programs, by the word that starts them
    variables: tuple[str, ...]  # how the variables begin that it reads
    renamed: Mapping[str, str]  # of those the old ones, and what it takes them for
    memory: Memory  # its formulas
    issues: Path  # what is known to go wrong
    conditions: Mapping[str, Condition]  # that its issues compute beside those of any engine
    meant: Mapping[str, str]  # variables that recipes have and no release reads: what to write
    gone: Mapping[str, Gone]  # options, likewise, by their names without dashes
    gone_parts: Mapping[str, str]  # of JSON options, as `option.part`
    defaults: Path  # the rules that choose what a profile leaves open
    variants: tuple[str, ...]  # distributions that bring it, built for other hardware
    start_limit: tuple[str, float]  # what ends a start that takes longer, and its default, seconds
    uncompiled: str  # what is then, where nothing can compile FlashInfer's kernels; "": it says so
    oldest: str  # the first release that knows GLM-5
    scale: Scale  # over several nodes

    def option_of(self, role: str) -> str:
        """Its option that the launcher reads by that name (`profile.Flags`)."""
        named = {of: name for name, of in self.roles.items()}
        return named.get(role, role.replace("_", "-"))
