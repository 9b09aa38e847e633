"""nvidia-smi: its long form (-q), its table, its comma-separated values."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from typing import Any

Data = dict[str, Any]
Convert = Callable[[str], Any]

# Compute capability by product, where the name tells it for certain.
CAPABILITIES = (
    (r"RTX PRO \d+ Blackwell|RTX 50\d0", "12.0"),
    (r"\bG?B300\b", "10.3"),
    (r"\bG?B200\b", "10.0"),
    (r"\bG?H[128]00\b|\bGH200\b", "9.0"),
    (r"\bL40S?\b|RTX 40\d0|RTX 6000 Ada", "8.9"),
    (r"\bA100\b", "8.0"),
    (r"Quadro RTX|\bT4\b", "7.5"),
)


def _number(text: str) -> float:
    found = re.search(r"-?\d+(\.\d+)?", text)
    if found is None:
        raise ValueError(text)
    return float(found.group())


def _int(text: str) -> int:
    return int(_number(text))


def _mib(text: str) -> int:
    return int(_number(text)) << 20


def _on(text: str) -> bool:
    return text.lower() in ("enabled", "yes", "on")


def _lower(text: str) -> str:
    return text.lower().replace(" ", "_")


def bdf(text: str) -> str:
    """A PCI address as the kernel writes it: "00000000:06:00.0" is 0000:06:00.0."""
    domain, bus, rest = text.strip().lower().split(":")
    return f"{int(domain, 16):04x}:{bus}:{rest}"


def capability(name: str) -> Data:
    """The compute capability that a product's name tells, if it does."""
    return next(({"capability": is_} for pattern, is_ in CAPABILITIES if re.search(pattern, name)), {})


# The fact, its place in the long form (parts joined by a slash), and how the text becomes a value.
QUERY: tuple[tuple[str, str, Convert], ...] = (
    ("name", "Product Name", str),
    ("uuid", "GPU UUID", str),
    ("bdf", "PCI/Bus Id", bdf),
    ("architecture", "Product Architecture", _lower),
    ("memory_total", "FB Memory Usage/Total", _mib),
    ("memory_reserved", "FB Memory Usage/Reserved", _mib),
    ("memory_used", "FB Memory Usage/Used", _mib),
    ("memory_free", "FB Memory Usage/Free", _mib),
    ("bar1_total", "BAR1 Memory Usage/Total", _mib),
    ("gsp", "GSP Firmware Version", str),
    ("mig", "MIG Mode/Current", _on),
    ("ecc", "ECC Mode/Current", _on),
    ("remap_pending", "Remapped Rows/Pending", _on),
    ("remap_failed", "Remapped Rows/Remapping Failure Occurred", _on),
    ("persistence", "Persistence Mode", _on),
    ("compute_mode", "Compute Mode", _lower),
    ("power_draw", "GPU Power Readings/Instantaneous Power Draw", _number),
    ("power_draw", "GPU Power Readings/Power Draw", _number),
    ("power_limit", "GPU Power Readings/Current Power Limit", _number),
    ("power_limit", "GPU Power Readings/Enforced Power Limit", _number),
    ("power_default", "GPU Power Readings/Default Power Limit", _number),
    ("power_max", "GPU Power Readings/Max Power Limit", _number),
    ("temperature", "Temperature/GPU Current Temp", _int),
    ("utilisation", "Utilization/GPU", _int),
    ("utilisation", "Utilization/Gpu", _int),
    ("pstate", "Performance State", _int),
    ("link_gen", "PCI/GPU Link Info/PCIe Generation/Current", _int),
    ("link_gen_max", "PCI/GPU Link Info/PCIe Generation/Max", _int),
    ("link_gen_device", "PCI/GPU Link Info/PCIe Generation/Device Max", _int),
    ("link_width", "PCI/GPU Link Info/Link Width/Current", _int),
    ("link_width_max", "PCI/GPU Link Info/Link Width/Max", _int),
    ("virtualization", "GPU Virtualization Mode/Virtualization Mode", _lower),
    ("fabric", "Fabric/State", _lower),
    ("recovery", "GPU Recovery Action", _lower),
    ("addressing", "Addressing Mode", _lower),
)
ABSENT = ("N/A", "[N/A]", "[Not Supported]", "Not Supported", "")
LACKING = {"unknown": "the driver does not support it here"}  # what probes say of a feature a board does not have


def query(text: str) -> Data:
    """`nvidia-smi -q`."""
    head, *blocks = re.split(r"^GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d)\s*$", text, flags=re.M)
    driver: Data = {"gpus": [_block(at // 2, blocks[at + 1]) for at in range(0, len(blocks) - 1, 2)]}
    for fact, name in (("version", "Driver Version"), ("cuda", "CUDA Version")):
        if found := re.search(rf"^{name}\s*: (\d\S+)", head, re.M):
            driver[fact] = found.group(1)
    return {"driver": driver}


def _block(index: int, text: str) -> Data:
    values = _paths(text)
    gpu: Data = {"index": index}
    for fact, path, convert in QUERY:
        if path in values and gpu.get(fact, LACKING) == LACKING:
            gpu[fact] = _converted(values[path], convert)
    gpu["clock_reasons"] = _reasons(values)
    uncorrected = [
        value for path, value in values.items() if re.match(r"ECC Errors/Volatile/.*Uncorrectable", path)
    ]
    if counted := [int(value) for value in uncorrected if value.isdigit()]:
        gpu["ecc_uncorrected"] = sum(counted)
    gpu["processes"] = _processes(text)
    return capability(str(gpu.get("name", ""))) | gpu


def _converted(text: str, convert: Convert) -> Any:
    if text in ABSENT:
        return LACKING
    try:
        return convert(text)
    except (ValueError, IndexError):
        return {"unknown": f"nvidia-smi says {text[:40]}"}


def _paths(text: str) -> dict[str, str]:
    """Each value by its place: the headings above it, joined by slashes."""
    values: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        found = re.match(r"^( +)([^:]+?)(?:\s+: ?(.*))?$", line)
        if not found:
            continue
        indent, name, value = len(found.group(1)), found.group(2), found.group(3)
        while above and above[-1][0] >= indent:
            above.pop()
        if value is None:
            above.append((indent, name))
        else:
            values.setdefault("/".join([*(part for _, part in above), name]), value.strip())
            above.append((indent, name))  # "HW Slowdown" has values of its own below it
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
        if f"{heading}/Idle" in values:
            return [name for place, name in REASONS.items() if values.get(f"{heading}/{place}") == "Active"]
    return {"unknown": "nvidia-smi says nothing of it"}


def _processes(text: str) -> Any:
    part = text.partition("\n    Processes")[2]
    if not part:
        return {"unknown": "nvidia-smi says nothing of processes"}
    found = re.findall(r"Process ID\s*: (\d+)(.*?)(?=Process ID|\Z)", part, re.S)
    return [{"pid": int(pid), **_held(rest)} for pid, rest in found]


def _held(text: str) -> Data:
    name = re.search(r"Name\s*: (\S.*)", text)
    used = re.search(r"Used GPU Memory\s*: (\d+) MiB", text)
    return {
        "name": name.group(1).strip() if name else None,
        "used": int(used.group(1)) << 20 if used else None,
    }


# nvidia-smi --query-gpu=... --format=csv: the field's name, without its unit.
FIELDS: dict[str, tuple[str, Convert]] = {
    "name": ("name", str),
    "gpu_name": ("name", str),
    "uuid": ("uuid", str),
    "gpu_uuid": ("uuid", str),
    "pci.bus_id": ("bdf", bdf),
    "gpu_bus_id": ("bdf", bdf),
    "memory.total": ("memory_total", _mib),
    "memory.used": ("memory_used", _mib),
    "memory.free": ("memory_free", _mib),
    "memory.reserved": ("memory_reserved", _mib),
    "compute_cap": ("capability", str),
    "temperature.gpu": ("temperature", _int),
    "power.draw": ("power_draw", _number),
    "power.limit": ("power_limit", _number),
    "power.default_limit": ("power_default", _number),
    "power.max_limit": ("power_max", _number),
    "utilization.gpu": ("utilisation", _int),
    "pcie.link.gen.current": ("link_gen", _int),
    "pcie.link.gen.gpucurrent": ("link_gen", _int),
    "pcie.link.gen.max": ("link_gen_max", _int),
    "pcie.link.gen.gpumax": ("link_gen_device", _int),
    "pcie.link.width.current": ("link_width", _int),
    "pcie.link.width.max": ("link_width_max", _int),
    "persistence_mode": ("persistence", _on),
    "mig.mode.current": ("mig", _on),
    "ecc.mode.current": ("ecc", _on),
    "compute_mode": ("compute_mode", _lower),
    "pstate": ("pstate", _int),
}
CSV_HEADER = re.compile(r"^(?:[\w.]+(?: \[[\w%/]+\])?, )+[\w.]+(?: \[[\w%/]+\])?$", re.M)


def table_of_values(text: str) -> Data:
    """`nvidia-smi --query-gpu=... --format=csv`, units or not."""
    found = CSV_HEADER.search(text)
    assert found is not None
    names = [name.partition(" [")[0] for name in found.group().split(", ")]
    gpus: list[Data] = []
    driver: Data = {}
    for row in csv.reader(text[found.end() :].strip().splitlines(), skipinitialspace=True):
        if len(row) != len(names):
            break
        values = dict(zip(names, row, strict=True))
        gpu: Data = {"index": _int(values["index"]) if values.get("index", "").isdigit() else len(gpus)}
        for name, value in values.items():
            if name in FIELDS:
                fact, convert = FIELDS[name]
                gpu[fact] = _converted(value.strip(), convert)
        gpus.append(capability(str(gpu.get("name", ""))) | gpu)
        if "driver_version" in values:
            driver["version"] = values["driver_version"].strip()
    return {"driver": driver | {"gpus": gpus}} if any("name" in gpu or "bdf" in gpu for gpu in gpus) else {}


def table(text: str) -> Data:
    """The table that plain `nvidia-smi` prints."""
    driver: Data = {}
    for fact, name in (("version", "Driver Version"), ("cuda", "CUDA Version")):
        if found := re.search(rf"{name}: (\d[\d.]*)", text):
            driver[fact] = found.group(1)
    rows = re.findall(
        r"^\|\s+(\d+)\s+(\S.*?)\s+(On|Off)\s+\|\s+([0-9A-F]+:[0-9A-F]+:[0-9A-F]+\.\d).*\n\|(.*)$", text, re.M
    )
    processes = re.findall(r"^\|\s+(\d+)\s+(?:\S+\s+\S+\s+)?(\d+)\s+[CG+]+\s+(\S+)\s+(\d+)MiB \|", text, re.M)
    gpus = []
    for index, name, persistence, address, second in rows:
        gpu: Data = {"index": int(index), "bdf": bdf(address), "persistence": persistence == "On"}
        if "..." not in name:  # the column cuts long names
            gpu["name"] = name
        if memory := re.search(r"(\d+)MiB / +(\d+)MiB", second):
            gpu |= {"memory_used": int(memory.group(1)) << 20, "memory_total": int(memory.group(2)) << 20}
        if power := re.search(r"(\d+)W / +(\d+)W", second):
            gpu |= {"power_draw": float(power.group(1)), "power_limit": float(power.group(2))}
        if busy := re.search(r"\|\s+(\d+)%", second):
            gpu["utilisation"] = int(busy.group(1))
        gpu["processes"] = [
            {"pid": int(pid), "name": command, "used": int(used) << 20}
            for owner, pid, command, used in processes
            if owner == index
        ]
        gpus.append(capability(name) | gpu)
    return {"driver": driver | ({"gpus": gpus} if gpus else {})}
