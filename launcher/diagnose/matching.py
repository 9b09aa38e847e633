"""Which failures a line tells of: by the patterns of the tables, and by the codes that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import cache, lru_cache
from typing import NamedTuple

from launcher.diagnose import advice, forms
from launcher.diagnose.literals import literals
from launcher.engines.failures import Failure, failures
from launcher.knowledge import xid

NOTHING: frozenset[str] = frozenset()
# Whose words a line may be: of failures.ORIGINS.
KERNEL = ("kernel",)
SERVER = ("server",)
ANYBODY = ("server", "manager")  # but the kernel
SAYS = "says"  # of a failure's words: what the line itself advises


class Found(NamedTuple):
    """A failure that a line tells of, and the words of the line that belong to it."""

    failure: Failure
    words: dict[str, str]
    by_code: bool = False
    by_errno: bool = False  # which any call may end of, whatever it was about

    @property
    def is_general(self) -> bool:
        """Whether nobody wrote its advice for this sentence."""
        return self.failure.rest or self.by_errno


@cache
def _patterned(whose: tuple[str, ...]) -> tuple[Failure, ...]:
    """The failures of some origins that have a pattern, in the order of the tables."""
    told = failures().values()
    return tuple(failure for failure in told if failure.origin in whose and failure.pattern)


@cache
def _sieved(whose: tuple[str, ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Texts of which one stands in every line that a pattern matches, each with the places in
    `_patterned` of those that it may tell of.
    """
    places: dict[str, list[int]] = {}
    for at, failure in enumerate(_patterned(whose)):
        for word in literals(failure.pattern.pattern) if failure.pattern else ():
            places.setdefault(word, []).append(at)
    return tuple((word, tuple(rows)) for word, rows in places.items())


def matches(
    text: str,
    whose: tuple[str, ...],
    *,
    from_start: bool = True,
    but: Set[str] = NOTHING,
) -> list[Found]:
    """Every failure that words show: those of codes alone first, then in the order of the tables,
    and last what is said of an errno alone.

    `whose` they may be; `from_start`: from the first word on; `but`: none of these.
    """
    found = _all(text, whose, from_start)
    is_more = any(
        not each.failure.rest for each in found if each.by_code or each.failure.id not in but
    )
    told = [each for each in found if each.failure.id not in but]
    return [each for each in told if not (is_more and each.failure.rest)]


@lru_cache(maxsize=256)  # what is dying says the same again and again
def _all(text: str, whose: tuple[str, ...], from_start: bool) -> tuple[Found, ...]:
    coded = {each.failure.id: each for each in _by_code(text, whose, from_start=from_start)}
    found = {id: each for id, each in coded.items() if not each.by_errno}
    rows = {row for word, rows in _sieved(whose) if word in text for row in rows}
    for failure in (_patterned(whose)[row] for row in sorted(rows)):
        pattern = failure.pattern
        match = pattern and (pattern.match(text) if from_start else pattern.search(text))
        if match:
            named = {name: word for name, word in match.groupdict().items() if word}
            known = coded.pop(failure.id, None)
            words = {**(known.words if known else {}), **named}
            found.pop(failure.id, None)
            found[failure.id] = Found(failure, words, by_code=known is not None)
    told = (*found.values(), *(each for each in coded.values() if each.by_errno))
    says = advice.given(text) if any(each.is_general for each in told) else ""
    return tuple(
        each._replace(words={**each.words, SAYS: says}) if says and each.is_general else each
        for each in told
    )


def _by_code(text: str, whose: tuple[str, ...], *, from_start: bool) -> Iterator[Found]:
    if whose == KERNEL:
        row = xid.judge(text)
        if row and row.cause in failures():
            fix = {"xid_fix": row.fix} if row.fix else {}
            yield Found(failures()[row.cause], {"xid": str(row.number), **fix}, by_code=True)
        return
    for code in forms.codes(text, from_start=from_start):
        if code.cause in failures() and failures()[code.cause].origin in whose:
            is_errno = code.of == "errno"
            yield Found(failures()[code.cause], forms.words(code), True, is_errno)


@cache
def sieve() -> tuple[str, ...]:
    """Texts of which one stands in every line that tells of a failure. They are found fast."""
    rows = [pattern for row in failures().values() for pattern in (row.pattern, row.until)]
    patterns = [pattern.pattern for pattern in rows if pattern]
    words = {word for pattern in (*patterns, *forms.PATTERNS) for word in literals(pattern)}
    return tuple(sorted((*words, "Xid ("), key=len))
