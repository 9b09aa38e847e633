"""The rules that choose flags and variables for a release, an architecture, a model and a host.

A rule sets what the profile left open; what a profile, the environment or `--set` say stands. The
rows are in the engine's `defaults.toml`, and for any engine in `knowledge/defaults.toml`; here is
how they are read, and what is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from launcher.engines.engine import dialect
from launcher.engines.match import Case, When
from launcher.engines.target import ARCHS, PATHS
from launcher.knowledge import rows
from launcher.plan.evidence import Known

OF_ANY = Path(__file__).parents[1] / "knowledge/defaults.toml"
LEAVES = 20  # seconds that a server takes at most to go, once it has answered everybody
LEFT_OUT = ("what", "when", "evidence", "source", "checked")
KEYS = ("set", "value", "value_from", "when", "why", "evidence", "source", "checked", "against")


@dataclass(frozen=True)
class Rule:
    """One setting, where it holds, and why; `set` is an option's canonical name or a variable's."""

    set: str
    to: Any  # a value, or a function of the case; None from that: nothing is set
    when: When
    why: str
    known: Known
    source: str
    checked: str  # the newest release for which somebody looked again; a day, of any engine
    against: str = ""  # what others say

    @property
    def is_variable(self) -> bool:
        """Whether it sets a variable and no flag."""
        return self.set.isupper()

    @property
    def condition(self) -> str:
        """Where it holds, in words."""
        return str(self.when)

    def applies(self, case: Case) -> bool:
        """Whether it holds there; nowhere but on Blackwell."""
        return case.target.arch in ARCHS and self.when.suits(case)


@dataclass(frozen=True)
class LeftOut:
    """What an operating point would have and is not chosen there, and why."""

    what: str
    when: When
    known: Known
    source: str
    checked: str

    def __str__(self) -> str:
        return f"{self.what} ({self.known}: {self.source})"


def _p2p_level(case: Case) -> str | None:
    """The nearest level that joins the GPUs farthest apart; two bridges of one node (NODE) are PHB
    to NCCL.
    """
    farthest, nodes = case.target.farthest, case.target.numa_nodes
    if farthest is None:
        return "PHB" if nodes == 1 else "SYS"
    if PATHS.index(farthest) <= PATHS.index("PXB"):
        return None  # NCCL's own default goes that far
    return "PHB" if farthest in ("PHB", "NODE") else "SYS"


def _drain_timeout(case: Case) -> int | None:
    """Seconds that requests may take to end, so that the server is gone before its launcher kills
    it.
    """
    return max(1, int(case.policy.stop_timeout) - LEAVES) if case.policy else None


def _of_a_group(case: Case) -> int | None:
    """The requests that one group of attention DP runs, of all that may run."""
    told = str(case.flag("max-running-requests") or "")
    groups = case.number("dp-size") if case.flag("enable-dp-attention") else None
    return max(1, int(told) // int(groups or 1)) if told.isdecimal() else None


def _ring(case: Case) -> str | None:
    """The order of the GPUs that was measured to be faster; None where that of the bus is as good,
    or nobody measured it.
    """
    seen = case.target.measured
    order = seen.order if seen and seen.ranks == case.gpus and not seen.broken else ()
    return ",".join(map(str, order)) or None


# What a row's `value_from` names.
COMPUTED: Mapping[str, Callable[[Case], Any]] = {
    "requests-of-a-group": _of_a_group,
    "tp-size": lambda case: case.flag("tp-size"),
    "p2p-level": _p2p_level,
    "measured-order": _ring,
    "start-timeout": lambda case: case.policy and math.ceil(case.policy.start_timeout),
    "drain-timeout": _drain_timeout,
    "steps-plus-one": lambda case: int(case.flag("speculative-num-steps") or 0) + 1,
}


def table(file: Path) -> rows.Table[Rule]:
    """The good rows of a file, in its order; and what is wrong with the others."""
    return _tables(file)[0]


def left_out(file: Path) -> rows.Table[LeftOut]:
    """What a file's rules leave out of an operating point; and what is wrong with other rows."""
    return _tables(file)[1]


@cache
def _tables(file: Path) -> tuple[rows.Table[Rule], rows.Table[LeftOut]]:
    told = rows.parsed(file)
    rules = rows.read(told, "default", _of_any if file == OF_ANY else _of_engine)
    return rules, rows.read(told, "left-out", _left_out)


def _left_out(number: str | int, row: Mapping[str, Any]) -> LeftOut:
    rows.only(row, LEFT_OUT)
    when, known = When.of(row["when"]), Known.of(row["evidence"])
    return LeftOut(rows.text("what", row["what"]), when, known, row["source"], rows.release(row))


def reasons(case: Case) -> Iterator[LeftOut]:
    """What the operating point of a case would have and does not get, each with its reason."""
    if case.target.arch in ARCHS:
        every = left_out(dialect(case.target.engine).defaults).rows
        yield from (row for row in every if row.when.suits(case))


def rules(engine: str) -> tuple[Rule, ...]:
    """All of an engine that can be read, those of any engine last."""
    return table(dialect(engine).defaults).rows + table(OF_ANY).rows


def _of_engine(number: str | int, row: Mapping[str, Any]) -> Rule:
    return _rule(row, rows.release(row))


def _of_any(number: str | int, row: Mapping[str, Any]) -> Rule:
    return _rule(row, str(rows.day(row)))


def _rule(row: Mapping[str, Any], checked: str) -> Rule:
    rows.only(row, KEYS)
    return Rule(
        rows.text("set", row["set"]),
        COMPUTED[row["value_from"]] if "value_from" in row else row["value"],
        When.of(row["when"]),
        row["why"],
        Known.of(row["evidence"]),
        row["source"],
        checked,
        row.get("against", ""),
    )


def _negated(name: str, case: Case) -> bool:
    """Whether the profile says the contrary of an option."""
    option = case.target.known.options.get(f"--{name}")
    return any(off.lstrip("-") in case.flags for off in option.off) if option else False


def chosen(case: Case, skip: tuple[str, ...] = ()) -> Iterator[tuple[Rule, Any]]:
    """The rules that set something here, and what; each sees what those before it set."""
    if case.target.arch not in ARCHS:  # no rule applies there, and none need be read
        return
    flags, env = dict(case.flags), dict(case.env)
    now = replace(case, flags=flags, env=env)
    for rule in rules(case.target.engine):
        said = env if rule.is_variable else flags
        if rule.set in said or rule.set in skip or _negated(rule.set, case):
            continue
        value = (rule.to(now) if callable(rule.to) else rule.to) if rule.applies(now) else None
        if value is not None:
            said[rule.set] = value
            now = replace(case, flags=flags, env=env)  # its traits are others now
            yield rule, value
