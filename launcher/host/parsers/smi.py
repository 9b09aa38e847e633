"""nvidia-smi -q, and what the forms of nvidia-smi have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from launcher.knowledge import gpus

Data = dict[str, Any]
Convert = Callable[[str], Any]


def number(text: str) -> float:
    """The first number in a text. Raises ValueError without one."""
    found = re.search(r"-?\d{1,15}(\.\d{1,15})?", text)
    if found is None:
        raise ValueError(text)
    return float(found.group())


def whole(text: str) -> int:
    """The same as a whole number."""
    return int(number(text))


def mib(text: str) -> int:
    """A number of MiB as bytes."""
    return int(number(text)) << 20


def on(text: str) -> bool:
    """Whether a mode is on; nvidia-smi marks one that waits for a reset with a star."""
    return text.lower().rstrip("*") in ("enabled", "yes", "on")


def lower(text: str) -> str:
    """A name as facts write it."""
    return text.lower().replace(" ", "_")


def virtualization(text: str) -> str:
    """How a GPU is shared, as NVML names it: nvidia-smi writes "Pass-Through"."""
    return lower(text).replace("-", "")


def bdf(text: str) -> str:
    """A PCI address as the kernel writes it: "00000000:06:00.0" is 0000:06:00.0."""
    domain, bus, rest = text.strip().lower().split(":")
    return f"{int(domain, 16):04x}:{bus}:{rest}"


def capability(name: str, memory: int | None = None) -> Data:
    """The compute capability that a product's name tells, if it does; a cut name with the bytes."""
    told = gpus.capability(name, memory)
    return {"capability": told} if told else {}


# The fact, its place in the long form (parts joined by a slash), and how the text becomes a value;
# of several places the first that says something counts: drivers have moved and renamed them.
QUERY: tuple[tuple[str, str, Convert], ...] = (
    ("name", "Product Name", str),
    ("uuid", "GPU UUID", str),
    ("bdf", "PCI/Bus Id", bdf),
    ("architecture", "Product Architecture", lower),
    ("memory_total", "FB Memory Usage/Total", mib),
    ("memory_reserved", "FB Memory Usage/Reserved", mib),
    ("memory_used", "FB Memory Usage/Used", mib),
    ("memory_free", "FB Memory Usage/Free", mib),
    ("bar1_total", "BAR1 Memory Usage/Total", mib),
    ("gsp", "GSP Firmware Version", str),
    ("vbios", "VBIOS Version", str),
    ("mig", "MIG Mode/Current", on),
    ("ecc", "ECC Mode/Current", on),
    ("ecc", "Ecc Mode/Current", on),
    ("remap_pending", "Remapped Rows/Pending", on),
    ("remap_pending", "Retired Pages/Pending Page Blacklist", on),
    ("remap_failed", "Remapped Rows/Remapping Failure Occurred", on),
    ("persistence", "Persistence Mode", on),
    ("compute_mode", "Compute Mode", lower),
    ("power_draw", "GPU Power Readings/Instantaneous Power Draw", number),
    ("power_draw", "GPU Power Readings/Power Draw", number),
    ("power_draw", "GPU Power Readings/Average Power Draw", number),
    ("power_draw", "Power Readings/Power Draw", number),
    ("power_limit", "GPU Power Readings/Current Power Limit", number),
    ("power_limit", "GPU Power Readings/Enforced Power Limit", number),
    ("power_limit", "Power Readings/Enforced Power Limit", number),
    ("power_limit", "Power Readings/Power Limit", number),
    ("power_default", "GPU Power Readings/Default Power Limit", number),
    ("power_default", "Power Readings/Default Power Limit", number),
    ("power_max", "GPU Power Readings/Max Power Limit", number),
    ("power_max", "Power Readings/Max Power Limit", number),
    ("temperature", "Temperature/GPU Current Temp", whole),
    ("utilisation", "Utilization/GPU", whole),
    ("utilisation", "Utilization/Gpu", whole),
    ("pstate", "Performance State", whole),
    ("link_gen", "PCI/GPU Link Info/PCIe Generation/Current", whole),
    ("link_gen_max", "PCI/GPU Link Info/PCIe Generation/Max", whole),
    ("link_gen_device", "PCI/GPU Link Info/PCIe Generation/Device Max", whole),
    ("link_width", "PCI/GPU Link Info/Link Width/Current", whole),
    ("link_width_max", "PCI/GPU Link Info/Link Width/Max", whole),
    ("virtualization", "GPU Virtualization Mode/Virtualization Mode", virtualization),
    ("fabric", "Fabric/State", lower),
    ("recovery", "GPU Recovery Action", lower),
    ("addressing", "Addressing Mode", lower),
)
ABSENT = (
    "N/A",
    "[N/A]",
    "[Not Supported]",
    "Not Supported",
    "Requested functionality has been deprecated",
    "",
)
# what probes say of a feature a board does not have
LACKING = {"unknown": "the driver does not support it here"}
# How nvidia-smi says that a reading, or the whole GPU, did not answer.
MUTE = re.compile(
    r"ERR!?|(?:Unknown Error|GPU is lost|GPU requires reset|Not Found|Insufficient Permissions).*",
    re.I,
)
BLOCK = re.compile(r"^[ \t]*GPU ([0-9A-F]{4,8}:[0-9A-F]{2}:[0-9A-F]{2}\.\d)[ \t]*$", re.M | re.I)
LOG = re.compile(r"^[ \t]*=+\s*NVSMI LOG\s*=+", re.M)
# A driver's own version and the newest CUDA it runs, as 610 and those before it call them.
VERSIONS = (("version", r"(?<!CUDA )(?:Driver|KMD) Version"), ("cuda", r"CUDA(?: UMD)? Version"))
MOST_GPUS = 64
DEEPEST = 8  # headings above a value


def versions(text: str) -> Data:
    """What a heading of nvidia-smi says of the driver."""
    found = ((fact, re.search(rf"{name}\s*: +(\d[\d.]*)", text)) for fact, name in VERSIONS)
    return {fact: one.group(1) for fact, one in found if one}


def query(text: str) -> Data:
    """`nvidia-smi -q`; of several in one text (`-l`) the last of those with most GPUs."""
    logs = [_log(part) for part in re.split(LOG, text)]
    return {"driver": max(logs, key=lambda one: len(one["gpus"]) + ("version" in one) / 2)}


def _log(text: str) -> Data:
    head, *blocks = BLOCK.split(text, MOST_GPUS)
    found = [_block(at // 2, *blocks[at : at + 2]) for at in range(0, len(blocks) - 1, 2)]
    attached = re.search(r"^[ \t]*Attached GPUs\s*: (\d{1,2})\s*$", head, re.M)
    count = min(int(attached.group(1)) if attached else 0, MOST_GPUS)
    # Where the paste was cut, the others are there all the same.
    return versions(head) | {
        "gpus": found + [{"index": index} for index in range(len(found), count)]
    }


def _block(index: int, address: str, text: str) -> Data:
    values = _paths(text)
    gpu: Data = {"index": index, "bdf": bdf(address)}
    for fact, path, convert in QUERY:
        if path in values and (fact == "bdf" or gpu.get(fact, LACKING) == LACKING):
            gpu[fact] = converted(values[path], convert)
    gpu["clock_reasons"] = _reasons(values)
    if counted := [int(value) for value in _uncorrected(values) if value.isdigit()]:
        gpu["ecc_uncorrected"] = sum(counted)
    gpu["processes"] = _processes(text)
    return capability(str(gpu.get("name", ""))) | gpu


def _uncorrected(values: dict[str, str]) -> list[str]:
    """Counts of volatile errors that were not corrected; drivers before R418 say Double Bit."""
    return [
        value
        for path, value in values.items()
        if re.match(r"ECC Errors/Volatile/(?:.*Uncorrectable|Double Bit/Total)", path, re.I)
    ]


def converted(text: str, convert: Convert) -> Any:
    """A value, or why there is none."""
    if text in ABSENT:
        return LACKING
    try:
        if MUTE.fullmatch(text.strip("[]")):
            raise ValueError(text)
        return convert(text)
    except (ValueError, IndexError, OverflowError):
        return {"unknown": f"nvidia-smi says {text[:60]}"}


def _paths(text: str) -> dict[str, str]:
    """Each value by its place: the headings above it, joined by slashes."""
    values: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        name, said, value = line.partition(" :")
        if not (name := name.rstrip()) or (":" in name):
            continue
        indent = len(name) - len(name := name.lstrip())
        while above and above[-1][0] >= indent:
            above.pop()
        if said and len(above) < DEEPEST:
            values.setdefault("/".join([*(part for _, part in above), name]), value.strip())
        above.append((indent, name))  # "HW Slowdown" has a value, and values of its own below it
    return values


REASONS = {
    "Idle": "gpu_idle",
    "Applications Clocks Setting": "applications_clocks",
    "SW Power Cap": "sw_power_cap",
    "HW Slowdown": "hw_slowdown",
    "HW Slowdown/HW Thermal Slowdown": "hw_thermal_slowdown",
    "HW Slowdown/HW Power Brake Slowdown": "hw_power_brake",
    "Sync Boost": "sync_boost",
    "SW Thermal Slowdown": "sw_thermal_slowdown",
    "Display Clock Setting": "display_clock",
}


def _reasons(values: dict[str, str]) -> Any:
    for heading in ("Clocks Event Reasons", "Clocks Throttle Reasons"):
        told = {name: values.get(f"{heading}/{place}") for place, name in REASONS.items()}
        active = [name for name, said in told.items() if said == "Active"]
        # None active is told by a whole list alone: it begins with the idleness.
        if active or told["gpu_idle"] is not None:
            return active
    return {"unknown": "nvidia-smi says nothing of it"}


def _processes(text: str) -> Any:
    heading = re.search(r"^[ \t]*Processes\b(.*)$", text, re.M)
    if not heading:
        return {"unknown": "nvidia-smi says nothing of processes"}
    found = re.findall(
        r"Process ID\s*: (\d{1,9})(.*?)(?=Process ID|\Z)", text[heading.end() :], re.S
    )
    if not found and "None" not in heading.group(1):
        return {"unknown": "nvidia-smi lists no process, and does not say that there is none"}
    return [{"pid": int(pid), **_held(rest)} for pid, rest in found]


def _held(text: str) -> Data:
    name = re.search(r"Name\s*: (\S.*)", text)
    used = re.search(r"Used GPU Memory\s*: (\d{1,9}) MiB", text)
    return {
        "name": name.group(1).strip() if name else None,
        "used": int(used.group(1)) << 20 if used else None,
    }
