"""nvidia-smi's table, and its comma-separated values."""

from __future__ import annotations

import csv
import re
from typing import Any

from launcher.host.parsers.smi import (
    Convert,
    bdf,
    capability,
    converted,
    lower,
    mib,
    number,
    on,
    whole,
)

Data = dict[str, Any]

# nvidia-smi --query-gpu=... --format=csv: the field's name, without its unit.
FIELDS: dict[str, tuple[str, Convert]] = {
    "name": ("name", str),
    "gpu_name": ("name", str),
    "uuid": ("uuid", str),
    "gpu_uuid": ("uuid", str),
    "pci.bus_id": ("bdf", bdf),
    "gpu_bus_id": ("bdf", bdf),
    "memory.total": ("memory_total", mib),
    "memory.used": ("memory_used", mib),
    "memory.free": ("memory_free", mib),
    "memory.reserved": ("memory_reserved", mib),
    "compute_cap": ("capability", str),
    "temperature.gpu": ("temperature", whole),
    "power.draw": ("power_draw", number),
    "power.limit": ("power_limit", number),
    "power.default_limit": ("power_default", number),
    "power.max_limit": ("power_max", number),
    "utilization.gpu": ("utilisation", whole),
    "pcie.link.gen.current": ("link_gen", whole),
    "pcie.link.gen.gpucurrent": ("link_gen", whole),
    "pcie.link.gen.max": ("link_gen_max", whole),
    "pcie.link.gen.gpumax": ("link_gen_device", whole),
    "pcie.link.width.current": ("link_width", whole),
    "pcie.link.width.max": ("link_width_max", whole),
    "persistence_mode": ("persistence", on),
    "mig.mode.current": ("mig", on),
    "ecc.mode.current": ("ecc", on),
    "compute_mode": ("compute_mode", lower),
    "pstate": ("pstate", whole),
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
        gpu: Data = {
            "index": whole(values["index"]) if values.get("index", "").isdigit() else len(gpus)
        }
        for name, value in values.items():
            if name in FIELDS:
                fact, convert = FIELDS[name]
                gpu[fact] = converted(value.strip(), convert)
        gpus.append(capability(str(gpu.get("name", ""))) | gpu)
        if "driver_version" in values:
            driver["version"] = values["driver_version"].strip()
    return (
        {"driver": driver | {"gpus": gpus}}
        if any("name" in gpu or "bdf" in gpu for gpu in gpus)
        else {}
    )


def table(text: str) -> Data:
    """The table that plain `nvidia-smi` prints."""
    driver: Data = {}
    for fact, name in (("version", "Driver Version"), ("cuda", "CUDA Version")):
        if found := re.search(rf"{name}: (\d[\d.]*)", text):
            driver[fact] = found.group(1)
    rows = re.findall(
        r"^\|\s+(\d+)\s+(\S.*?)\s+(On|Off)\s+\|\s+([0-9A-F]+:[0-9A-F]+:[0-9A-F]+\.\d).*\n\|(.*)$",
        text,
        re.M,
    )
    processes = re.findall(
        r"^\|\s+(\d+)\s+(?:\S+\s+\S+\s+)?(\d+)\s+[CG+]+\s+(\S+)\s+(\d+)MiB \|", text, re.M
    )
    gpus = []
    for index, name, persistence, address, second in rows:
        gpu: Data = {"index": int(index), "bdf": bdf(address), "persistence": persistence == "On"}
        if "..." not in name:  # the column cuts long names
            gpu["name"] = name
        if memory := re.search(r"(\d+)MiB / +(\d+)MiB", second):
            gpu |= {
                "memory_used": int(memory.group(1)) << 20,
                "memory_total": int(memory.group(2)) << 20,
            }
        if power := re.search(r"(\d+)W / +(\d+)W", second):
            gpu |= {"power_draw": float(power.group(1)), "power_limit": float(power.group(2))}
        if busy := re.search(r"\|\s+(\d+)%", second):
            gpu["utilisation"] = int(busy.group(1))
        gpu["processes"] = [
            {"pid": int(pid), "name": command, "used": int(used) << 20}
            for owner, pid, command, used in processes
            if owner == index
        ]
        gpus.append(capability(name, gpu.get("memory_total")) | gpu)
    return {"driver": driver | ({"gpus": gpus} if gpus else {})}
