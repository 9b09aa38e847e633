"""nvidia-smi -q -x: the long form as XML, whose names are others."""

from __future__ import annotations

import re
from typing import Any

from launcher.host.parsers.smi import (
    LACKING,
    MOST_GPUS,
    Convert,
    bdf,
    capability,
    converted,
    lower,
    mib,
    number,
    on,
    virtualization,
    whole,
)

Data = dict[str, Any]

KNOWN = re.compile(r"^<nvidia_smi_log>", re.M)
_TAG = re.compile(r"<(/?)(\w+)((?: \w+=\"[^\"<>]*\")*)(/?)>([^<]*)")
DEEPEST = 12
# The fact, its place below <gpu>, and how the text becomes a value; the first that says something.
PLACES: tuple[tuple[str, str, Convert], ...] = (
    ("name", "product_name", str),
    ("uuid", "uuid", str),
    ("architecture", "product_architecture", lower),
    ("memory_total", "fb_memory_usage/total", mib),
    ("memory_reserved", "fb_memory_usage/reserved", mib),
    ("memory_used", "fb_memory_usage/used", mib),
    ("memory_free", "fb_memory_usage/free", mib),
    ("bar1_total", "bar1_memory_usage/total", mib),
    ("gsp", "gsp_firmware_version", str),
    ("vbios", "vbios_version", str),
    ("mig", "mig_mode/current_mig", on),
    ("ecc", "ecc_mode/current_ecc", on),
    ("ecc_uncorrected", "ecc_errors/volatile/dram_uncorrectable", whole),
    ("remap_pending", "remapped_rows/remapped_row_pending", on),
    ("remap_failed", "remapped_rows/remapped_row_failure", on),
    ("persistence", "persistence_mode", on),
    ("compute_mode", "compute_mode", lower),
    ("power_draw", "gpu_power_readings/instant_power_draw", number),
    ("power_draw", "gpu_power_readings/power_draw", number),
    ("power_draw", "power_readings/power_draw", number),
    ("power_limit", "gpu_power_readings/current_power_limit", number),
    ("power_limit", "power_readings/enforced_power_limit", number),
    ("power_limit", "power_readings/power_limit", number),
    ("power_default", "gpu_power_readings/default_power_limit", number),
    ("power_default", "power_readings/default_power_limit", number),
    ("power_max", "gpu_power_readings/max_power_limit", number),
    ("power_max", "power_readings/max_power_limit", number),
    ("temperature", "temperature/gpu_temp", whole),
    ("utilisation", "utilization/gpu_util", whole),
    ("pstate", "performance_state", whole),
    ("link_gen", "pci/pci_gpu_link_info/pcie_gen/current_link_gen", whole),
    ("link_gen_max", "pci/pci_gpu_link_info/pcie_gen/max_link_gen", whole),
    ("link_gen_device", "pci/pci_gpu_link_info/pcie_gen/max_device_link_gen", whole),
    ("link_width", "pci/pci_gpu_link_info/link_widths/current_link_width", whole),
    ("link_width_max", "pci/pci_gpu_link_info/link_widths/max_link_width", whole),
    ("virtualization", "gpu_virtualization_mode/virtualization_mode", virtualization),
    ("fabric", "fabric/state", lower),
    ("recovery", "gpu_recovery_action", lower),
    ("addressing", "addressing_mode", lower),
)


def query(text: str) -> Data:
    """`nvidia-smi -q -x`; no entity is expanded, and nothing is fetched."""
    driver: Data = {}
    gpus: list[Data] = []
    for head, told in _elements(text):
        if head.startswith("gpu ") and len(gpus) < MOST_GPUS:
            gpus.append(_gpu(len(gpus), head, told))
        for fact, name in (("version", "driver_version"), ("cuda", "cuda_version")):
            if not head and re.fullmatch(r"\d[\d.]*", told.get(name, "")):
                driver[fact] = told[name]
    return {"driver": driver | {"gpus": gpus}}


def _elements(text: str) -> list[tuple[str, dict[str, str]]]:
    """What stands in the log itself, under "", and in each <gpu>: values by their place there."""
    found: list[tuple[str, dict[str, str]]] = [("", {})]
    above: list[str] = []
    for closes, name, words, is_empty, value in _TAG.findall(text):
        if closes:
            above = above[: above.index(name)] if name in above else above
            if name == "gpu":
                found.append(("", {}))
            continue
        if name == "gpu" and "id=" in words:
            found.append((f"gpu {words}", {}))
            above = []
        elif name != "nvidia_smi_log":
            place = "/".join([*above, name])
            told = found[-1][1]
            told[place] = f"{told[place]}\n{value.strip()}" if place in told else value.strip()
            above = above if is_empty else [*above, name][:DEEPEST]
    return found


def _gpu(index: int, head: str, told: dict[str, str]) -> Data:
    gpu: Data = {"index": index}
    if address := re.search(r'id="([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d)"', head):
        gpu["bdf"] = bdf(address[1])
    for fact, place, convert in PLACES:
        if place in told and gpu.get(fact, LACKING) == LACKING:
            gpu[fact] = converted(told[place], convert)
    if "processes" in told:
        pids = told.get("processes/process_info/pid", "").split()
        gpu["processes"] = [{"pid": int(pid[:9])} for pid in pids if pid.isdecimal()]
    return capability(str(gpu.get("name", ""))) | gpu
