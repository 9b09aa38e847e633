"""What of a text stands for a value, and shows no more than where it comes from: `$KEY`,
`$(cat file)`, `{{ key }}`. A shell's default, `${KEY:-value}`, is text again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

QUOTES = ("'", '"')
SHORTEST = 4  # letters of what is a secret beside an expansion
LONGEST = 1000  # characters of one command
# What such a command prints is what stands there.
_PRINTED = re.compile(
    r"""(\$\([ \t]*(?:echo|printf)[ \t]+(?:-n[ \t]+|["']?%s["']?[ \t]+)?["']?)"""
    r"""([\w.~+/=-]+)(["']?[ \t]*\))"""
)
_DEFAULT = re.compile(r"\$\{\w+:?[-=+]")
_BEGINS = re.compile(
    r"\$\{\w+:?[-=+]|\$\{[^{}\n]*\}|\$\(|`|\$\w+|\{\{[^{}\n]*\}\}|<[A-Za-z][\w-]*>"
    r"|valueFrom [\w./-]+"
)
_QUOTED = re.compile(r"""\\.|"(?:\\.|[^"\\])*"|'[^']*'|[()]""", re.DOTALL)


def parts(text: str) -> Iterator[tuple[str, bool]]:
    """All of a text in its order, and of each part whether it stands for a value."""
    open_, at = 0, 0
    while at < len(text):
        found = _BEGINS.search(text, at)
        start = found.start() if found else len(text)
        while open_ and (close := text.find("}", at, start)) >= 0:
            yield text[at:close], False
            yield "}", True
            open_, at = open_ - 1, close + 1
        yield text[at:start], False
        if found is None:
            return
        if said := _PRINTED.match(text, start):
            yield from ((said[1], True), (said[2], False), (said[3], True))
            at = said.end()
            continue
        at = _end(text, found)
        open_ += _DEFAULT.fullmatch(found[0]) is not None
        yield text[start:at], True


def literals(text: str) -> tuple[str, ...]:
    """What a text says itself, where it may be a secret."""
    said = [*parts(text)]
    is_whole = not any(stands_for for _, stands_for in said)
    found = (part.strip("\"'") for part, stands_for in said if not stands_for)
    return tuple(part for part in found if part and (is_whole or _may_be_secret(part)))


def word(text: str, start: int) -> str:
    """The word of a shell that begins there, with its quotes."""
    begin = text[start : start + LONGEST]
    ends = re.compile(re.escape(begin[:1]) if begin[:1] in QUOTES else r"[\s;,&|)}\]#]")
    done = len(begin) - len(begin[1:]) if begin[:1] in QUOTES else 0
    at = 0
    for part, stands_for in parts(begin):
        end = None if stands_for else ends.search(part, max(done - at, 0))
        if end:
            return begin[: at + end.end() if begin[:1] in QUOTES else at + end.start()]
        at += len(part)
    return begin


def defaults(text: str) -> Iterator[tuple[str, str]]:
    """The name of each `${NAME:-value}`, and that value."""
    name = ""
    for part, stands_for in parts(text):
        if name and not stands_for and _may_be_secret(part.strip("\"'")):
            yield name, part.strip("\"'")
        head = _DEFAULT.fullmatch(part) if stands_for else None
        name = re.sub(r"\W", "", part) if head else ""


def _may_be_secret(part: str) -> bool:
    return len(part) >= SHORTEST and not re.search(r"\$\(|`|\s", part)


def _end(text: str, found: re.Match[str]) -> int:
    """Where an expansion ends; of a command that is not closed only its sign is one."""
    if found[0] == "`":
        end = text.find("`", found.end(), found.end() + LONGEST)
        return end + 1 if end >= 0 and "\n" not in text[found.end() : end] else found.end()
    if found[0] != "$(":
        return found.end()
    depth = 1
    for mark in _QUOTED.finditer(text, found.end(), found.end() + LONGEST):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return found.end()
