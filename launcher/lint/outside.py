"""Releases that are none of those known: what their parsers make of an option is known only where
the known ones on both sides of them agree. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from launcher.engines.dialect import Dialect
from launcher.engines.engine import dialect
from launcher.engines.options import Given, Release
from launcher.engines.target import Target
from launcher.lint.parsing import may_be_built_in

Read = Callable[[Release], Sequence[Given]]  # a command line, as a release takes it


def doubts(read: Read, target: Target) -> Mapping[int, str]:
    """Why nobody knows whether the release takes an option, by its place among those that `read`
    gives for the known release that stands for it. Nothing where the release is known.
    """
    engine, within = dialect(target.engine), target.known
    givens = read(within)
    if target.is_before:
        why = f"{within.name}, the oldest known, refuses this: what {_named(engine, target)} does"
        return {at: f"{why} is unknown" for at, one in enumerate(givens) if _is_absent(one)}
    if target.is_beyond:
        why = f"no known release has this, and {_named(engine, target)} is newer than they are"
        found = (at for at, one in enumerate(givens) if may_be_built_in(one, within))
        return dict.fromkeys(found, why)
    if after := target.after:
        there = dict(_placed(read(after)))
        why = f"{within.name} and {after.name} differ in this: what {_named(engine, target)} does"
        return {
            at: f"{why} is unknown"
            for at, (place, one) in enumerate(_placed(givens))
            if _is_refused(one) != (place in there and _is_refused(there[place]))
        }
    return {}


def _named(engine: Dialect, target: Target) -> str:
    return f"{engine.name} {target.release}"


def _placed(givens: Sequence[Given]) -> Iterator[tuple[int, Given]]:
    """Each with the place of its first word."""
    place = 0
    for one in givens:
        yield place, one
        place += one.count


def _is_refused(given: Given) -> bool:
    return given.option is None or given.problem is not None


def _is_absent(given: Given) -> bool:
    """Whether it is refused for what the release does not have, a name or a choice."""
    if given.option is None:
        return not given.is_positional
    return bool(given.problem and (given.option.choices or given.option.parts))
