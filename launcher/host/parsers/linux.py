"""What the kernel and its tools say: command line, log, CPUs, memory, limits."""

from __future__ import annotations

import re
from typing import Any

from launcher.host.collectors.kernel import MOST_LINES
from launcher.knowledge.kernel_lines import OF_A_LOG, WORTH

Data = dict[str, Any]

CMDLINE = re.compile(
    r"\A\s*(?:\$ ?cat /proc/cmdline\n)?((?:BOOT_IMAGE=|initrd=|root=|ro |quiet )[^\n]*)\s*\Z"
)
# dmesg, dmesg -T, dmesg --time-format iso, journalctl -k, journalctl -o short-iso
_TIME = (
    r"(?:\[[^\]]{5,40}\]|<\d+>|\d{4}-\d\d-\d\dT[\d:,.+-]+(?: \S+ kernel:)?|\w{3} +\d+ [\d:]+ \S+"
    r" kernel:)"
)
KERNEL_LINE = re.compile(
    rf"^(?:{_TIME})+ .*(?:{OF_A_LOG})|NVRM: Xid |nvidia-nvswitch\d+: SXid ", re.M
)
_STAMP = re.compile(rf"^(?:{_TIME}\s*)+")
UNITS = {"": 10, "K": 10, "M": 20, "G": 30, "T": 40}
LIMITS = (("memlock", "max locked memory", 10), ("stack", "stack size", 10))


def cmdline(text: str) -> Data:
    """/proc/cmdline, alone in its file."""
    found = CMDLINE.match(text)
    return {"kernel": {"cmdline": found.group(1).strip()}} if found else {}


def kernel_log(text: str) -> Data:
    """Dmesg or journalctl -k: the lines worth keeping, and what a boot says of itself."""
    lines = [_STAMP.sub("", line) for line in text.splitlines() if WORTH.search(line)]
    data: Data = {"kernel": {"log": lines[-MOST_LINES:]}, "driver": {}}
    if found := re.search(r"(?:Kernel command line|Command line): (.*)", text):
        data["kernel"]["cmdline"] = found.group(1).strip()
    if found := re.search(r"Linux version (\S+)", text):
        data["kernel"]["release"] = found.group(1)
    if found := re.search(
        r"NVRM: loading NVIDIA UNIX (Open )?.*?Kernel Module.*?\s(\d+\.[\d.]+)", text
    ):
        data["driver"] = {
            "flavour": "open" if found.group(1) else "proprietary",
            "module": found.group(2),
        }
    return data


def driver_version(text: str) -> Data:
    """/proc/driver/nvidia/version."""
    found = re.search(r"^NVRM version: NVIDIA UNIX (Open )?.*?\s(\d+\.[\d.]+)", text, re.M)
    if not found:
        return {}
    return {
        "driver": {"flavour": "open" if found.group(1) else "proprietary", "module": found.group(2)}
    }


def lscpu(text: str) -> Data:
    """Lscpu."""
    facts: Data = {}
    for fact, name, convert in (
        ("cpu_vendor", "Vendor ID", str),
        ("cpu_model", "Model name", str),
        ("cpu_family", "CPU family", int),
        ("cpus", r"CPU\(s\)", int),
        ("sockets", r"Socket\(s\)", int),
        ("numa_nodes", r"NUMA node\(s\)", int),
    ):
        if found := re.search(rf"^{name}: +(.*)$", text, re.M):
            value = found.group(1).strip()
            if convert is str or value.isdigit():
                facts[fact] = convert(value)
    if "Architecture" in text:
        found = re.search(r"^Hypervisor vendor: +(\S+)", text, re.M)
        facts["virtualisation"] = found.group(1).lower() if found else "none"
    return {"system": facts}


def numactl(text: str) -> Data:
    """Numactl -H: nodes that have CPUs."""
    nodes = re.findall(r"^node \d+ cpus: \d", text, re.M)
    return {"system": {"numa_nodes": max(1, len(nodes))}}


FREE = {
    "Mem": {"total": "memory_total", "available": "memory_available"},
    "Swap": {"total": "swap"},
}


def free(text: str) -> Data:
    """free, in whatever unit: plain numbers are KiB."""
    facts: Data = {}
    head = re.search(r"^ +total.*$", text, re.M)
    columns = head.group().split() if head else []
    for row, names in FREE.items():
        if found := re.search(rf"^{row}:(.*)$", text, re.M):
            for column, value in zip(columns, found.group(1).split(), strict=False):
                if column in names and (size := _size(value)) is not None:
                    facts[names[column]] = size
    return {"system": facts}


def _size(text: str) -> int | None:
    """Bytes of "62Gi", "62G", "512B", "65789012" (KiB)."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)([KMGT]?)i?B?", text, re.I)
    if found is None:
        return None
    if text[-1] in "bB" and not found.group(2):
        return int(float(found.group(1)))
    return int(float(found.group(1)) * (1 << UNITS[found.group(2).upper()]))


def uname(text: str) -> Data:
    """Uname -a."""
    found = re.search(r"^Linux \S+ (\d+\.\d+\S*) ", text, re.M)
    return {"kernel": {"release": found.group(1)}} if found else {}


def limits(text: str) -> Data:
    """`ulimit -a`: what it says of open files is the soft limit, which SGLang raises itself."""
    facts: dict[str, int | None] = {}
    for fact, name, shift in (
        ("memlock", "max locked memory", 10),
        ("stack", "stack size", 10),
    ):
        if found := re.search(rf"^{name}.*?(\d+|unlimited)\s*$", text, re.M):
            facts[fact] = None if found.group(1) == "unlimited" else int(found.group(1)) << shift
    return {"system": {"limits": facts}} if facts else {}
