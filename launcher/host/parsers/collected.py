"""What our own script (launcher/host/collect.sh) tells beside the outputs of tools: lines of a word
and its value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from launcher.host import fingerprint
from launcher.host.sysfs import chosen

Data = dict[str, Any]

KNOWN = re.compile(r"^glm5-serve collect 1$", re.M)
# The word, the section and the fact that it is, and how its text becomes a value.
VALUES: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "aspm": ("pcie", "aspm", chosen),
    "lockdown": ("kernel", "lockdown", chosen),
    "huge_pages": ("system", "huge_pages", chosen),
    "numa_balancing": ("system", "numa_balancing", int),
    "swappiness": ("system", "swappiness", int),
    "python": ("engine", "python_version", str),
}
_PACKAGE = re.compile(r"^package ([\w.-]{1,80}) (\S{1,80})$", re.M)
_MARK = re.compile(r"(?:size (\d{1,18})|file ([0-9a-f]{64})) (.+)")


def collected(text: str) -> Data:
    """All that its lines tell."""
    lines = [line.partition(" ")[::2] for line in text.splitlines()]
    told: Data = {"system": _network(lines) | _limits(lines)}
    for word, value in lines:
        if word in VALUES and re.fullmatch(r"[\w.\[\] -]{1,80}", value):
            section, fact, convert = VALUES[word]
            if convert is not int or value.isdecimal():
                told.setdefault(section, {})[fact] = convert(value)
    if ("iommus", "") in lines:
        units = [value for word, value in lines if word == "iommu"]
        told.setdefault("pcie", {})["iommus"] = units
    if ("missing", "nvidia-smi") in lines:
        told["driver"] = {"gpus": {"unknown": "nvidia-smi is not installed there"}}
    if found := dict(_PACKAGE.findall(text)):
        told.setdefault("engine", {})["packages"] = found
    if model := _model(text, lines):
        told["model"] = model
    return {section: facts for section, facts in told.items() if facts}


def _network(lines: list[tuple[str, str]]) -> Data:
    """The interfaces, and those of them that have an address and lead to other hosts."""
    told: dict[str, dict[str, list[str]]] = {}
    for word, value in lines:
        name, _, rest = value.partition(" ")
        if word in ("mtu", "state", "address") and name and rest:
            told.setdefault(name, {}).setdefault(word, []).append(rest)
    if not told:
        return {}
    networks = [
        {
            "name": name,
            "addresses": parts["address"],
            "mtu": int(mtu) if (mtu := parts.get("mtu", [""])[0]).isdecimal() else None,
            "up": parts.get("state") in (["up"], ["unknown"]),  # tunnels do not know
        }
        for name, parts in sorted(told.items())
        if "address" in parts and name != "lo"
    ]
    cards = [value for word, value in lines if word == "infiniband"]
    facts: Data = {"interfaces": sorted(told), "infiniband": cards}
    return facts | ({"networks": networks} if networks else {})


def _limits(lines: list[tuple[str, str]]) -> Data:
    """Locked memory, which `ulimit -l` tells in KiB."""
    said = next((value for word, value in lines if word == "memlock"), "")
    if not re.fullmatch(r"unlimited|\d{1,15}", said):
        return {}
    return {"limits": {"memlock": None if said == "unlimited" else int(said) << 10}}


def _model(text: str, lines: list[tuple[str, str]]) -> Data:
    """A checkpoint's folder and fingerprint, where all of it was read."""
    folder = next((value for word, value in lines if word == "model"), "")
    if not folder or ("complete", "") not in lines:
        return {}
    found = (_MARK.fullmatch(line) for line in text.splitlines())
    marks = {one[3]: one[1] or one[2] for one in found if one and fingerprint.counts(one[3])}
    return {"path": folder, "fingerprint": fingerprint.fingerprint(marks)}
