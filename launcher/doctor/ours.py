"""What servers of ours that are up hold of this host: of the profile's own it is no fault, and of
another one `down` is the remedy, never `kill`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from launcher.doctor import neighbours
from launcher.errors import UserError
from launcher.host import port
from launcher.host.facts import Host
from launcher.host.peer import lineage
from launcher.plan.findings import Finding, Severity
from launcher.plan.plan import Plan
from launcher.statedir.home import known, state_home
from launcher.statedir.replica import split

# What is taken by no process that could be told: with its own server up, by that one.
ROOM = ("gpu-left-over", "host-memory", "shared-memory", "memory-limit")


def spared(
    findings: Sequence[Finding], host: Host, plan: Plan, environ: Mapping[str, str]
) -> list[Finding]:
    """The findings about this host, as it is now, with those of what our servers hold in other
    words, and of what others are to hold by their plans.
    """
    told = _spared(findings, host, plan, environ)
    if not plan.state or {found.id for found in told}.isdisjoint(neighbours.JUDGED):
        return told
    beside = neighbours.all_up(Path(plan.state))
    return [neighbours.judged(found, host, plan, beside) for found in told]


def _spared(
    findings: Sequence[Finding], host: Host, plan: Plan, environ: Mapping[str, str]
) -> list[Finding]:
    failed = {found.id for found in findings if found.severity is Severity.FAIL}
    if failed.isdisjoint(("port-free", "node-rendezvous", "gpu-memory-free", *ROOM)):
        return list(findings)
    up = _up(environ)
    return [
        _judged(found, host, plan, up) if found.severity is Severity.FAIL else found
        for found in findings
    ]


def _up(environ: Mapping[str, str]) -> dict[int, str]:
    """The servers that are up, as this user can see: their names, by their launchers' pids."""
    with contextlib.suppress(UserError):
        held = [one for one in known(state_home(environ)) if one.is_held()]
        return {pid: one.name for one in held if (pid := one.look().pids.launcher)}
    return {}


def _judged(found: Finding, host: Host, plan: Plan, up: Mapping[int, str]) -> Finding:
    own = next((name for name in up.values() if _is_of(name, plan)), None)
    ports = {"port-free": plan.port, "node-rendezvous": plan.rendezvous}
    if number := ports.get(found.id):
        pid = port.holder(number)
        return _held(found, plan, {pid} if pid else (), up)
    if found.id == "gpu-memory-free":
        gpus = host.driver.gpus.otherwise(())
        return _held(found, plan, {one.pid for g in gpus for one in g.processes.otherwise(())}, up)
    if found.id in ROOM and own:
        evidence = f"{own} is up, and has its room ({found.evidence})"
        return replace(found, severity=Severity.OK, evidence=evidence, fix="")
    return found


def _held(found: Finding, plan: Plan, pids: Collection[int], up: Mapping[int, str]) -> Finding:
    """A finding about what these processes hold; as it is where one of them is none of ours."""
    names = {_whose(pid, up) for pid in pids}
    if not names or None in names:
        return found
    others = sorted(name for name in names if name and not _is_of(name, plan))
    if not others:
        is_up = f"{' and '.join(sorted(filter(None, names)))} is up, whose it is"
        return replace(found, severity=Severity.OK, evidence=f"{found.evidence}: {is_up}", fix="")
    down = " and ".join(f"`glm5-serve down --profile {name}`" for name in others)
    fix = f"{down} stops what is up there"
    other = {"port-free": "flags.port", "node-rendezvous": "nodes.port"}.get(found.id)
    return replace(found, fix=f"{fix}, or choose another port: --set {other}=N" if other else fix)


def _whose(pid: int, up: Mapping[int, str]) -> str | None:
    """The server that a process is of; it lives below its launcher."""
    with contextlib.suppress(OSError):
        return next((up[one] for one in lineage(pid) if one in up), None)
    return None


def _is_of(name: str, plan: Plan) -> bool:
    return split(name)[0] == split(plan.name)[0]
