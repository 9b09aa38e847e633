"""lspci -vvv: the GPUs, the bridges above them, their links and access control."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

Data = dict[str, Any]

ADDRESS = r"(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([0-9a-f]{2}\.[0-7])"
FIRST_LINE = re.compile(rf"^{ADDRESS} (?:\S[^\n:]*: |[0-9a-f]{{4}}: [0-9a-f]{{4}}:)", re.M)
ACS = re.compile(r"^ACSCtl:[ \t]*((?:\w+[+-][ \t]*)+)$", re.M)
# What stands in a second line where lspci was asked for more than names.
_DETAIL = re.compile(r"^(?:Subsystem|Flags|Control|Kernel driver in use|Kernel modules): ", re.M)
SIZES = {"K": 10, "M": 20, "G": 30, "T": 40}
PORTS = {
    "Root Port": "root port",
    "Upstream Port": "switch upstream",
    "Downstream Port": "switch downstream",
}
# Names that lspci prints in place of numbers, of devices that checks know by number.
NAMED = (("Broadcom / LSI PEX890xx", "1000:c030"),)
DENIED = {"unknown": "lspci ran without root: capabilities were denied"}
BRIEF = {"unknown": "lspci was not asked for details (-vvv)"}


def functions(text: str) -> Data:
    """The GPUs and what is above them; of bridges that are not named (`grep ACSCtl`) the bits
    alone.
    """
    starts = [found.start() for found in FIRST_LINE.finditer(text)]
    devices = dict(
        _device(text[start:end].partition("\n\n")[0])
        for start, end in pairwise([*starts, len(text)])
    )
    wanted = {bdf: one for bdf, one in devices.items() if one["kind"] in ("gpu", "nvswitch")}
    data: Data = {"functions": _above_those(wanted, devices)} if wanted else {}
    bits = [_bits(line) for line in ACS.findall(text)]
    if bits and not any(one["above"] for one in wanted.values()):
        data["acs"] = bits
    return {"pcie": data} if data else {}


def _above_those(wanted: dict[str, Data], devices: dict[str, Data]) -> list[Data]:
    for bdf, one in wanted.items():
        one["above"] = _above(bdf, devices)
    bridges = dict.fromkeys(bridge for one in wanted.values() for bridge in one["above"])
    for bridge in bridges:
        devices[bridge]["above"] = _above(bridge, devices)
    kept = [devices[bdf] for bdf in (*bridges, *wanted)]
    return [{name: value for name, value in one.items() if name != "buses"} for one in kept]


def _device(block: str) -> tuple[str, Data]:
    found = re.match(rf"{ADDRESS} (.*)", block)
    assert found is not None
    bdf = f"{found.group(1) or '0000'}:{found.group(2)}:{found.group(3)}"
    title = found.group(4)
    buses = re.search(r"secondary=([0-9a-f]{2}), subordinate=([0-9a-f]{2})", block)
    one: Data = {
        "bdf": bdf,
        "kind": _kind(title, block),
        "id": _id(title),
        "buses": tuple(int(bus, 16) for bus in buses.groups()) if buses else None,
        "present": "(rev ff)" not in title,
    }
    return bdf, one | (_details(block) if _DETAIL.search(block) else {})


def _kind(title: str, block: str) -> str:
    nvidia = "NVIDIA" in title or "10de:" in title
    if nvidia and re.search(r"3D controller|VGA compatible|Display controller|\b030[02]:", title):
        return "gpu"
    if nvidia and re.search(r"(?<!PCI )[Bb]ridge|\b0680:", title):
        return "nvswitch"
    return next(
        (kind for name, kind in PORTS.items() if re.search(rf"Express .*{name}", block)), "bridge"
    )


def _id(title: str) -> str:
    if found := re.search(r"\[?\b([0-9a-f]{4}:[0-9a-f]{4})\b\]?(?: \(rev|$|\])", title):
        return found.group(1)
    if named := next((number for name, number in NAMED if name in title), None):
        return named
    device = re.search(r"Device ([0-9a-f]{4})\b", title)
    vendor = {"NVIDIA": "10de", "AMD": "1022", "Intel": "8086", "Broadcom": "1000"}
    known = next((number for name, number in vendor.items() if name in title), "????")
    return f"{known}:{device.group(1) if device else '????'}"


def _details(block: str) -> Data:
    facts: Data = {"acs": _acs(block)}
    if "\nKernel modules: " in block:  # it would name the driver in use, too
        facts["driver"] = None
    for fact, pattern, convert in (
        ("driver", r"Kernel driver in use: (\S+)", str),
        ("speed", r"LnkSta:\s+Speed ([\d.]+)GT/s", float),
        ("width", r"LnkSta:.*Width x(\d+)", int),
        ("speed_max", r"LnkCap:.*Speed ([\d.]+)GT/s", float),
        ("width_max", r"LnkCap:.*Width x(\d+)", int),
        ("numa", r"NUMA node: (\d+)", int),
        ("iommu_group", r"IOMMU group: (\d+)", str),
    ):
        if found := re.search(pattern, block):
            facts[fact] = convert(found.group(1))
    windows = re.findall(
        r"Region \d: Memory at .*64-bit, prefetchable\).*\[size=(\d+)([KMGT])\]", block
    )
    if windows:
        facts["bar1"] = max(int(size) << SIZES[unit] for size, unit in windows)
    if sizes := re.search(r"BAR \d: current size: \S+, supported: (.*)", block):
        offered = re.findall(r"(\d+)([KMGT])B", sizes.group(1))
        facts["bar1_max"] = max((int(size) << SIZES[unit] for size, unit in offered), default=0)
    return facts


def _acs(block: str) -> Any:
    if found := re.search(r"ACSCtl:\s*(.*)", block):
        return _bits(found.group(1))
    if "<access denied>" in block:
        return DENIED
    # Extended capabilities stand at 100 and beyond: where they are listed, a missing ACS is really
    # missing.
    return None if re.search(r"Capabilities: \[[1-9a-f][0-9a-f]{2}", block) else BRIEF


def _bits(text: str) -> list[str]:
    """The bits that are set: "SrcValid+ TransBlk- ReqRedir+"."""
    return [word[:-1] for word in text.split() if word.endswith("+")]


def _above(bdf: str, devices: dict[str, Data]) -> list[str]:
    """The bridges whose buses lead to a device, the widest range first: that is the root port."""
    domain, bus = bdf.split(":")[0], int(bdf.split(":")[1], 16)
    leading = [
        (one["buses"][1] - one["buses"][0], -one["buses"][0], name)
        for name, one in devices.items()
        if one["buses"]
        and name.startswith(f"{domain}:")
        and one["buses"][0] <= bus <= one["buses"][1]
    ]
    # Of two bridges with the same range the one whose own bus is lower stands above.
    order = sorted(leading, key=lambda one: (-one[0], int(one[2].split(":")[1], 16)))
    return [name for _, _, name in order if name != bdf]
