"""Other servers of ours on this host, and what their plans take of it. While one loads, neither its
port nor the memory of its GPUs tells of it.

This user's own are believed what their plans say. Of another user's launcher the kernel tells who
it is, and nothing that he wrote is read: whose GPUs it is to have only the driver knows, later.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import counting, printable
from launcher.address import canonical, is_any
from launcher.doctor.checks.judging import sample
from launcher.engines.placement import devices
from launcher.errors import UserError
from launcher.files import ownership
from launcher.gateway.instances import plan_of
from launcher.host import port
from launcher.host.facts import Gpu, Host
from launcher.host.peer import lineage
from launcher.plan.findings import Finding, Severity
from launcher.plan.plan import Plan
from launcher.statedir import namelock
from launcher.statedir.folder import NAME, StateDir
from launcher.statedir.home import known
from launcher.statedir.processes import launchers
from launcher.statedir.status import BEING_LAUNCHED

JUDGED = ("port-free", "gpu-memory-free")  # what plans tell of before the host does
JUDGED_WITHIN = 60.0  # seconds for an `up` that came first to judge the host
TOLD_AFTER = 2.0
LOOK_EVERY = 0.1


@dataclass(frozen=True)
class Neighbour:
    """A server that is up; `plan`: what it takes, None where that is not known (yet). `is_near`:
    it is of the state home from which it was looked for.
    """

    instance: StateDir
    pid: int | None
    uid: int
    plan: Plan | None
    is_near: bool

    @property
    def is_ours(self) -> bool:
        return self.uid == os.geteuid()

    def __str__(self) -> str:
        whose = [] if self.is_ours else [ownership.user(self.uid)]
        told = [*whose, *([f"launcher pid {self.pid}"] if self.pid else [])]
        name = printable.line(self.instance.name)
        return f"{name} ({', '.join(told)})" if told else name

    @property
    def down(self) -> str:
        """The command that stops it."""
        name, home = self.instance.name, self.instance.folder.parent
        if self.is_near:
            return f"`glm5-serve down --profile {name}`"
        words = ["env", f"GLM5_SERVE_STATE_DIR={home}", "glm5-serve", "down", "--profile", name]
        sudo = [] if self.is_ours else ["sudo"]
        return f"`{printable.line(shlex.join([*sudo, *words]))}`"


def all_up(own: Path) -> list[Neighbour]:
    """Every server that is up but that in the folder `own`: those of its state home, and all whose
    launchers are to be seen.
    """
    found: dict[Path, Neighbour] = {}
    for instance in known(own.parent):
        with contextlib.suppress(OSError):
            if instance.is_held():
                uid = instance.folder.lstat().st_uid
                pid = namelock.holder(instance.folder) or instance.look().pids.launcher
                found[instance.folder] = Neighbour(instance, pid, uid, _plan(instance), True)
    for pid, uid, folder in launchers():
        if folder not in found and NAME.fullmatch(folder.name):
            instance = StateDir(folder.parent, folder.name)
            plan = _plan(instance) if uid == os.geteuid() else None
            found[folder] = Neighbour(instance, pid, uid, plan, False)
    return [one for folder, one in found.items() if folder != own]


def _plan(instance: StateDir) -> Plan | None:
    """What it runs; None also while its `up` judges the host: what lies there then is of the start
    before.
    """
    with contextlib.suppress(OSError):
        if instance.plan.lstat().st_mtime_ns >= _claimed(instance):
            return plan_of(instance)
    return None


def _claimed(instance: StateDir) -> int:
    """When its launcher took it (ns): it signs its lock then. Raises OSError."""
    return instance.lock.path.lstat().st_mtime_ns


def require_apart(plan: Plan, instance: StateDir, tell: Callable[[str], None]) -> None:
    """Of two that were brought up at once, and judged the host before either's plan was there, let
    the first have what both want. Raises UserError for the other one.

    The plan is there by now. Who came first may still judge the host: that is waited for, and told
    where it takes long.
    """
    begun, is_told = time.monotonic(), False
    while True:
        earlier = [one for one in all_up(instance.folder) if _came_before(one, instance)]
        for one in earlier:
            if one.plan and (what := _wanted(plan, one.plan)):
                raise UserError(
                    f"{one} is up and has {what}, which {plan.name} wants, too; nothing was"
                    " started",
                    fix=f"{one.down} stops it, or give one of them others",
                )
        waited = time.monotonic() - begun
        young = [one for one in earlier if not one.plan and _is_judged(one)]
        if not young or waited > JUDGED_WITHIN:
            return
        if waited > TOLD_AFTER and not is_told:
            tell(f"note: {young[0]} came first and still judges the host; that is waited for")
            is_told = True
        time.sleep(LOOK_EVERY)


def _wanted(plan: Plan, other: Plan) -> str | None:
    """What another plan takes of what this one must have to itself."""
    shares = "gpu-memory-free" in plan.allowed
    return _address(plan, other) or (None if shares else _gpus(plan, other, ()))


def _came_before(one: Neighbour, instance: StateDir) -> bool:
    with contextlib.suppress(OSError):
        return one.is_ours and _turn(one.instance) < _turn(instance)
    return False


def _turn(instance: StateDir) -> tuple[int, str]:
    """By what all agree who of two came first: files are dated by a clock that ticks slowly."""
    return _claimed(instance), str(instance.folder)


def _is_judged(one: Neighbour) -> bool:
    """Whether its `up` still judges the host."""
    return one.instance.look().reason == BEING_LAUNCHED


def judged(found: Finding, host: Host, plan: Plan, neighbours: Sequence[Neighbour]) -> Finding:
    """The finding about a port or GPUs, with what other servers take by their plans."""
    gpus = host.driver.gpus.otherwise(())
    match found.id, found.severity:
        case "port-free", Severity.OK:
            return _taken(found, neighbours, lambda other: _address(plan, other))
        case "port-free", Severity.FAIL:
            pid = port.holder(plan.port)
            return _of(found, neighbours, {pid} if pid else ())
        case "gpu-memory-free", Severity.FAIL:
            return _of(found, neighbours, _on(gpus))
        case "gpu-memory-free", _ if plan.gpus:
            told = _taken(found, neighbours, lambda other: _gpus(plan, other, gpus))
            return told if told.severity is Severity.FAIL else _unknown(told, neighbours, gpus)
    return found


def _of(found: Finding, neighbours: Sequence[Neighbour], pids: Collection[int]) -> Finding:
    """A finding about processes, with the servers that these are of. Where they are of nobody else,
    `down` is the remedy, and never `kill`.
    """
    above = [_above(pid) for pid in pids]
    holding = [one for one in neighbours if any(one.pid in pids for pids in above)]
    if not holding:
        return found
    evidence, fix = f"{found.evidence}: of {sample([*map(str, holding)])}", found.fix
    launchers = {one.pid for one in holding}
    if "`glm5-serve down" not in fix and not any(launchers.isdisjoint(pids) for pids in above):
        _, or_else, other = fix.partition(", or choose another port")
        down = " and ".join(one.down for one in holding)
        fix = f"{down} stops what is up there{or_else}{other}"
    return replace(found, evidence=evidence, fix=fix)


def _taken(
    found: Finding, neighbours: Sequence[Neighbour], both: Callable[[Plan], str | None]
) -> Finding:
    for one in neighbours:
        if what := one.plan and both(one.plan):
            state = one.instance.look().state
            evidence = f"{one} is up and has {what}, too; it is {state}"
            fix = f"{one.down} stops it, or give one of them others"
            return replace(found, severity=Severity.FAIL, evidence=evidence, fix=fix)
    return found


def _unknown(found: Finding, neighbours: Sequence[Neighbour], gpus: Sequence[Gpu]) -> Finding:
    """A finding that nobody holds GPUs, where another user's server is to hold some, and does not
    yet.
    """
    above = {one for pid in _on(gpus) for one in _above(pid)}
    silent = [one for one in neighbours if not one.is_ours and one.pid not in above]
    if found.severity is not Severity.OK or not silent:
        return found
    which = sample([*map(str, silent)])
    evidence = f"{which} is up and holds no GPU memory yet: which GPUs it is to have is unknown"
    fix = f"ask that user, or look again when it is loaded; {silent[0].down} stops it"
    return replace(found, severity=Severity.WARN, evidence=evidence, fix=fix)


def _on(gpus: Sequence[Gpu]) -> set[int]:
    """The processes on these GPUs."""
    return {process.pid for gpu in gpus for process in gpu.processes.otherwise(())}


def _above(pid: int) -> Collection[int]:
    with contextlib.suppress(OSError):
        return [*lineage(pid)]
    return ()


def _address(one: Plan, other: Plan) -> str | None:
    """The address where two want to listen, in words; None where they do not meet."""
    hosts = {canonical(one.host), canonical(other.host)}
    is_same = len(hosts) == 1 or any(map(is_any, hosts))
    answer = not one.follows and not other.follows and one.port == other.port
    return f"{one.host} port {one.port}" if answer and is_same else None


def _gpus(one: Plan, other: Plan, gpus: Sequence[Gpu]) -> str | None:
    """The GPUs that two take, in words; None where they share none."""
    both = _named(one, gpus) & _named(other, gpus)
    numbers = sorted(int(name) for name in both if name.isdecimal())
    names = sorted(printable.line(name) for name in both if not name.isdecimal())
    told = ", ".join([*([counting.ranges(numbers)] if numbers else []), *names])
    return f"GPU{'s' if len(both) > 1 else ''} {told}" if both else None


def _named(plan: Plan, gpus: Sequence[Gpu]) -> set[str]:
    """The GPUs that a plan takes by their numbers; as it names them where none here is called
    so.
    """
    return {_number(name, gpus) for name in devices(plan) if name}


def _number(name: str, gpus: Sequence[Gpu]) -> str:
    if name.isdecimal():
        return str(int(name))
    called = [gpu.index for gpu in gpus if gpu.uuid.otherwise("").startswith(name)]
    return str(called[0]) if len(called) == 1 else name
