"""NVIDIA's Xids by number: what happened, and what helps. `xid.toml`, read.

doctor, diagnose and the supervisor judge a line by the same row. Pure, and the standard library
alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

NOTE = "gpu-xid"  # the cause of those that have none of their own
ADVICE = ("again", "never", "reboot")
UNLISTED = "a number that our table does not have"
HEAD = r"NVRM: (?:GPU at [\w:.-]{1,60}: )?Xid \([\w:. -]{1,80}\): "
REACH = 400  # characters behind the number in which `needs` and `unless` are looked for
# Read when the program starts: a package that is upgraded under it must not change what it
# understands.
_TABLE = Path(__file__).with_name("xid.toml").read_text()


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
    evidence: str = ""
    source: str = ""


@cache
def xids() -> dict[int, Xid]:
    """All of them, by number. Raises ValueError for one that stands in two entries."""
    import tomllib  # at the first death, not in every idle launcher

    found: dict[int, Xid] = {}
    for entry in tomllib.loads(_TABLE)["xid"]:
        fields: dict[str, Any] = dict(entry)
        for number in fields.pop("numbers"):
            if number in found:
                raise ValueError(f"Xid {number} stands in two entries")
            found[number] = Xid(number, **fields)
    return found


def named(number: int) -> Xid:
    """The row of a number, or one that says that there is none."""
    return xids().get(number) or Xid(number, UNLISTED)


def judge(words: str) -> Xid | None:
    """What the kernel's own words say, from the first one on; None where that is no Xid, or no
    finding.

    A line without the words that a row `needs` says no more than that it happened.
    """
    head = re.match(HEAD + r"(\d{1,5})\b", words)
    if not head:
        return None
    row, rest = named(int(head[1])), words[head.end() : head.end() + REACH]
    if row.unless and re.search(row.unless, rest):
        return None
    if row.needs and not re.search(row.needs, rest):
        return replace(row, advice="again", cause=NOTE)
    return row


def of_cause(cause: str) -> list[Xid]:
    """The rows of a cause."""
    return [row for row in xids().values() if row.cause == cause]


def pattern(cause: str) -> str:
    """A regular expression for the lines that `judge` finds to be of this cause; its group `xid` is
    the number.
    """
    numbers = [_shown(row) for row in of_cause(cause)]
    if cause == NOTE:
        numbers += [_shown(row, lacking=True) for row in xids().values() if row.needs]
        numbers.append(rf"(?!(?:{'|'.join(map(str, xids()))})\b)\d{{1,5}}\b")
    return rf"{HEAD}(?P<xid>{'|'.join(numbers)})"


def _shown(row: Xid, *, lacking: bool = False) -> str:
    """The number, with what must and must not stand behind it; `lacking`: without what it needs."""
    needs = f"(?{'!' if lacking else '='}.{{0,{REACH}}}(?:{row.needs}))" if row.needs else ""
    unless = f"(?!.{{0,{REACH}}}(?:{row.unless}))" if row.unless else ""
    return rf"{row.number}\b{needs}{unless}"
