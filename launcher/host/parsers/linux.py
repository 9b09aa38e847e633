"""What the kernel and its tools say of a host: command line, CPUs, memory, limits."""

from __future__ import annotations

import re
from typing import Any

Data = dict[str, Any]

# Bare, or behind the name that a script wrote before it.
CMDLINE = re.compile(
    r"^(?:(?:/proc/)?(?:kernel )?(?:cmdline|command line)\s*[:=]\s*)?(?P<booted>BOOT_IMAGE=\S.*)$"
    r"|^(?:/proc/)?cmdline\s*[:=]\s*(?P<named>\S.*)$"
    r"|\A\s*(?P<bare>(?:initrd=|root=|ro |quiet )[^\n]*)\s*\Z",
    re.M | re.I,
)
CPUINFO = re.compile(r"^model name\s*: (\S.*)$", re.M)
MEMINFO = re.compile(r"^MemTotal:\s+\d+ kB$", re.M)
INFINIBAND = re.compile(r"^CA '([\w-]+)'$|^hca_id:\s+([\w-]+)$", re.M)
UNAME = re.compile(r"^(?:uname: )?Linux \S+ (\d+\.\d+\S*) ", re.M)
PARAMETERS = re.compile(r"^RegistryDwords: ", re.M)
UNITS = {"": 10, "K": 10, "M": 20, "G": 30, "T": 40}


def cmdline(text: str) -> Data:
    """/proc/cmdline."""
    found = CMDLINE.search(text)
    told = next(filter(None, found.groups())) if found else ""
    return {"kernel": {"cmdline": told.strip()}} if told else {}


def cpuinfo(text: str) -> Data:
    """/proc/cpuinfo: which CPUs a host has; how many a line or two of it do not tell."""
    found = CPUINFO.search(text)
    vendor = re.search(r"^vendor_id\s*: (\w+)$", text, re.M)
    family = re.search(r"^cpu family\s*: (\d{1,3})$", text, re.M)
    facts: Data = {"cpu_model": found.group(1).strip()} if found else {}
    facts |= {"cpu_vendor": vendor.group(1)} if vendor else {}
    facts |= {"cpu_family": int(family.group(1))} if family else {}
    return {"system": facts} if facts else {}


def driver_version(text: str) -> Data:
    """/proc/driver/nvidia/version."""
    found = re.search(r"^NVRM version: NVIDIA UNIX (Open )?[^\n]{0,80}?\s(\d+\.[\d.]+)", text, re.M)
    if not found:
        return {}
    return {
        "driver": {"flavour": "open" if found.group(1) else "proprietary", "module": found.group(2)}
    }


def parameters(text: str) -> Data:
    """/proc/driver/nvidia/params."""
    pairs = re.findall(r"^([A-Z]\w+): (.*)$", text, re.M)
    return {"driver": {"params": {name: value.strip('"') for name, value in pairs}}}


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
            if convert is str or re.fullmatch(r"\d{1,6}", value):
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


def meminfo(text: str) -> Data:
    """/proc/meminfo."""
    names = {"MemTotal": "memory_total", "MemAvailable": "memory_available", "SwapTotal": "swap"}
    found = re.findall(r"^(\w+):\s+(\d{1,15}) kB$", text, re.M)
    return {"system": {names[name]: int(size) << 10 for name, size in found if name in names}}


def infiniband(text: str) -> Data:
    """`ibstat`, `ibv_devinfo`: the cards."""
    found = [one[0] or one[1] for one in INFINIBAND.findall(text)]
    return {"system": {"infiniband": list(dict.fromkeys(found))}} if found else {}


def free(text: str) -> Data:
    """free, in whatever unit: plain numbers are KiB."""
    facts: Data = {}
    head = re.search(r"^total\b.*$", text, re.M)
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
    found = UNAME.search(text)
    return {"kernel": {"release": found.group(1)}} if found else {}


def limits(text: str) -> Data:
    """`ulimit -a`: what it says of open files is the soft limit, which SGLang raises itself."""
    facts: dict[str, int | None] = {}
    for fact, name, shift in (
        ("memlock", "max locked memory", 10),
        ("stack", "stack size", 10),
    ):
        if found := re.search(rf"^{name}\s.*?\s(\d{{1,15}}|unlimited)$", text, re.M):
            facts[fact] = None if found.group(1) == "unlimited" else int(found.group(1)) << shift
    return {"system": {"limits": facts}} if facts else {}
