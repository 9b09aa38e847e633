"""NCCL's variables beside what the host has: its cards, interfaces and files."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.doctor.checks.judging import Verdict, fail, ok, sample, warn
from launcher.host.facts import Host
from launcher.knowledge import nccl
from launcher.plan.plan import Plan

GROUP = "NCCL and environment"


def effective(host: Host) -> dict[str, str]:
    """The NCCL variables as NCCL gets them: environment first, then its files in their order."""
    files = host.environment.conf.otherwise({})
    merged: dict[str, str] = {}
    for settings in [host.environment.variables.get(), *files.values()]:
        for name, value in settings.items():
            if name.startswith("NCCL_"):
                merged.setdefault(name, value)
    return merged


def on(variables: Mapping[str, str], name: str) -> bool:
    """Whether NCCL takes a switch for on: exactly 1."""
    return nccl.number(variables.get(name, "")) == 1


def nccl_infiniband(host: Host, plan: Plan) -> Verdict:
    """NCCL keeps off InfiniBand cards on a single host.

    It may choose one for its bootstrap or for pairs without P2P, and wait for a fabric that is not
    there.

    Reported: every single-host recipe sets NCCL_IB_DISABLE=1.
    """
    cards = host.system.infiniband.get()
    if cards and not on(effective(host), "NCCL_IB_DISABLE") and plan.flag("nnodes") in (None, "1"):
        return warn(f"/sys/class/infiniband has {sample(cards)}", fix="set NCCL_IB_DISABLE=1")
    return ok("no card" if not cards else "NCCL_IB_DISABLE=1, or several hosts")


def nccl_interface(host: Host, plan: Plan) -> Verdict:
    """NCCL_SOCKET_IFNAME names an interface of this host.

    With a name that matches none, init ends with "no socket interface found".

    Source: NCCL's documentation. Tested: on values.
    """
    asked = effective(host).get("NCCL_SOCKET_IFNAME", "")
    if not asked or asked.startswith("^"):
        return ok("NCCL's own choice" if not asked else f"all but {asked[1:]}")
    there = host.system.interfaces.get()
    exact, names = asked.startswith("="), asked.lstrip("=").split(",")
    if not any(
        name == here if exact else here.startswith(name) for name in names for here in there
    ):
        fix = f"set NCCL_SOCKET_IFNAME to one of {sample(there)}, or remove it"
        return fail(f"NCCL_SOCKET_IFNAME={asked}; /sys/class/net has {sample(there)}", fix=fix)
    return ok(asked)


def nccl_files(host: Host, plan: Plan) -> Verdict:
    """Files that variables name are there.

    NCCL goes on without its graph or topology file and says so only under NCCL_DEBUG; a
    configuration is missed.

    Reported: rtx6kpro nccl-tuning. Tested: on a missing file.
    """
    missing = host.environment.missing_files.get()
    if missing:
        return fail(f"not there: {sample(missing)}", fix="correct the path, or remove the variable")
    return ok("all there")


def nccl_conf_files(host: Host, plan: Plan) -> Verdict:
    """No file sets NCCL variables behind the profile's back.

    /etc/nccl.conf and ~/.nccl.conf count wherever the environment is silent, and nobody looks
    there.

    Source: NCCL 2.30.7, src/misc/param.cc. Tested: on files.
    """
    seen = [
        f"{path}: {name}={value}"
        for path, settings in host.environment.conf.get().items()
        for name, value in settings.items()
    ]
    if seen:
        return warn(
            sample(seen), fix="move what you need into the profile's [env], and remove the file"
        )
    return ok("no such file, or nothing in it")
