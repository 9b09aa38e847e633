"""Options of a server in a variable (`SGLANG_ARGS="--tp 8"`), as images and wrappers take them: who
reads it, and what is added there, is nowhere said. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from launcher.formats import fragments
from launcher.formats.launches import Launch

# NAME=..., `- NAME=...`, `NAME: ...` and `ENV NAME=...`, with a value that begins as options do.
_ASSIGNED = re.compile(
    r"""^[ \t]*(?:export[ \t]+|-[ \t]+["']?|ENV[ \t]+)?(?P<name>[A-Za-z]\w{0,80})[ \t]{0,8}[:=]
        [ \t]{0,8}(?:(?P<quote>["'])(?P<quoted>-[^"'\n]{3,4000})(?P=quote)
        |(?P<bare>-[^"'\n#]{3,4000}))""",
    re.MULTILINE | re.VERBOSE,
)
# `args` and `command` by themselves are keys of files that have forms of their own.
_NAMED = re.compile(r".+(args|arguments|flags|opts|options|cmd|command)\d*", re.IGNORECASE)


@dataclass(frozen=True)
class Variable:
    """A variable with options in it; `at`: where its value begins in the text."""

    name: str
    value: str
    at: int
    line: int


def variables(text: str) -> Iterator[Variable]:
    """Those that hold options of an engine, by their names and by what they hold."""
    for found in _ASSIGNED.finditer(text):
        kind = "quoted" if found["quote"] else "bare"
        value = found[kind].rstrip()
        if _NAMED.fullmatch(found["name"]) and fragments.tell_one(value.split()):
            line = text.count("\n", 0, found.start("name")) + 1
            yield Variable(found["name"], value, found.start(kind), line)


def untold(text: str, found: Iterable[Launch]) -> list[str]:
    """What is said of the variables whose options no launch of the text is made of."""
    launches = list(found)
    used = {name for one in launches for name in (*one.used, one.name)}
    words = [{*one.words} for one in launches]  # some form has read it already
    told = [
        one
        for one in (variables(text) if launches else ())
        if one.name not in used and not any({*one.value.split()} <= read for read in words)
    ]
    return [
        f"{one.name} (line {one.line}) holds options of a server, and nothing here reads it:"
        " they are not judged"
        for one in told
        if not re.search(rf"[$.][{{(]?{one.name}\b", text)
    ]
