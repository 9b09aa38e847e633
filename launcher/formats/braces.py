"""`a{b,c}d` and `{1..3}` as bash makes words of them, before anything else. Pure."""

from __future__ import annotations

import re
from itertools import islice, pairwise

LONGEST = 2000  # characters of a word
MOST = 64  # words of one
MOST_BRACES = 12  # in a word
_SPAN = re.compile(r"(-?\d{1,6})\.\.(-?\d{1,6})(?:\.\.-?\d{1,6})?|([A-Za-z])\.\.([A-Za-z])")


def expanded(word: str) -> list[str]:
    """The words that a word comes to, itself alone where no braces make several of it."""
    if len(word) > LONGEST or not 0 < word.count("{") <= MOST_BRACES:
        return [word]
    for start, end, commas in _groups(word):
        inner = word[start + 1 : end]
        if commas:
            edges = [start, *commas, end]
            parts = [word[a + 1 : b] for a, b in pairwise(edges)]
        elif not (parts := _span(inner)):
            continue
        made = (
            f"{word[:start]}{one}{rest}"
            for part in parts
            for one in expanded(part)
            for rest in expanded(word[end + 1 :])
        )
        return list(islice(made, MOST))
    return [word]


def _groups(word: str) -> list[tuple[int, int, list[int]]]:
    """Each `{` with its `}` and the commas between them, quoted ones left out, outermost first."""
    found: list[tuple[int, int, list[int]]] = []
    opened: list[tuple[int, list[int]]] = []
    at, quote = 0, ""
    while at < len(word):
        char = word[at]
        if char == "\\" and quote != "'":
            at += 1
        elif quote or char in "'\"":
            quote = ("" if char == quote else quote) if quote else char
        elif char == "$" and word[at + 1 : at + 2] == "{":
            opened.append((-1, []))
            at += 1
        elif char == "{":
            opened.append((at, []))
        elif char == "," and opened:
            opened[-1][1].append(at)
        elif char == "}" and opened:
            start, commas = opened.pop()
            if start >= 0 and all(outer >= 0 for outer, _ in opened):
                found.append((start, at, commas))
        at += 1
    return sorted(found)


def _span(text: str) -> list[str]:
    found = _SPAN.fullmatch(text)
    if not found:
        return []
    first, last = (int(found[1]), int(found[2])) if found[1] else (ord(found[3]), ord(found[4]))
    step = 1 if first <= last else -1
    numbers = islice(range(first, last + step, step), MOST)
    return [str(number) if found[1] else chr(number) for number in numbers]
