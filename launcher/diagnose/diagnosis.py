"""Why a server died, from what it and the kernel left behind: the root cause, its evidence, and
what to do.

Pure, and the standard library alone: the supervisor asks at every death. What is known stands in
`signatures.toml`; here is only how one cause is chosen among many complaints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher import printable
from launcher.diagnose.scan import EVIDENCE, Hit, LogScan
from launcher.diagnose.signatures import WEIGHTS
from launcher.knowledge import xid

UNKNOWN = "unknown"
NOTHING = "no known failure in this log"
KERNEL_KNOWS = (  # than anybody under the unit, which keeps that from us
    "`journalctl -k` may tell more"
)
LEFT = "no known cause; the last words of"
# Why a supervisor kills a server whose log knows of no cause (lifecycle.Stopping.cause), and what
# to do then.
KILLED_FOR = {
    "hang": (
        "look at the stacks that were kept; `glm5-serve doctor --deep` proves the way between the"
        " GPUs"
    ),
    "process-lost": (
        "`journalctl -k` for its OOM killer, a segfault, an SXid; PYTHONFAULTHANDLER=1 tells more"
    ),
    "wrong-output": (
        "check KV dtype and attention backend (`glm5-serve lint`), then `glm5-serve model DIR"
        " --hash`"
    ),
    "gpu-fault": (
        "do what the kernel's line asks for (`glm5-serve events --kind gpu`) before the next start"
    ),
}


@dataclass(frozen=True)
class Diagnosis:
    """What is believed: `cause` is a signature's id or "unknown"; `then` what a supervisor should
    do about it.

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
    origin: str | None = None  # whose word it is: the kernel's, or the server's
    line: int = 0  # the number of the one that said so first
    also: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether a signature was recognized."""
        return self.cause != UNKNOWN

    def or_else(self, cause: str, what: str) -> Diagnosis:
        """Itself, if it knows; else with a cause of KILLED_FOR, the last lines kept.

        That a process was lost says less than the words that it left.
        """
        if self.is_known or not cause or (cause == "process-lost" and self.what.startswith(LEFT)):
            return self
        return replace(self, cause=cause, what=what, fix=KILLED_FOR[cause])

    @property
    def in_short(self) -> str:
        """One line for a state file or an event: what it is, and the words of the log that say
        so.
        """
        if self.cause in KILLED_FOR:
            return self.what
        said = f" ({self.evidence[0][:200]})" if self.evidence else ""
        return f"{self.cause}: {self.what}{said}"


def diagnose(lines: Iterable[str], kernel: Iterable[str] | None = None) -> Diagnosis:
    """The cause of the last death that these lines tell of; `kernel`: what the kernel itself said
    meanwhile.

    Where `kernel` is given, nothing in `lines` counts for a word of the kernel, however it begins.
    Where it is not, they may be a mixture, and a line is the kernel's by its beginning.
    """
    log, apart = LogScan(), LogScan()
    for line in lines:
        log.take(line, by_kernel=None if kernel is None else False)
    for line in kernel or ():
        apart.take(line, by_kernel=True)
    return judge(log, apart)


def judge(log: LogScan, apart: LogScan | None = None) -> Diagnosis:
    """The cause that a log tells of, and one of the kernel's own words, if they came `apart`.

    The weightiest complaint wins, and the first one among equals: what a rank's exception does to
    the other ranks comes after it. A log of several starts is judged by its last one.
    """
    log.close()
    hits = [*(apart.settled() if apart else ()), *log.settled()]
    deadly = [hit for hit in hits if hit.weight in WEIGHTS]
    if not deadly:
        return _unknown(log, hits)
    best = min(deadly, key=_order)
    signature = best.signature
    return Diagnosis(
        signature.id,
        _what(best),
        tuple(best.lines.values())[:EVIDENCE],
        _fix(best),
        signature.then,
        signature.knob,
        signature.known,
        signature.source,
        signature.origin,
        best.line,
        also=tuple(
            dict.fromkeys(hit.signature.id for hit in hits if hit.signature is not signature)
        ),
    )


def _order(hit: Hit) -> tuple[int, bool]:
    """The smaller, the weightier: a GPU that wants a reboot may have said something milder
    first.
    """
    return WEIGHTS.index(hit.weight), hit.weight == "hardware" and hit.signature.then != "reboot"


def _xid(hit: Hit) -> xid.Xid | None:
    number = hit.words.get("xid", "")
    return xid.named(int(number)) if number.isdecimal() else None


def _what(hit: Hit) -> str:
    """What it is; of an Xid, what the table says of that number."""
    row = _xid(hit)
    return f"{row.what} (Xid {row.number})" if row else _filled(hit.signature.what, hit.words)


def _fix(hit: Hit) -> str:
    row = _xid(hit)
    return (row and row.fix) or _filled(hit.signature.fix, hit.words)


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text


def _unknown(log: LogScan, notes: Iterable[Hit]) -> Diagnosis:
    """Nothing recognized: the last words of the rank that died first, or of all when nothing tells
    of a death.
    """
    notes = list(notes)
    seen = {hit.signature.id: hit.weight for hit in notes}
    fix = (
        "the lines above are the last of what died first: report them with `glm5-serve bundle`;"
        f" {KERNEL_KNOWS}"
    )
    words = log.death.lines if log.death else log.last
    if log.death:
        what = f"{LEFT} {log.death.speaker or 'what died first'}"
    elif "consequence" in seen.values():
        what = "no known cause: who died first left no word here; the last words of all"
    else:
        nobody = "no line of it is the server's, or the kernel's" if log.taken else "it is empty"
        what = f"{NOTHING}; the last words" if words else f"{NOTHING}: {nobody}"
        fix = f"if it did die: give the log of that start, or `glm5-serve bundle`; {KERNEL_KNOWS}"
    what += "".join(f"; the kernel: {_what(hit)}" for hit in notes if _xid(hit))
    return Diagnosis(
        UNKNOWN, what, tuple(printable.line(line).strip() for line in words), fix, also=tuple(seen)
    )


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
        "origin": diagnosis.origin,
        "also": list(diagnosis.also),
    }
