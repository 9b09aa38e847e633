"""Which failures a line tells of: by the patterns of the tables, and by the codes that it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from functools import cache
from typing import NamedTuple

from launcher.diagnose import forms
from launcher.diagnose.literals import literals
from launcher.engines.failures import Failure, failures
from launcher.knowledge import xid

NOTHING: frozenset[str] = frozenset()


class Found(NamedTuple):
    """A failure that a line tells of, and the words of the line that belong to it."""

    failure: Failure
    words: dict[str, str]


@cache
def _sieved(origin: str) -> tuple[tuple[Failure, re.Pattern[str], tuple[str, ...]], ...]:
    """The failures of an origin with a pattern, and texts of which one stands in every line that it
    matches.
    """
    return tuple(
        (failure, failure.pattern, literals(failure.pattern.pattern))
        for failure in failures().values()
        if failure.origin == origin and failure.pattern
    )


def matches(
    text: str,
    origin: str,
    *,
    from_start: bool = True,
    but: Set[str] = NOTHING,
) -> list[Found]:
    """Every failure that words show, those of codes alone first, then in the order of the tables.

    `from_start`: from the first word on; `but`: none of these.
    """
    found = {each.failure.id: each for each in _by_code(text, origin, from_start=from_start)}
    for failure, pattern, words in _sieved(origin):
        if failure.id in but or not any(word in text for word in words):
            continue
        if match := pattern.match(text) if from_start else pattern.search(text):
            named = {name: word for name, word in match.groupdict().items() if word}
            known = found.pop(failure.id, None)
            found[failure.id] = Found(failure, {**(known.words if known else {}), **named})
    told = [each for id, each in found.items() if id not in but]
    is_more = any(not each.failure.rest for each in found.values())
    return [each for each in told if not (is_more and each.failure.rest)]


def _by_code(text: str, origin: str, *, from_start: bool) -> Iterator[Found]:
    if origin == "kernel":
        row = xid.judge(text)
        if row and row.cause in failures():
            fix = {"xid_fix": row.fix} if row.fix else {}
            yield Found(failures()[row.cause], {"xid": str(row.number), **fix})
        return
    for code in forms.codes(text, from_start=from_start):
        if code.cause in failures():
            yield Found(failures()[code.cause], forms.words(code))


@cache
def sieve() -> tuple[str, ...]:
    """Texts of which one stands in every line that tells of a failure. They are found fast."""
    patterns = [failure.pattern.pattern for failure in failures().values() if failure.pattern]
    words = {word for pattern in (*patterns, *forms.PATTERNS) for word in literals(pattern)}
    return tuple(sorted((*words, "Xid ("), key=len))
