#!/usr/bin/env python3
"""Say what a release of an engine changed, and which rows name it: `news.py sglang` for the newest
that is known, against the one before it; `news.py sglang==0.5.22` for that one; `news.py
sglang==0.5.23 0.5.20`, against another.

Exit 1 if there are rows that are none: nobody knows what those name.
"""

from __future__ import annotations

import difflib
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from launcher.engines import failures, issues, rules
from launcher.engines.engine import NAMES, dialect
from launcher.engines.match import When
from launcher.engines.options import Option, Release
from launcher.engines.tables import complaints

ROOT = Path(__file__).parents[1]
TOLD = ("takes", "type", "default", "deprecated")  # of an option, in this order; choices apart


class Change(NamedTuple):
    """What was done to an option of this name, and more of it."""

    done: str
    name: str
    more: str = ""


def changes(old: Release, new: Release) -> Iterator[Change]:
    """The options that are not what they were."""
    before, after = _spelled(old), _spelled(new)
    fresh = [name for name in after if name not in old.options]
    for name in fresh:
        yield Change("added", name, _default(after[name]))
    for name, option in before.items():
        there = new.options.get(name)
        if there is None:
            yield Change("removed", name, _instead(name, new, fresh))
        elif there.name != name:
            yield Change("renamed", name, f"to {there.name}")
        else:
            yield from (Change("changed", name, how) for how in _differences(option, there))


def _spelled(release: Release) -> Mapping[str, Option]:
    """Each option once, by the name to write."""
    return {option.name: option for option in release.options.values()}


def _default(option: Option) -> str:
    return "" if option.default is None else f"default {option.default}"


def _instead(name: str, new: Release, fresh: Sequence[str]) -> str:
    if there := new.replacement(name):
        return f"instead {there}"
    alike = next(iter(difflib.get_close_matches(name, fresh, n=1, cutoff=0.8)), None)
    return f"perhaps now {alike}" if alike else ""


def _differences(old: Option, new: Option) -> Iterator[str]:
    for key in TOLD:
        was, now = getattr(old, key), getattr(new, key)
        if was != now:
            yield f"{key} was {was}, is {now}"
    for word, more, less in (("new", new, old), ("lost", old, new)):
        if odd := [str(choice) for choice in more.choices if choice not in less.choices]:
            yield f"{word} choices {', '.join(odd)}"


def rows(engine: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Every issue and every default of an engine with its place, and the options and variables that
    it names.
    """
    speaks = dialect(engine)
    for issue in issues.every_issue():
        if issue.engine in ("", engine):
            file = speaks.issues if issue.engine else issues.OF_VARIABLES
            helps = (name for told in issue.remedies for name in (*told.set, *told.unset))
            named = (*issue.blames, *helps, *_asked(issue.when))
            yield f"{file.relative_to(ROOT)} {issue.id}", frozenset(named)
    for number, rule in enumerate(rules.table(speaks.defaults).rows, start=1):
        place = f"{speaks.defaults.relative_to(ROOT)} default {number} {rule.set}"
        yield place, frozenset((rule.set, *_asked(rule.when)))


def _asked(when: When) -> Iterator[str]:
    return (name for names in when.options for name in names.split("|"))


def tell(engine: str, release: str, against: str | None = None) -> None:
    """Print what a known release changed against another, the one before it where none is said."""
    catalogue = dialect(engine).options
    known = catalogue.releases
    against = against or known[max(known.index(release) - 1, 0)]
    old, new = catalogue.release(against), catalogue.release(release)
    found = list(changes(old, new))
    print(f"{release} against {against}")
    for change in found:
        print(f"  {' '.join(change)}".rstrip())
    _variables("variables added", new.variables - old.variables)
    _variables("variables removed", old.variables - new.variables)
    changed = {change.name.lstrip("-") for change in found} | old.variables ^ new.variables
    hit = [(place, names & changed) for place, names in rows(engine) if names & changed]
    print(f"{len(hit)} rows name what changed")
    for place, names in hit:
        print(f"  {place}: {', '.join(sorted(names))}")


def _variables(what: str, names: frozenset[str]) -> None:
    if names:
        told = f"{what}: {', '.join(sorted(names))}"
        print(textwrap.fill(told, 110, initial_indent="  ", subsequent_indent="    "))


def left_out() -> int:
    """Print the rows that are none; the exit status."""
    bad = (*complaints(), *failures.complaints())
    print("".join(f"left out: {complaint}\n" for complaint in bad), end="")
    return 1 if bad else 0


def main(words: Sequence[str]) -> int:
    """Tell of the release that is meant."""
    engine, _, release = (words[0] if words else "").partition("==")
    known = dialect(engine).options.releases if engine in NAMES else ()
    asked = [release or known[-1], *words[1:]] if known else []
    if not asked or len(asked) > 2 or set(asked) - set(known):
        print("usage: news.py ENGINE[==RELEASE [AGAINST]]", file=sys.stderr)
        print(f"  {engine}: {', '.join(known)}" if known else f"  {', '.join(NAMES)}")
        return 2
    tell(engine, *asked)
    return left_out()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
