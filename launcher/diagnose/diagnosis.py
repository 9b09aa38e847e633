"""Why a server died, from what it and the kernel left behind: the root cause, its evidence, and
what to do.

Pure, and the standard library alone: the supervisor asks at every death. What is known stands in
`knowledge/failures.toml` and those of the engines; here is only how one cause is chosen among many
complaints.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from launcher.diagnose import endings
from launcher.diagnose.hits import Hit
from launcher.diagnose.scan import LogScan
from launcher.diagnose.verdict import Diagnosis
from launcher.engines.failures import WEIGHTS
from launcher.knowledge import xid


def diagnose(lines: Iterable[str], kernel: Iterable[str] | None = None) -> Diagnosis:
    """The cause of the last death that these lines tell of; `kernel`: what the kernel itself said
    meanwhile.

    Where `kernel` is given, `lines` are what the server printed: nothing there counts for a word of
    the kernel, or of systemd, however it begins. Where it is not, they may be a mixture, and a line
    is the kernel's by its beginning.
    """
    log, apart = LogScan(is_apart=kernel is not None), LogScan(is_apart=True)
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
    speaks = log.engine
    hits = [
        hit
        for hit in log.hits.settled()
        if hit.failure.engine in ("", speaks or hit.failure.engine)
    ]
    heard = apart.hits.settled() if apart else []
    hits = [*(hit for hit in heard if hit.failure.watched), *hits]
    deadly = [hit for hit in hits if hit.weight in WEIGHTS]
    if not deadly:
        return endings.undecided(log, hits, speaks)
    has_ended = any(not hit.is_logged and not hit.is_kernels for hit in deadly)
    best = min(deadly, key=partial(_order, has_ended=has_ended))
    gravest = next((hit for hit in deadly if _wants_more(hit, best)), best)
    return endings.known(best, gravest, hits, speaks or best.failure.engine or None)


def _wants_more(hit: Hit, than: Hit) -> bool:
    """Whether the hardware wants a reboot, which what happened alone would not want."""
    is_grave = hit.weight == than.weight == "hardware" and hit.failure.then == "reboot"
    return is_grave and than.failure.then != "reboot"


def _order(hit: Hit, *, has_ended: bool) -> tuple[int, bool, bool]:
    """The smaller, the weightier: a GPU that wants a reboot may have said something milder first.
    What the driver asks for is not what happened.

    What was only logged is weaker than what a process ended of.
    """
    weight = WEIGHTS.index(hit.weight)
    if hit.is_logged and has_ended and hit.weight != "hardware":
        weight = max(weight, WEIGHTS.index("last"))
    is_hardware, is_asked = hit.weight == "hardware", hit.words.get("xid") == str(xid.ASKS)
    return weight, is_hardware and is_asked, is_hardware and hit.failure.then != "reboot"
