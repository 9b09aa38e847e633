"""Plain texts of which one stands in every text that a regular expression matches: by them lines
are sieved, which is many times as fast as to try each expression.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

_TOKEN = re.compile(
    r"\\(?P<escape>.)|(?P<set>\[\^?\]?(?:\\.|[^]\\])*\])|(?P<open>\((?:\?(?:P<\w+>|[:=!]|<[=!]))?)|(?P<close>\))"
    r"|(?P<or>\|)|(?P<mark>[.^$])|(?P<char>[A-Za-z_ :,/'\"-]+(?![*?+{])|.)",
    re.DOTALL,
)
_REPEAT = re.compile(r"(?P<none>[*?]|\{0,?\d*\})\??|(?:\+|\{\d+(?:,\d*)?\})\??")
_CLASSES = "dDwWsSbBAZ"
_ENOUGH = 12  # characters: a longer text sieves no better


class _Part(NamedTuple):
    """What was read: texts of which one is needed, and where the reading goes on."""

    words: tuple[str, ...]
    end: int


@cache
def literals(pattern: str) -> tuple[str, ...]:
    """The texts, without digits; an empty one where nothing is needed."""
    return _alternatives(pattern, 0).words


def _alternatives(pattern: str, at: int) -> _Part:
    """Up to the end of a group: a text of each alternative."""
    words: list[str] = []
    while True:
        part = _sequence(pattern, at)
        words += part.words
        if part.end >= len(pattern) or pattern[part.end] == ")":
            return _Part(tuple(dict.fromkeys(words)), part.end + 1)
        at = part.end + 1


def _sequence(pattern: str, at: int) -> _Part:
    """Up to the next alternative: the best of what it needs."""
    best: tuple[str, ...] = ("",)
    run = ""
    while at < len(pattern) and pattern[at] not in "|)":
        token = _TOKEN.match(pattern, at)
        assert token, "any character is one"
        words, char, at = _needed(pattern, token)
        repeat = _REPEAT.match(pattern, at)
        at = repeat.end() if repeat else at
        is_optional = bool(repeat and repeat["none"])
        if char and not repeat:
            run += char
        elif char is None:  # a group, or one of many characters
            best, run = _better(best, (run,)), ""
            best = best if is_optional else _better(best, words)
        elif char:
            best, run = _better(best, (run if is_optional else run + char,)), ""
    return _Part(_better(best, (run,)), at)


def _needed(pattern: str, token: re.Match[str]) -> tuple[tuple[str, ...], str | None, int]:
    """What a token needs: texts of a group, or the character that it is, or several that nothing
    repeats ("" for a place).
    """
    if opened := token["open"]:
        inner = _alternatives(pattern, token.end())
        return ("",) if opened[1:] in ("?=", "?!", "?<=", "?<!") else inner.words, None, inner.end
    char = token["char"] or token["escape"]
    if token["mark"] in ("^", "$") or token["escape"] in tuple("bBAZ"):
        return (), "", token.end()
    if char is None or char.isdigit() or (token["escape"] and char in _CLASSES):
        return ("",), None, token.end()
    return (), char, token.end()


def _better(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return max(one, other, key=lambda words: (min(_ENOUGH, *map(len, words)), -len(words)))
