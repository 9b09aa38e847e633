"""Why a server died, from what it and the kernel left behind: the root cause, its evidence, and what to do.

Pure, and the standard library alone: the supervisor asks at every death. What is known stands in
`signatures.toml`; here is only how one cause is chosen among many complaints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

WEIGHTS = ("hardware", "host", "cause", "generic", "last")  # "consequence" and "note" are never the cause
UNKNOWN = "unknown"
LONGEST = 2000  # characters that are looked at; server_args is one line of 18,000, and names everything
EVIDENCE = 4  # lines that are shown for a cause
LAST_LINES = 12  # of the rank that died first, when nothing is recognized
# Read when the program starts: a package that is upgraded under it must not change what it understands.
_TABLE = Path(__file__).with_name("signatures.toml").read_text()
# SGLang: "[2026-01-29 00:56:20 TP6]". vLLM: "(Worker_TP1 pid=1360047) ERROR 03-05 09:56:09 [x.py:880]".
_RANK = re.compile(r"^\[[\d: .-]+ ((?:[DTPE]P\d+ ?)+)\]|^\((?:\w+ )?(Worker\w*|EngineCore\w*)[ )]")
_DEATH = re.compile(
    r"hit an exception|crashed with exit code|failed to start|Traceback \(most recent|died during init"
)
_START = re.compile(r"server_args=ServerArgs\(|server_args=\{|Initializing a V1 LLM engine|^=== glm5-serve: run ")


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
    needs: re.Pattern[str] | None = None  # another line must match this, too


@dataclass(frozen=True)
class Diagnosis:
    """What is believed: `cause` is a signature's id or "unknown"; `then` what a supervisor should do about it.

    `then` is never (the same start fails again), again, or reboot (the host first).
    """

    cause: str
    what: str
    evidence: tuple[str, ...]
    fix: str
    then: str = "again"
    knob: str | None = None
    known: str | None = None
    source: str | None = None
    also: tuple[str, ...] = field(default=())

    @property
    def is_known(self) -> bool:
        """Whether a signature was recognized."""
        return self.cause != UNKNOWN

    @property
    def in_short(self) -> str:
        """One line for a state file or an event: what it is, and the words that say so."""
        said = f" ({self.evidence[0][:200]})" if self.evidence else ""
        return f"{self.cause}: {self.what}{said}"


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


@cache
def _any() -> re.Pattern[str]:
    """One pattern for all, so that an innocent line is looked at once. Group names may not come twice."""
    parts = []
    for signature in signatures().values():
        text = re.sub(r"\(\?P<\w+>", "(", signature.pattern.pattern)
        parts.append(f"(?i:{text[4:]})" if text.startswith("(?i)") else f"(?:{text})")
    return re.compile("|".join(parts))


def diagnose(lines: Iterable[str]) -> Diagnosis:
    """The cause of the last death that these lines tell of.

    The weightiest complaint wins, and the first one among equals: what a rank's exception does to the other
    ranks comes after it. A log of several starts is judged by its last one.
    """
    kept = _last_start(lines)
    hits = [(index, signature, match) for index, line in enumerate(kept) for signature, match in _matches(line)]
    hits = [hit for hit in hits if hit[1].needs is None or any(hit[1].needs.search(line) for line in kept)]
    deadly = [hit for hit in hits if hit[1].weight in WEIGHTS]
    if not deadly:
        return _unknown(kept, hits)
    _, signature, match = min(deadly, key=lambda hit: (WEIGHTS.index(hit[1].weight), hit[0]))
    words = {name: text or "?" for name, text in match.groupdict().items()}
    evidence = _distinct(kept[i].strip() for i, other, _ in hits if other.id == signature.id)
    also = tuple(dict.fromkeys(other.id for _, other, _ in hits if other.id != signature.id))
    return Diagnosis(
        signature.id,
        _filled(signature.what, words),
        evidence,
        _filled(signature.fix, words),
        signature.then,
        signature.knob,
        signature.known,
        signature.source,
        also,
    )


def _matches(line: str) -> list[tuple[Signature, re.Match[str]]]:
    if not _any().search(line):
        return []
    found = ((signature, signature.pattern.search(line)) for signature in signatures().values())
    return [(signature, match) for signature, match in found if match]


def _last_start(lines: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if _START.search(line[:LONGEST]) and "server_args" not in "".join(kept[-1:]):
            kept = [line for line in kept if "NVRM" in line or "oom" in line]  # the kernel's word stands
        kept.append(line[:LONGEST])
    return kept


def _filled(text: str, words: dict[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def _distinct(lines: Iterable[str]) -> tuple[str, ...]:
    """The first few that differ in more than their rank and time."""
    seen: dict[str, str] = {}
    for line in lines:
        seen.setdefault(re.sub(r"^\[[^\]]*\]:? ?", "", line), line)
    return tuple(seen.values())[:EVIDENCE]


def _unknown(kept: list[str], notes: list[tuple[int, Signature, re.Match[str]]]) -> Diagnosis:
    """Nothing recognized: the last words of the rank that died first."""
    also = tuple(dict.fromkeys(signature.id for _, signature, _ in notes))
    death = next((index for index, line in enumerate(kept) if _DEATH.search(line)), None)
    rank = _rank(kept[death]) if death is not None else None
    if death is None:
        last, who = [line for line in kept if line.strip()][-LAST_LINES:], "it"
    else:
        last, who = _own_words(kept, death, rank), rank or "the process that died first"
    fix = "report it with `glm5-serve bundle`: the lines above are the last of what died first"
    what = f"no known cause; the last words of {who}" if last else "no known cause: there is nothing to read"
    return Diagnosis(UNKNOWN, what, tuple(line.strip() for line in last), fix, also=also)


def _own_words(kept: list[str], death: int, rank: str | None) -> list[str]:
    """The end of the block that begins at the death: up to the next line of another speaker."""
    block = [kept[death]]
    for line in kept[death + 1 :]:
        if line.startswith("[") and _rank(line) != rank:
            break
        block.append(line)
    return [line for line in block if line.strip()][-LAST_LINES:]


def _rank(line: str) -> str | None:
    found = _RANK.match(line)
    return (found[1] or found[2]).strip() if found else None


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON data."""
    return {
        "schema": 1,
        "cause": diagnosis.cause,
        "what": diagnosis.what,
        "evidence": list(diagnosis.evidence),
        "fix": diagnosis.fix,
        "knob": diagnosis.knob,
        "then": diagnosis.then,
        "known": diagnosis.known,
        "source": diagnosis.source,
        "also": list(diagnosis.also),
    }
