"""What is believed of a death: the cause, its evidence, and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from launcher.knowledge import families

UNKNOWN = "unknown"
LEFT = "no known cause; the last lines of"
KERNEL_KNOWS = (  # than anybody under the unit, which keeps that from us
    "`journalctl -k` may tell more"
)
ELSE = f"if it did die: give the log of that start, or `glm5-serve bundle`; {KERNEL_KNOWS}"
# The same of one that was seen to die: there is no if.
DIED = (
    "`glm5-serve logs` has more of its last lines: report them with `glm5-serve bundle`;"
    f" {KERNEL_KNOWS}"
)
SERVED = "it still serves at its end"
# Why a supervisor kills a server whose log knows of no cause (states.Stopping.cause), and what
# to do then.
KILLED_FOR = {
    "hang": (
        "look at the stacks that were kept; `glm5-serve doctor --deep` proves the way between the"
        " GPUs"
    ),
    "process-lost": (
        "`journalctl -k` for its OOM killer, a segfault, an SXid; PYTHONFAULTHANDLER=1 tells more"
    ),
    "reaper-killed": (
        "none is needed, a new server comes with a new reaper; who sent the signal: `journalctl -k`"
        " for the OOM killer, else whoever may signal this user's processes (a script's `pkill`)"
    ),
    "node-lost": (
        "look at that host, its link and the switch; `glm5-serve doctor` there says whether it"
        " still is a node of this plan"
    ),
    "wrong-output": (
        "check KV dtype and attention backend (`glm5-serve lint`), then `glm5-serve model DIR"
        " --hash`; of one that was right at first, look at the GPUs (`glm5-serve doctor`)"
    ),
    "slow-output": (
        "`glm5-serve doctor` for clocks, power and links of the GPUs; `glm5-serve events --kind"
        " canary` has the signs"
    ),
    "gpu-fault": (
        "do what the kernel's line asks for (`glm5-serve events --kind gpu`) before the next start"
    ),
}


@dataclass(frozen=True)
class Diagnosis:
    """What is believed: `cause` is the id of a failure or "unknown"; `then` what a supervisor
    should do about it.

    `then` is never (the same start fails again), again, or reboot (the host first).
    """

    cause: str
    family: str  # of families.FAMILIES
    what: str
    evidence: tuple[str, ...]
    fix: str
    then: str = "again"
    knob: str | None = None
    known: str | None = None
    source: str | None = None
    origin: str | None = None  # whose word it is: the kernel's, or the server's
    engine: str | None = None  # whose log it is
    phase: str | None = None  # where in its life the server was
    line: int = 0  # the number of the one that said so first
    also: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether a failure was recognized."""
        return self.cause != UNKNOWN

    def or_else(self, cause: str, what: str) -> Diagnosis:
        """Itself, if it knows; else with a cause of KILLED_FOR, the last lines kept.

        That a process was lost says less than the words that it left.
        """
        if self.is_known or not cause or (cause == "process-lost" and self.what.startswith(LEFT)):
            return self
        return replace(self, cause=cause, what=what, fix=KILLED_FOR[cause])

    def of_death(self) -> Diagnosis:
        """The same as the word of who saw the server die: its log alone may leave that open."""
        what = self.what.replace(SERVED, "it served up to its end")
        return replace(self, what=what, fix=self.fix.replace(ELSE, DIED))

    @property
    def in_short(self) -> str:
        """One line for a state file or an event: what it is, and the words of the log that say
        so.
        """
        if self.cause in KILLED_FOR:
            return self.what
        said = f" ({self.evidence[0][:200]})" if self.evidence else ""
        return f"{self.cause}: {self.what}{said}"


def to_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON data."""
    return {
        "schema": 1,
        "cause": diagnosis.cause,
        "family": diagnosis.family,
        "what": diagnosis.what,
        "evidence": list(diagnosis.evidence),
        "fix": diagnosis.fix,
        "knob": diagnosis.knob,
        "then": diagnosis.then,
        "known": diagnosis.known,
        "source": diagnosis.source,
        "origin": diagnosis.origin,
        "engine": diagnosis.engine,
        "phase": diagnosis.phase,
        "also": list(diagnosis.also),
    }


def in_words(diagnosis: Diagnosis) -> str:
    """What kind of end it was."""
    return families.FAMILIES[diagnosis.family]
