"""What was not pasted is unknown, and says which command gives it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from launcher.host.facts import NOBODY_LOOKED, NOT_PROVIDED, Fact, Gpu, Host, unknown
from launcher.host.parsers import python

FACTS = "`glm5-serve facts` on that host"  # what no output of a tool that is read here has
QUERY, LSPCI = "`nvidia-smi -q`", "`sudo lspci -vvv`"
MEMORY, LIMITS, CPUS = "`free -b`", "`ulimit -a`", "`lscpu`"
# By section and fact; by the section alone what is not named.
COMMANDS = {
    "driver": QUERY,
    "driver.module": "`cat /proc/driver/nvidia/version`",
    "driver.flavour": "`cat /proc/driver/nvidia/version`",
    "driver.params": "`cat /proc/driver/nvidia/params`",
    "driver.hmm_disabled": QUERY,
    "driver.confidential": FACTS,
    "driver.topology": "`nvidia-smi topo -m`",
    "driver.p2p_read": "`nvidia-smi topo -p2p r`",
    "driver.p2p_write": "`nvidia-smi topo -p2p w`",
    "driver.copies": "p2pBandwidthLatencyTest",
    "driver.diagnostics": "`dcgmi diag -r 2`",
    "gpus": QUERY,
    "gpus.numa": "`nvidia-smi topo -m`",
    "pcie": LSPCI,
    "pcie.iommus": FACTS,
    "pcie.aspm": FACTS,
    "functions": LSPCI,
    "functions.iommu_type": FACTS,
    "functions.power_control": FACTS,
    "functions.aer_fatal": FACTS,
    "functions.aer_nonfatal": FACTS,
    "functions.aer_correctable": FACTS,
    "kernel": FACTS,
    "kernel.release": "`uname -a`",
    "kernel.cmdline": "`cat /proc/cmdline`",
    "kernel.log": "`sudo dmesg`",
    "system": FACTS,
    "system.infiniband": "`ibstat`",
    "system.cpu_vendor": CPUS,
    "system.cpu_model": CPUS,
    "system.cpu_family": CPUS,
    "system.cpus": CPUS,
    "system.sockets": CPUS,
    "system.numa_nodes": CPUS,
    "system.virtualisation": CPUS,
    "system.swap": MEMORY,
    "system.memory_total": MEMORY,
    "system.memory_available": MEMORY,
    "system.limits": LIMITS,
    "engine": FACTS,
    "engine.packages": python.TOLD_BY,
    "engine.torch_cuda": python.TOLD_BY,
    "environment": FACTS,
    "environment.variables": python.VARIABLES_BY,
    "model": "`glm5-serve model DIR` on that host",
}


def told(host: Host) -> Host:
    """The host with what to paste in place of what nobody looked at."""
    return replace(
        host,
        **{
            part.name: _section(part.name, getattr(host, part.name))
            for part in fields(host)
            if is_dataclass(getattr(host, part.name))
        },
    )


def _section(name: str, section: Any) -> Any:
    return replace(
        section,
        **{
            part.name: _fact(name, part.name, getattr(section, part.name))
            for part in fields(section)
        },
    )


def _fact(section: str, name: str, fact: Any) -> Any:
    if not isinstance(fact, Fact):
        return fact
    if fact == NOBODY_LOOKED:
        command = COMMANDS.get(f"{section}.{name}", COMMANDS[section])
        return unknown(f"{NOT_PROVIDED}: {command} tells it")
    if isinstance(fact.value, tuple) and (inner := _inner(fact.value)):
        return Fact(tuple(_section(inner, one) for one in fact.value))
    return fact


def _inner(values: Iterable[Any]) -> str:
    """The section that the members of a list are, "" where they have no facts of their own."""
    first = next(iter(values), None)
    if isinstance(first, Gpu):
        return "gpus"
    return "functions" if is_dataclass(first) else ""
