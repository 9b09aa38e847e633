"""What an engine's options come to in another engine's words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from launcher.engines.options import Option, Release
from launcher.engines.values import TYPES, misfit

Flags = Mapping[str, tuple[str, ...]]  # values by canonical name
NUMBERS = ("int", "size", "scaled", "scaled_or_auto")  # types that a whole number may be read as


@dataclass(frozen=True)
class Pair:
    """An option in both, with its names without dashes."""

    source: str
    to: str
    values: Mapping[str, str]  # the other's value by this one's, of those that differ
    note: str = ""  # to be said of it
    differs: str = ""  # why it is left out


@dataclass(frozen=True)
class Special:
    """Options that together are others: what they come to, and what is to be said of it."""

    names: tuple[str, ...]  # of the source
    to: tuple[str, ...]  # of the other
    made: Callable[[Flags], tuple[Flags, tuple[str, ...]]]


@dataclass(frozen=True)
class Counterparts:
    """All that one engine's options are in another."""

    pairs: tuple[Pair, ...]
    alone: Mapping[str, str]  # by options that the other does not have: what stands in their place
    specials: tuple[Special, ...]

    def advice(self, name: str, engine: str) -> str:
        """What to write for an option of the one in the other, which people call `engine`."""
        called, more = self._called(name)
        if called:
            return f"{engine} calls it --{' and --'.join(called)}{f': {more}' if more else ''}"
        return self._left_out(name, engine)

    def advice_for_profile(self, name: str, engine: str) -> str:
        """The same for whoever has a profile."""
        called, more = self._called(name)
        if called:
            return f"write flags.{' and flags.'.join(called)}{f': {more}' if more else ''}"
        return self._left_out(name, engine)

    def _called(self, name: str) -> tuple[tuple[str, ...], str]:
        """What the other calls an option, and what to say of that; nothing for one that it does
        not have.
        """
        for pair in self.pairs:
            if pair.source == name:
                return (pair.to,), pair.differs or pair.note
        told = (one.to for one in self.specials if name in one.names and name not in self.alone)
        return next(told, ()), ""

    def _left_out(self, name: str, engine: str) -> str:
        return f"leave it out: {self.alone.get(name) or f'{engine} has nothing like it'}"


@dataclass(frozen=True)
class Translation:
    """The options in the other's words, in order, and what is to be said: one line for each that
    has no counterpart, or whose value means another thing.
    """

    flags: Flags
    said: tuple[str, ...]


def translated(
    flags: Flags,
    between: Counterparts,
    source: Release,
    to: Release,
    outside: Collection[str] = (),
) -> Translation:
    """The options of a release of one engine as those of a release of another; a value that is
    filled in from `outside` is taken as it stands.
    """
    made: dict[str, tuple[str, ...]] = {}
    said: list[str] = []
    pairs = {pair.source: pair for pair in between.pairs}
    special = {name: one for one in between.specials for name in one.names}
    done: set[int] = set()
    for name, values in flags.items():
        told: Flags = {}
        notes: Sequence[str] = ()
        if one := special.get(name):
            if id(one) not in done:
                told, notes = one.made(flags)
            done.add(id(one))
        elif pair := pairs.get(name):
            told, notes = _paired(pair, values, source, to)
        else:
            why = between.alone.get(name, f"{to.catalogue.engine} has nothing like it")
            notes = [f"--{name}: left out: {why}"]
        made |= told
        said += notes
    return Translation(dict(_accepted(made, to, said, outside)), tuple(said))


def _paired(
    pair: Pair, values: tuple[str, ...], source: Release, to: Release
) -> tuple[Flags, list[str]]:
    if pair.differs:
        return {}, [f"--{pair.source}: left out: {pair.differs} (--{pair.to})"]
    before = source.options.get(source.renamed(f"--{pair.source}"))
    after = to.options.get(to.renamed(f"--{pair.to}"))
    told = tuple(_read(pair.values.get(value, value), before, after) for value in values)
    notes = [f"--{pair.to}: {pair.note}"] if pair.note else []
    return {pair.to: told}, notes


def _read(value: str, before: Option | None, after: Option | None) -> str:
    """A number with a suffix in full where the other's suffixes are others."""
    if not before or not after or before.type == after.type or before.type not in NUMBERS:
        return value
    try:
        number = TYPES[before.type][0](value)
    except ValueError:
        return value
    return str(number) if number >= 0 else "auto"


def _accepted(
    flags: Flags, to: Release, said: list[str], outside: Collection[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Those that the release takes; of all others it is said why not."""
    for name, values in flags.items():
        option = to.options.get(to.renamed(f"--{name}"))
        if option is None:
            said.append(f"--{name}: left out: not in {to.catalogue.engine} {to.name}")
            continue
        known = (value for value in values if not any(part in value for part in outside))
        odd = (misfit(option.name, option.type, option.choices, value) for value in known)
        if why := next(filter(None, odd), None):
            said.append(f"--{name}: left out: {why}")
        elif option.takes in ("one", "maybe") and len(values) > 1:
            said.append(f"--{name}: {', '.join(values[1:])} is left out: it takes one value")
            yield name, values[:1]
        else:
            yield name, values
