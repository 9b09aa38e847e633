"""What doctor thinks of what was observed.

A check is a function of a host and a plan: its name is its id.

Its docstring is its explanation: a title that is true of a healthy host, why it matters, and how
that is known, in words that doctor, lint, fit and diagnose share: tested (our tests execute it),
observed (of a host or log that we hold), reported (by others), source (read there, not run).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from launcher.doctor import group
from launcher.doctor.checks import (
    access,
    checkpoint,
    disks,
    driver,
    engine,
    gpu,
    health,
    iommu,
    issues,
    kernel,
    links,
    nccl,
    nodes,
    peers,
    rows,
    system,
)
from launcher.doctor.checks.judging import Verdict
from launcher.engines.engine import NAMES
from launcher.engines.issues import Issue, every_issue
from launcher.errors import Exit, UserError
from launcher.host.facts import Host, UnobservedError
from launcher.plan.findings import Finding, Severity
from launcher.plan.plan import Plan

MODULES: tuple[ModuleType, ...] = (
    driver,
    gpu,
    health,
    iommu,
    links,
    peers,
    nccl,
    nodes,
    system,
    disks,
    kernel,
    engine,
    issues,
    checkpoint,
    access,
)
# They judge GPUs and what lies between them: nothing to a server that runs on the CPU.
OF_GPUS = (driver, gpu, health, iommu, links, peers, nccl)
NEEDS_GPUS = {
    "engine-pins",
    "engine-cuda",
    "engine-flashinfer",
    "engine-loader",
    "engine-compilers",
    "engine-caches",
    "engine-first-start",
}
# They judge what a profile asks for: nothing where none is for the GPUs that there are.
OF_A_PROFILE = (nodes, engine, issues, checkpoint, access)
OF_GPUS_ALONE = {"engine-cuda"}  # what is installed either knows the GPUs or does not
# Without these nothing can be served, or nobody should be: no --allow lets one fail.
REQUIRED = {
    "engine-python",
    "engine-installed",
    "model-folder",
    "model-config",
    "port-free",
    "access-guarded",
    "access-key",
}


@dataclass(frozen=True)
class Check:
    """A check with the parts of its explanation."""

    id: str
    group: str
    title: str
    why: str
    known: str
    judge: Callable[[Host, Plan], Verdict] | None = (
        None  # None: `--deep` finds it out by moving data
    )
    of_gpus: bool = False
    of_profile: bool = False
    of_nodes: bool = False
    required: bool = False  # no --allow lets it fail


_RUN_HERE = (
    "Tested: over gloo on a CPU, with ranks that hang, die and answer wrongly. Not on Blackwell."
)
LIVE = (
    Check(
        "deep-start",
        "moving data",
        "The engine's torch sees every GPU.",
        "A rank cannot use a GPU that torch does not see.",
        _RUN_HERE,
    ),
    Check(
        "deep-copy",
        "moving data",
        "Data copied between every pair of GPUs arrives unchanged.",
        "The driver and topology call peer-to-peer OK on hosts where no byte moves, or others"
        " arrive.",
        _RUN_HERE,
    ),
    Check(
        "deep-copy-speed",
        "moving data",
        "Copies between GPUs run at the links' speed.",
        "A pair at half speed is a link or a redirect: all ranks wait for it.",
        "Reported: 39 to 56 GB/s on healthy hosts of eight RTX PRO 6000 (rtx6kpro).",
    ),
    Check(
        "deep-init",
        "moving data",
        "All ranks find each other.",
        "A rank that waits for another one waits for ever, at full load.",
        _RUN_HERE,
    ),
    Check(
        "deep-all-reduce",
        "moving data",
        "An all-reduce of every size gives the right sum on every rank.",
        "This is what hangs on hosts where every tool says OK; wrong sums are garbled answers.",
        _RUN_HERE,
    ),
    Check(
        "deep-all-reduce-speed",
        "moving data",
        "An all-reduce runs as fast as on healthy hosts.",
        "Each token waits for two of them a layer.",
        "Reported: busbw 37.6 to 41.1 GB/s on healthy hosts of eight RTX PRO 6000 (rtx6kpro).",
    ),
    Check(
        "deep-all-reduce-paths",
        "moving data",
        "The all-reduce that the plan uses is the faster one for decoding.",
        "PCIe IPC is 38 times as fast as NCCL on some hosts, and slower where a link is; what is"
        " measured is kept, and the rules go by it.",
        "Source: FlashInfer, as both engines use it. Tested: on recorded figures, and by two ranks"
        " on one H200; not between GPUs.",
    ),
)
# Of several hosts together: `doctor/group.py`.
TOGETHER = tuple(
    Check(id, group.GROUP, title, group.WHY, group.KNOWN) for id, title in group.explained()
)


@cache
def every_check(engines: Sequence[str] = NAMES) -> tuple[Check, ...]:
    """All checks, the known issues of these engines among them, those of `--deep`, and those of
    several hosts.
    """
    facts = (one for check in checks() for one in (check, *_beside(check, engines)))
    return (*facts, *LIVE, *TOGETHER)


def _beside(check: Check, engines: Sequence[str]) -> tuple[Check, ...]:
    """The known issues, each as a check of its own, after the one that counts them."""
    return tuple(map(_of_row, every_issue(engines))) if check.judge is issues.known_issues else ()


def _of_row(row: Issue) -> Check:
    why, known = rows.condition(row), rows.source(row)
    return Check(row.id, issues.GROUP, rows.title(row), why, known)


@cache
def checks() -> tuple[Check, ...]:
    """All that judge facts, in the order in which they are reported."""
    return tuple(
        _check(function, module)
        for module in MODULES
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not name.startswith("_")
        if list(inspect.signature(function).parameters) == ["host", "plan"]
    )


def _check(function: Callable[[Host, Plan], Verdict], module: ModuleType) -> Check:
    id = function.__name__.replace("_", "-")
    title, *rest = [
        " ".join(part.split()) for part in inspect.cleandoc(function.__doc__ or "").split("\n\n")
    ]
    why, known = [*rest, "", ""][:2]
    of_gpus = module in OF_GPUS or id in NEEDS_GPUS
    return Check(
        id,
        module.GROUP,
        title,
        why,
        known,
        function,
        of_gpus,
        module in OF_A_PROFILE and id not in OF_GPUS_ALONE,
        module is nodes,
        id in REQUIRED,
    )


def known_ids(ids: Iterable[str]) -> None:
    """Raises UserError (usage) for an id that no check has."""
    asked = [*ids]
    every = [check.id for check in every_check()] if asked else []
    for id in asked:
        if id not in every:
            near = difflib.get_close_matches(id.lower(), every, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UserError(
                f"no check {id}", fix=f"{hint}`glm5-serve checks` lists them", status=Exit.USAGE
            )


def judge(
    host: Host,
    plan: Plan,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    allow: Iterable[str] = (),
) -> list[Finding]:
    """What all checks, or those named, say of a host that shall run a plan.

    A check that breaks is a finding.

    A required one may not fail, whatever is allowed.
    """
    allowed = {*allow, *plan.allowed}
    every = every_check() if only else every_check((plan.engine,))
    asked = [check for check in every if not only or check.id in only]
    told = _issues(host, plan) if plan.name else {}
    return [
        _finding(check, host, plan, told, check.id in allowed and not check.required)
        for check in asked
        if check.id not in skip
        and (plan.gpus or not check.of_gpus)
        and (plan.name or not check.of_profile)
        and (nodes.is_wide(plan) or not check.of_nodes)
        and (
            check.judge
            or check.id in told
            or (check.id in only and check not in (*LIVE, *TOGETHER))
        )
    ]


def unmade(id: str, plan: Plan) -> str:
    """Why a check that exists says nothing of a plan."""
    check = next(check for check in every_check() if check.id == id)
    if check in LIVE:
        return "--deep makes it"
    if check in TOGETHER:
        return "of several hosts together: --facts of each, or --hosts"
    if check.of_gpus and not plan.gpus:
        return f"{plan.name} is for no GPU"
    if check.of_profile and not plan.name:
        return "judged without a profile"
    if check.of_nodes and not nodes.is_wide(plan):
        return f"{plan.name} is for one host"
    return "left out"


def _issues(host: Host, plan: Plan) -> Mapping[str, Sequence[Issue]]:
    try:
        return rows.found(host, plan)
    except Exception:  # known_issues breaks on the same, and says so
        return {}


def _finding(
    check: Check,
    host: Host,
    plan: Plan,
    told: Mapping[str, Sequence[Issue]],
    allowed: bool,
) -> Finding:
    try:
        said = check.judge(host, plan) if check.judge else _of_issue(check, told)
    except UnobservedError as error:
        said = Verdict(Severity.UNKNOWN, str(error))
    except Exception as error:
        said = Verdict(
            Severity.UNKNOWN,
            f"the check itself failed: {type(error).__name__}: {error}",
            "report it with the output of `glm5-serve facts`",
        )
    return Finding(
        check.id,
        said.severity,
        check.title,
        said.evidence,
        said.fix,
        check.why if check.judge else "",  # of a row the evidence says it
        check.group,
        allowed,
    )


def _of_issue(check: Check, told: Mapping[str, Sequence[Issue]]) -> Verdict:
    if check.id in told:
        return rows.verdict(told[check.id])
    return Verdict(Severity.OK, "does not concern this profile")
