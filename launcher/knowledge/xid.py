"""NVIDIA's Xids by number: what happened, and what helps. `xid.toml`, read.

doctor, diagnose and the supervisor judge a line by the same row. Pure, and the standard library
alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import rows

NOTE = "gpu-xid"  # the cause of those that have none of their own
ADVICE = ("again", "never", "reboot")
ASKS = 154  # "GPU recovery action changed": what is to be done, not what happened
UNLISTED = "a number that our table does not have"
_HEAD = re.compile(r"NVRM: (?:GPU at [\w:.-]{1,60}: )?Xid \([\w:. -]{1,80}\): (\d{1,5})\b")
_KEYS = (
    "numbers what mnemonic advice sound cause needs unless fix sign sign_fix evidence"
    " source".split()
)
REACH = 400  # characters behind the number in which these patterns are looked for
_FILE = rows.kept(Path(__file__).with_name("xid.toml"))
_PREVIOUS = re.compile(r"caused by previous Xid (\d{1,5})\b")


@dataclass(frozen=True)
class Xid:
    """One number, as `xid.toml` tells it, or as much of it as a line shows."""

    number: int
    what: str
    mnemonic: str = ""
    advice: str = "again"
    sound: bool = True
    cause: str = NOTE
    needs: str | None = None
    unless: str | None = None
    fix: str | None = None
    sign: str | None = None
    sign_fix: str | None = None
    evidence: str = ""
    source: str = ""


@cache
def table() -> rows.Table[tuple[Xid, ...]]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(_FILE, "xid", _made, lambda row: (f"Xid {each.number}" for each in row))


def _made(key: str | int, row: Mapping[str, Any]) -> tuple[Xid, ...]:
    rows.only(row, _KEYS)
    if row["advice"] not in ADVICE:
        raise ValueError(f"advice: {row['advice']!r} is not one of {', '.join(ADVICE)}")
    for name in ("needs", "unless", "sign"):
        rows.pattern(name, row.get(name, ""))
    fields = {name: value for name, value in row.items() if name != "numbers"}
    rows.text("what", row["what"])
    return tuple(Xid(int(number), **fields) for number in row["numbers"])


@cache
def xids() -> dict[int, Xid]:
    """All of them, by number."""
    return {each.number: each for row in table().rows for each in row}


def named(number: int) -> Xid:
    """The row of a number, or one that says that there is none."""
    return xids().get(number) or Xid(number, UNLISTED)


def judge(words: str) -> Xid | None:
    """What the kernel's own words say, from the first one on; None where that is no Xid, or no
    finding.

    A line without the words that a row `needs` says no more than that it happened. One that names
    the Xid before it as its cause is of that one, which ended work, whatever its own line said.
    """
    head = _HEAD.match(words)
    if not head:
        return None
    row, rest = named(int(head[1])), words[head.end() : head.end() + REACH]
    if (previous := _PREVIOUS.search(rest)) and int(previous[1]) in xids():
        return named(int(previous[1]))
    if row.unless and re.search(row.unless, rest):
        return None
    if row.needs and not re.search(row.needs, rest):
        return replace(row, advice="again", cause=NOTE)
    if row.sign and re.search(row.sign, rest):
        return replace(row, fix=row.sign_fix)
    return row


def of_cause(cause: str) -> list[Xid]:
    """The rows of a cause."""
    return _by_cause().get(cause, [])


@cache
def _by_cause() -> dict[str, list[Xid]]:
    found: dict[str, list[Xid]] = {}
    for row in xids().values():
        found.setdefault(row.cause, []).append(row)
    return found
