"""The rules that choose flags and variables for a release, an architecture, a model and a host.

A rule sets what the profile left open; what a profile, the environment or `--set` say stands. The
rows are in the engine's `defaults.toml`; here is how they are read, and what is computed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from launcher.engines import traits
from launcher.engines.engine import dialect
from launcher.engines.match import When
from launcher.engines.options import version
from launcher.engines.target import ARCHS, PATHS, Target
from launcher.plan.evidence import Known


@dataclass(frozen=True)
class Case:
    """What a rule looks at: the target, and the flags and variables chosen so far."""

    target: Target
    flags: Mapping[str, Any]
    env: Mapping[str, str]
    gpus: int
    model: frozenset[str] = frozenset()  # traits of the model

    def flag(self, *names: str) -> Any:
        """The first of these flags that is set; None if none is, or it was left out on purpose."""
        return next(
            (value for name in names if (value := self.flags.get(name)) not in (None, False)), None
        )

    @property
    def traits(self) -> frozenset[str]:
        """Those of the model, and of what was chosen so far."""
        return self.model | traits.of_choices(
            self.flag,
            self.env,
            self.gpus,
            memory=self.target.memory,
            has_infiniband=self.target.infiniband is not False,
        )


@dataclass(frozen=True)
class Rule:
    """One setting, where it holds, and why; `set` is an option's canonical name or a variable's."""

    set: str
    to: Any  # a value, or a function of the case; None from that: nothing is set
    when: When
    why: str
    known: Known
    source: str
    checked: str  # the newest release for which somebody looked again
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
        arch = case.target.arch
        return arch in ARCHS and self.when.holds(arch, version(case.target.nearest), case.traits)


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


# What a row's `value_from` names.
COMPUTED: Mapping[str, Callable[[Case], Any]] = {
    "max-running-requests": lambda case: case.flag("max-running-requests"),
    "p2p-level": _p2p_level,
    "steps-plus-one": lambda case: int(case.flag("speculative-num-steps") or 0) + 1,
}


@cache
def rules(file: Path) -> tuple[Rule, ...]:
    """All rows, in the order of the file. Raises ValueError that names a row that is none."""
    rows = tomllib.loads(file.read_text(encoding="utf-8"))["default"]
    return tuple(_rule(row, f"{file.name}, row {number}") for number, row in enumerate(rows, 1))


def _rule(row: Mapping[str, Any], place: str) -> Rule:
    try:
        to = COMPUTED[row["value_from"]] if "value_from" in row else row["value"]
        return Rule(
            row["set"],
            to,
            When.of(row["when"]),
            row["why"],
            Known(row["evidence"]),
            row["source"],
            row["checked"],
            row.get("against", ""),
        )
    except (KeyError, ValueError, TypeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{place} ({row.get('set')}): {what}") from None


def chosen(case: Case, skip: tuple[str, ...] = ()) -> Iterator[tuple[Rule, Any]]:
    """The rules that set something here, and what; each sees what those before it set."""
    flags, env = dict(case.flags), dict(case.env)
    for rule in rules(dialect(case.target.engine).defaults):
        said = env if rule.is_variable else flags
        if rule.set in said or rule.set in skip:
            continue
        now = replace(case, flags=flags, env=env)
        value = (rule.to(now) if callable(rule.to) else rule.to) if rule.applies(now) else None
        if value is not None:
            said[rule.set] = value
            yield rule, value
