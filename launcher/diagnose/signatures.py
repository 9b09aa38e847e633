"""What is known to end servers: `signatures.toml`, read."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import xid

NOTHING: frozenset[str] = frozenset()
ORIGINS = ("kernel", "server")  # whose words they may be
# "consequence" and "note" are never the cause
WEIGHTS = (
    "hardware",
    "host",
    "cause",
    "generic",
    "last",
)
# Read when the program starts: a package that is upgraded under it must not change what it
# understands.
_TABLE = Path(__file__).with_name("signatures.toml").read_text()


@dataclass(frozen=True)
class Signature:
    """One way to die, as `signatures.toml` tells it."""

    id: str
    weight: str
    origin: str
    pattern: re.Pattern[str]
    what: str
    fix: str
    then: str
    known: str
    source: str
    knob: str | None = None
    speaker: re.Pattern[str] | None = None  # the name of who spoke must match it, too
    needs: re.Pattern[str] | None = (
        None  # the line, or a frame of the traceback that it ends, must match it, too
    )
    follows: bool = False  # it is a consequence, if something else died before


@cache
def signatures() -> dict[str, Signature]:
    """All of them, in the file's order. Raises ValueError for a file that is not well-formed."""
    import tomllib  # at the first death, not in every idle launcher

    table = tomllib.loads(_TABLE)
    return {id: _signature(id, entry) for id, entry in table.items()}


def _signature(id: str, entry: dict[str, Any]) -> Signature:
    fields = _with_xids(id, entry) if xid.of_cause(id) else dict(entry)
    for name in ("pattern", "needs", "speaker"):
        if name in fields:
            fields[name] = re.compile(fields[name])
    made = Signature(id=id, **fields)
    if made.origin not in ORIGINS:
        raise ValueError(f"{id}: origin {made.origin!r}, wanted one of {', '.join(ORIGINS)}")
    return made


def _with_xids(cause: str, entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with what the table of Xids knows: their numbers, the advice and, if it says none,
    what it is.
    """
    first, own = xid.of_cause(cause)[0], entry.get("pattern")
    whole = f"{xid.pattern(cause)}|{own}" if own else xid.pattern(cause)
    return {"what": first.what, **entry, "pattern": whole, "then": first.advice}


@cache
def _sieved(origin: str) -> tuple[tuple[Signature, tuple[str, ...]], ...]:
    """The signatures of an origin, each with texts of which one stands in every line that it
    matches.
    """
    return tuple(
        (signature, tuple(literals(signature.pattern.pattern)))
        for signature in signatures().values()
        if signature.origin == origin
    )


def matches(
    text: str,
    origin: str,
    speaker: str | None = None,
    *,
    from_start: bool = True,
    but: Set[str] = NOTHING,
) -> list[tuple[Signature, re.Match[str]]]:
    """Every signature that words show, and where; `from_start`: from the first one on; `but`: none
    of these.
    """
    found = []
    for signature, words in _sieved(origin):
        if signature.id in but or not any(word in text for word in words):
            continue
        if signature.speaker and not signature.speaker.search(speaker or ""):
            continue
        pattern = signature.pattern
        if match := pattern.match(text) if from_start else pattern.search(text):
            found.append((signature, match))
    return found


def literals(pattern: str) -> list[str]:
    """The longest plain text of each alternative of a regular expression: outside of groups, and
    not optional.
    """
    text = re.sub(r"\[(?:\\.|[^]])*\]|\\.", "\0", pattern)
    groups = 1
    while groups:
        text, groups = re.subn(r"\([^()]*\)", "\0", text)
    return [
        max(re.split(r".\{\d+(?:,\d*)?\}|.[*?+]|[\0.^$]", part), key=len)
        for part in text.split("|")
    ]
