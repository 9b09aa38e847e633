"""What nvidia-smi says in place of an answer: no driver, no GPU, or one that is lost."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from launcher.host.parsers.smi import MOST_GPUS, bdf

Data = dict[str, Any]

_HANDLE = re.compile(
    r"Unable to (?:determine|detect) the device handle for GPU ?(?:(?P<index>\d{1,2}): )?"
    r"(?P<bdf>[0-9A-F]{4,8}:[0-9A-F]{2}:[0-9A-F]{2}\.\d): (?P<why>[^\n]{1,120})",
    re.I,
)
# nvidia-smi's words, and what they mean; {0} is what it adds.
_ANSWERS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"couldn't communicate with the NVIDIA driver"),
        "nvidia-smi cannot communicate with the driver: the NVIDIA kernel module is not loaded",
    ),
    (
        re.compile(r"Failed to initialize NVML: Driver/library version mismatch"),
        "driver library and kernel module have different versions",
    ),
    (
        re.compile(r"Failed to initialize NVML: (?:Insufficient Permissions|No permission)", re.I),
        "no permission to ask the driver: run as root, or pass the devices in",
    ),
    (re.compile(r"Failed to initialize NVML: ([^\n]{1,80})"), "nvidia-smi cannot start NVML: {0}"),
)
NO_DEVICES = re.compile(r"^No devices were found", re.M)
KNOWN = re.compile(
    "|".join([_HANDLE.pattern, NO_DEVICES.pattern, *(one.pattern for one, _ in _ANSWERS)]),
    re.M | re.I,
)


def refusals(text: str) -> Data:
    """What it says of the driver as a whole, else each GPU that did not answer."""
    for pattern, meaning in _ANSWERS:
        if found := pattern.search(text):
            return {"driver": {"gpus": {"unknown": meaning.format(*found.groups())}}}
    lost = {one["bdf"]: one for one in _HANDLE.finditer(text)}
    if not lost:
        return {"driver": {"gpus": []}}
    return {
        "driver": {
            "gpus": [_lost(at, one) for at, one in enumerate(islice(lost.values(), MOST_GPUS))]
        }
    }


def _lost(at: int, found: re.Match[str]) -> Data:
    why = f"nvidia-smi cannot determine its device handle: {found['why'].strip()}"
    index = int(found["index"]) if found["index"] else at
    return {"index": index, "bdf": bdf(found["bdf"]), "name": {"unknown": why}}
