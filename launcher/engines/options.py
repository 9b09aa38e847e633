"""What each release of an engine accepts on its command line, and which variables it reads.

`options.json` in the engine's folder is written by scripts/catalogue.py from the wheels. Words are
taken as argparse takes them: an option may be abbreviated to what no other begins with, and its
value may follow after `=`.
"""

from __future__ import annotations

import json
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from launcher.engines.parts import wrong_part
from launcher.engines.slips import near
from launcher.engines.values import misfit, of_member
from launcher.knowledge import forks, others

PLAIN = re.compile(r"--[a-z][a-z0-9-]*")  # an option by its name alone
# what argparse takes for a value although it begins with a dash
NUMBER = re.compile(r"-\d+|-\d*\.\d+")
LISTS = ("names", "choices", "off")  # of an option in options.json
Version = tuple[int, ...]


@dataclass(frozen=True)
class Option:
    """An option of a release; `takes` is nothing, one, maybe (none or one) or many values."""

    names: tuple[str, ...]
    takes: str = "one"
    type: str = "str"  # one of TYPES, or anything
    choices: tuple[str, ...] = ()  # as a command line has them
    default: str | int | float | None = None
    deprecated: bool = False
    instead: str | None = None  # what its deprecation names
    off: tuple[str, ...] = ()  # the spellings that negate it
    none: bool = False  # whether it also takes None, or nothing, for no value
    opened_by: str = ""  # the option that may bring more choices
    late: bool = False  # its choices are looked up after argparse, as the engine is configured
    adds: bool = False  # given again, it is one more, and takes no other's place
    # what its JSON may have, `a` and `a.b`, and what each takes (`parts`); {}: nobody knows
    parts: Mapping[str, str] = field(default_factory=dict, hash=False)

    dashes: bool = False  # whether a dash in the names of its parts is an underscore

    @property
    def name(self) -> str:
        """Its first spelling, the one to write."""
        return self.names[0]


@dataclass(frozen=True)
class Spoken:
    """A word as an engine reads it before argparse does."""

    word: str  # as it stands there, without `=value`
    name: str  # what argparse gets for it
    value: str | None = None  # behind the sign
    member: str = ""  # what of the option's JSON it sets alone, `method` or `a.b`


def plain(word: str, after: str = "") -> Spoken:
    """A word as argparse itself reads it; what stands after it makes no difference."""
    name, equals, value = word.partition("=")
    return Spoken(name, name, value if equals else None)


@dataclass(frozen=True)
class Given:
    """An option as a command line gives it: the word itself, and what stands for it in the
    release.
    """

    word: str  # without `=value`; one without a name is its own value
    values: tuple[str, ...]
    option: Option | None
    problem: str | None = None  # why the release refuses it
    read: str = ""  # the word as the engine reads it, `--tp-size` for `--tp_size`
    member: str = ""  # what of the option's JSON it sets alone
    count: int = 1  # words that it takes

    @property
    def is_positional(self) -> bool:
        """Whether it is a value without a name before it."""
        return not self.read

    @property
    def name(self) -> str:
        """The option's name, the word itself where there is none."""
        return self.option.name if self.option else self.read or self.word

    @property
    def setting(self) -> str:
        """The name of what it sets: the option's, that of its negation where it negates."""
        option = self.option
        if not option or any(name.startswith(self.read) for name in option.names):
            return self.name
        return option.off[0] if option.off and self.read else self.name


@dataclass(frozen=True)
class Release:
    """A release that is known."""

    name: str
    options: Mapping[str, Option] = field(repr=False)  # by each of their spellings
    catalogue: Catalogue = field(repr=False)

    @cached_property
    def variables(self) -> frozenset[str]:
        """The variables that it reads."""
        at, runs = version(self.name), self.catalogue.variables
        return frozenset(name for name in runs if any(_within(at, run) for run in runs[name]))

    @cached_property
    def long(self) -> Sequence[str]:
        """What its options are called, with two dashes."""
        return [name for name in self.options if name.startswith("--")]

    def candidates(self, word: str) -> list[Option]:
        """The options that a word can mean: one where it is spelled out or short enough for no
        other.
        """
        if word in self.options:
            return [self.options[word]]
        names = self._sorted
        first, end = bisect_left(names, word), bisect_left(names, f"{word}{chr(sys.maxunicode)}")
        # To argparse two spellings are ambiguous only if they mean different options.
        meant = (self.options[name] for name in names[first:end])
        return list({id(one): one for one in meant}.values())

    @cached_property
    def _sorted(self) -> Sequence[str]:
        """What its options are called; what begins alike stands together."""
        return sorted(self.options)

    def accepts(self, word: str) -> bool:
        """Whether the option is there under just that name."""
        return word in self.options

    def renamed(self, word: str) -> str:
        """The name under which this release has an option: the newest that it accepts, else the
        word itself.
        """
        return next(
            (name for name in self.catalogue.renames.get(word, ()) if name in self.options), word
        )

    def replacement(self, word: str) -> str | None:
        """What to write for an option that it does not have: its name for it, else what took its
        place.
        """
        name = self.renamed(word)
        return name if name != word else self.catalogue.successor(word)

    def given(self, words: Sequence[str]) -> list[Given]:
        """The options of a command line as argparse of this release would take them, problems
        named, not raised.
        """
        told = list(_given(list(words), self))
        named = {one.name for one in told}
        return [
            replace(one, problem=None)
            if one.option and one.values and one.option.opened_by in named
            else one
            for one in told
        ]


@cache  # asked of the same few for each option and variable
def version(text: str) -> Version:
    """`0.5.15.post1` as (0, 5, 15): a release without its suffix, and 0.32 as 0.32.0 is; () for
    what is no version.
    """
    if not (found := re.match(r"\d+(\.\d+)*", text)):
        return ()
    parts = [int(part) for part in found[0].split(".")[:3]]
    return (*parts, *[0] * (3 - len(parts)))


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What the releases of one engine accept."""

    engine: str  # as people write it
    file: Path
    short: Mapping[str, str] = field(default_factory=dict)  # options as everybody says them
    positional: str = ""  # the option whose value may stand without a name, with its dashes
    reads: Callable[[str, str], Spoken] = plain  # a word, and the one after it
    has_others: bool = False  # whether knowledge/others.toml tells what is carried over to it

    @cached_property
    def _data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return data

    @cached_property
    def releases(self) -> tuple[str, ...]:
        """The releases that are known, oldest first."""
        return tuple(self._data["releases"])

    @property
    def newest(self) -> str:
        """The newest of them."""
        return self.releases[-1]

    def nearest(self, text: str) -> str:
        """The known release that stands for one: itself, the newest before it, or the oldest that
        is known.
        """
        older = [known for known in self.releases if version(known) <= version(text)]
        return older[-1] if older else self.releases[0]

    def after(self, text: str) -> str | None:
        """The known release that comes next to one between two of them; None for any other."""
        told = [version(known) for known in self.releases]
        if version(text) in told or not told[0] < version(text) < told[-1]:
            return None
        return next(known for known in self.releases if version(known) > version(text))

    def release(self, name: str) -> Release:
        """One of `releases`."""
        return _release(self, name)

    @property
    def variables(self) -> Mapping[str, Sequence[str]]:
        """The variables that any release reads, and which do: `0.5.8-`, `0.5.8-0.5.12`."""
        runs: Mapping[str, Sequence[str]] = self._data["variables"]
        return runs

    def read_by(self, variable: str) -> list[str]:
        """The releases that read a variable."""
        runs = self.variables.get(variable, ())
        return [name for name in self.releases if any(_within(version(name), run) for run in runs)]

    def accepted_by(self, word: str) -> Sequence[str]:
        """The releases that have an option of just this name."""
        return _accepted(self, word) if word in self._spans else ()

    def has(self, word: str) -> bool:
        """Whether any release has an option of just this name."""
        return word in self._spans

    @cached_property
    def _spans(self) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The entries that have a name, each of which says from when to when: no release need be
        made to know that.
        """
        spans: dict[str, list[Mapping[str, Any]]] = {}
        for told in self._data["options"]:
            for name in (*told["names"], *told.get("off", ())):
                spans.setdefault(name, []).append(told)
        return spans

    def canonical(self, name: str) -> str:
        """The one name of an option, without its dashes, whatever a release or an author calls it.

        It is the newest release's first spelling. What no release has by that name stays what it
        is: a coming one may have it, whatever argparse abbreviates today.
        """
        word = f"--{self.short.get(name, name)}"
        return self._names.get(word, word)[2:]

    def successor(self, word: str) -> str | None:
        """What the option was replaced by, as its deprecation says."""
        return self._successors.get(word)

    @cached_property
    def _successors(self) -> Mapping[str, str]:
        told = (made for made in self._data["options"] if made.get("instead"))
        return {name: made["instead"] for made in told for name in made["names"]}

    @cached_property
    def renames(self) -> Mapping[str, tuple[str, ...]]:
        """Names of one option through the releases, by each of these names, newest first.

        From what each deprecation names instead; those that want another value (`--x=disabled`) are
        not names.
        """
        newer = {
            told["names"][0]: told["instead"]
            for told in self._data["options"]
            if told.get("instead")
            and PLAIN.fullmatch(told["instead"])
            and told.get("takes") != "nothing"
        }
        groups: dict[str, tuple[str, ...]] = {}
        for old in newer:
            chain = [old]
            while chain[-1] in newer:
                chain.append(newer[chain[-1]])
            for name in chain:
                groups[name] = max(groups.get(name, ()), tuple(reversed(chain)), key=len)
        return groups

    @cached_property
    def _names(self) -> dict[str, str]:
        """For each name that any release has, the one that stands for its option, both with
        dashes.
        """
        groups: dict[str, set[str]] = {}
        told = [tuple(option["names"]) for option in self._data["options"]]
        for names in (*told, *self.renames.values()):
            joined = set(names).union(*(groups[name] for name in names if name in groups))
            groups |= dict.fromkeys(joined, joined)
        newest = self.release(self.newest).options
        last = {
            name: option["names"][0] for option in self._data["options"] for name in option["names"]
        }
        found = {}
        for name, group in groups.items():
            there = {newest[one].name for one in group if one in newest}
            found[name] = (
                min(there, key=lambda one: newest[one].deprecated) if there else last[name]
            )
        return found


@cache  # asked of each option of each profile that is read
def _accepted(catalogue: Catalogue, word: str) -> Sequence[str]:
    spans, known = catalogue._spans[word], catalogue.releases
    return tuple(name for name in known if any(_is_in(version(name), one) for one in spans))


@cache
def _release(catalogue: Catalogue, name: str) -> Release:
    at = version(name)
    options: dict[str, Option] = {}
    for told in catalogue._data["options"]:
        if _is_in(at, told):
            made = _option(told)
            options |= dict.fromkeys((*made.names, *made.off), made)
    return Release(name, options, catalogue)


def _is_in(at: Version, told: Mapping[str, Any]) -> bool:
    return version(told["first"]) <= at and ("last" not in told or at <= version(told["last"]))


def _option(told: Mapping[str, Any]) -> Option:
    lists = {key: tuple(map(str, told[key])) for key in LISTS if key in told}
    return Option(
        **{key: value for key, value in told.items() if key not in ("first", "last")} | lists
    )


def _within(at: Version, run: str) -> bool:
    first, _, last = run.partition("-")
    return version(first) <= at and (not last or at <= version(last))


def nearest_name(word: str, within: Release) -> str | None:
    """The option that somebody may have meant; none for what is a fork's, or another engine's."""
    if forks.of_option(word) or (within.catalogue.has_others and others.of_option(word)):
        return None
    return near(word, within.long)


def _given(words: list[str], within: Release) -> Iterator[Given]:
    at, positional = 0, within.catalogue.positional
    while at < len(words):
        said = within.catalogue.reads(words[at], words[at + 1] if at + 1 < len(words) else "")
        if not _is_option(words[at], said, within):
            whole, glued = words[at], _glued(words[at], within)
            option = None if glued else within.options.get(positional)
            positional = positional if glued else ""  # there is one
            problem = glued or (None if option else "stands where an option was expected")
            yield Given(whole, (whole,) if option else (), option, problem)
            at += 1
            continue
        found = within.candidates(said.name)
        option = found[0] if len(found) == 1 else None
        values = _values(words, at + 1, said, option, within)
        count = 1 if said.value is not None else 1 + len(values)
        problem = _problem(said, found, values, within)
        yield Given(said.word, values, option, problem, said.name, said.member, count)
        at += count


def _glued(word: str, within: Release) -> str | None:
    """What is wrong with an option and its value in one word, as a list of YAML has them."""
    name, *rest = word.split(None, 1) or [""]
    if not name.startswith("-") or not rest:
        return None
    is_known = within.candidates(within.catalogue.reads(name, "").name)
    return f"{name} and its value are one word: no option to the parser" if is_known else None


def _values(
    words: Sequence[str], at: int, said: Spoken, option: Option | None, within: Release
) -> tuple[str, ...]:
    """The values of an option: what stands behind its sign, or the words that follow."""
    if said.value is not None:
        return (said.value,)
    if said.member:  # takes whatever stands there
        return tuple(words[at : at + 1])
    takes = {"nothing": 0, "one": 1, "maybe": 1}
    most = takes.get(option.takes, len(words)) if option else len(words)
    values: list[str] = []
    for word in words[at:]:
        if len(values) == most or _is_option(word, within.catalogue.reads(word, ""), within):
            break
        values.append(word)
    return tuple(values)


def _is_option(word: str, said: Spoken, within: Release) -> bool:
    """Whether argparse takes a word for an option: one with a blank where what is before `=` is
    one.
    """
    if not word.startswith("-") or word == "-" or NUMBER.fullmatch(word):
        return False
    return " " not in word or bool(said.value is not None and within.candidates(said.name))


def _problem(
    said: Spoken, found: Sequence[Option], values: Sequence[str], within: Release
) -> str | None:
    word, name = said.word, said.name
    if len(found) > 1:
        names = sorted({one for option in found for one in option.names if one.startswith(name)})
        return f"ambiguous: could be {', '.join(names[:4])}"
    if not found:
        fork = forks.of_option(name)
        whose = f"; {fork.name} have it" if fork else ""
        return f"{within.catalogue.engine} {within.name} has no {word}{whose}"
    option = found[0]
    if option.takes == "nothing":
        return f"{word} takes no value" if values or said.member else None
    if not values:
        return None if option.takes == "maybe" else f"{word} wants a value"
    if said.member:
        values = [json.dumps({said.member: of_member(said.member, values[0])})]
    return next((why for value in values if (why := _misfit(option, value))), None)


def _misfit(option: Option, value: str) -> str | None:
    if option.none and value in ("", "None"):
        return None
    why = misfit(option.name, option.type, option.choices, value)
    return why or wrong_part(option.name, option.parts, value, dashes=option.dashes)
