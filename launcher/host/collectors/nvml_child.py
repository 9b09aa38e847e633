"""What the NVIDIA driver says, told fact by fact: a program of its own, because a wedged driver
never returns.

Each line on stdout is JSON: `["ask", call, gpu]` before a question, then `[place, value]` or
`[place, null, why]`, where the place is a path into launcher.host.facts.Driver. Whoever reads may
stop at any line and keep what was told.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pynvml as nvml

from launcher.host.collectors.nvml_questions import IDENTITY, LINK, STATE

UNSUPPORTED = "the driver does not support it here"
TOPOLOGY = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
P2P = ("OK", "CNS", "GNS", "TNS", "DR", "NS", "U")
READ, WRITE, NVLINK = 0, 1, 2  # pynvml's own name for READ is a tuple
MAX_NVLINKS = 18

Place = list[str | int]


def say(*line: Any) -> None:
    """One line, written at once: the next call may not return."""
    os.write(1, json.dumps(line, default=_text).encode() + b"\n")


def _text(value: Any) -> str:
    # pynvml decodes some, not all
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def words_for(error: nvml.NVMLError) -> str:
    """Why a question was not answered, in words of ours where an operator needs more than
    NVML's.
    """
    known = {
        nvml.NVML_ERROR_NOT_SUPPORTED: UNSUPPORTED,
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this driver is too old to say",
        nvml.NVML_ERROR_NO_PERMISSION: (
            "no permission to ask the driver: run as root, or pass the devices in"
        ),
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel module is not loaded",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
            "driver library and kernel module have different versions"
        ),
    }
    return known.get(error.value, str(error))


def tell(place: Place, call: str, answer: Callable[[], Any], gpu: int | None = None) -> Any:
    """Ask one question and tell its answer, or why there is none."""
    say("ask", call, gpu)
    try:
        value = answer()
    except nvml.NVMLError as error:
        say(place, None, words_for(error))
        return None
    except (
        Exception
    ) as error:  # a binding that does not fit the driver: this fact is lost, not all of them
        say(place, None, f"{type(error).__name__}: {error}")
        return None
    say(place, value)
    return value


def main() -> None:
    """Tell everything, the cheap and the most important first."""
    try:
        say("ask", "nvmlInit", None)
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return say("end", _no_driver(error))
    tell(["version"], "nvmlSystemGetDriverVersion", nvml.nvmlSystemGetDriverVersion)
    tell(["cuda"], "nvmlSystemGetCudaDriverVersion", _cuda)
    tell(["confidential"], "nvmlSystemGetConfComputeState", _confidential)
    count = tell(["count"], "nvmlDeviceGetCount", nvml.nvmlDeviceGetCount) or 0
    devices = [_handle(index) for index in range(count)]
    for questions in (IDENTITY, STATE, LINK):
        for index, device in enumerate(devices):
            if device is not None:
                for fact, call, answer in questions:
                    tell(["gpus", index, fact], call, partial(answer, device), index)
    _pairs(devices)
    say("end", None)


def _no_driver(error: nvml.NVMLError) -> str:
    if error.value != nvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return words_for(error)
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as reason:  # pynvml swallows it
        return f"no NVIDIA driver library: {reason}"
    return str(error)


def _cuda() -> str:
    version = nvml.nvmlSystemGetCudaDriverVersion_v2()
    return f"{version // 1000}.{version % 1000 // 10}"


def _confidential() -> bool:
    return bool(nvml.nvmlSystemGetConfComputeState().ccFeature)


def _handle(index: int) -> Any:
    say("ask", "nvmlDeviceGetHandleByIndex", index)
    try:
        return nvml.nvmlDeviceGetHandleByIndex(index)
    except nvml.NVMLError as error:
        say(["gpus", index], None, words_for(error))
        return None


def _pairs(devices: list[Any]) -> None:
    def matrix(fact: str, call: str, cell: Callable[[Any, Any], str]) -> None:
        def rows() -> list[list[str]]:
            return [
                [
                    "X" if one == two else cell(devices[one], devices[two])
                    for two in range(len(devices))
                ]
                for one in range(len(devices))
            ]

        if all(device is not None for device in devices):
            tell([fact], call, rows)
        else:
            say([fact], None, "a GPU does not answer")

    matrix("topology", "nvmlDeviceGetTopologyCommonAncestor", _path)
    matrix("p2p_read", "nvmlDeviceGetP2PStatus", lambda one, two: _p2p(one, two, READ))
    matrix("p2p_write", "nvmlDeviceGetP2PStatus", lambda one, two: _p2p(one, two, WRITE))


def _p2p(one: Any, two: Any, kind: int) -> str:
    # the last one is "unknown"
    return P2P[min(nvml.nvmlDeviceGetP2PStatus(one, two, kind), len(P2P) - 1)]


def _path(one: Any, two: Any) -> str:
    try:
        if _p2p(one, two, NVLINK) == "OK":
            return f"NV{_nvlinks(one)}"
    except nvml.NVMLError:
        pass  # no NVLink here
    return TOPOLOGY.get(nvml.nvmlDeviceGetTopologyCommonAncestor(one, two), "SYS")


def _nvlinks(device: Any) -> int:
    active = 0
    for link in range(MAX_NVLINKS):
        try:
            active += nvml.nvmlDeviceGetNvLinkState(device, link)
        except nvml.NVMLError:
            break
    return active


if __name__ == "__main__":
    main()
    sys.stdout.flush()
