"""What is known to end servers: `signatures.toml`, read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

WEIGHTS = ("hardware", "host", "cause", "generic", "last")  # "consequence" and "note" are never the cause
# Read when the program starts: a package that is upgraded under it must not change what it understands.
_TABLE = Path(__file__).with_name("signatures.toml").read_text()


@dataclass(frozen=True)
class Signature:
    """One way to die, as `signatures.toml` tells it."""

    id: str
    weight: str
    pattern: re.Pattern[str]
    what: str
    fix: str
    then: str
    known: str
    source: str
    knob: str | None = None
    needs: re.Pattern[str] | None = None  # the line, or a frame of the traceback that it ends, must match it, too
    follows: bool = False  # it is a consequence, if something else died before


@cache
def signatures() -> dict[str, Signature]:
    """All of them, in the file's order. Raises ValueError for a file that is not well-formed."""
    import tomllib  # at the first death, not in every idle launcher

    table = tomllib.loads(_TABLE)
    return {id: _signature(id, entry) for id, entry in table.items()}


def _signature(id: str, entry: dict[str, Any]) -> Signature:
    fields = dict(entry)
    for name in ("pattern", "needs"):
        if name in fields:
            fields[name] = re.compile(fields[name])
    return Signature(id=id, **fields)


def matches(line: str) -> list[tuple[Signature, re.Match[str]]]:
    """Every signature that a line shows, and where."""
    found = ((signature, signature.pattern.search(line)) for signature in signatures().values())
    return [(signature, match) for signature, match in found if match]


def literals(pattern: str) -> list[str]:
    """The longest plain text of each alternative of a regular expression: outside of groups, and not optional."""
    text = re.sub(r"\[(?:\\.|[^]])*\]|\\.", "\0", pattern)
    groups = 1
    while groups:
        text, groups = re.subn(r"\([^()]*\)", "\0", text)
    return [max(re.split(r".[*?+]|[\0.^$]", part), key=len) for part in text.split("|")]
