"""What the NVIDIA driver says, told fact by fact: a program of its own, because a wedged driver never returns.

Each line on stdout is JSON: `["ask", call, gpu]` before a question, then `[place, value]` or `[place, null, why]`,
where the place is a path into launcher.facts.Driver. Whoever reads may stop at any line and keep what was told.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml as nvml

UNSUPPORTED = "the driver does not support it here"
ARCHITECTURES = {
    2: "kepler",
    3: "maxwell",
    4: "pascal",
    5: "volta",
    6: "turing",
    7: "ampere",
    8: "ada",
    9: "hopper",
}
ARCHITECTURES |= {10: "blackwell"}
COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")
VIRTUALIZATION = ("none", "passthrough", "vgpu", "host_vgpu", "host_vsga")
FABRIC = ("not_supported", "not_started", "in_progress", "completed")
TOPOLOGY = {0: "PIX", 10: "PIX", 20: "PXB", 30: "PHB", 40: "NODE", 50: "SYS"}
P2P = ("OK", "CNS", "GNS", "TNS", "DR", "NS", "U")
READ, WRITE, NVLINK = 0, 1, 2  # pynvml's own name for READ is a tuple
CLOCK_REASONS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
    0x100: "display_clock",
}
NOT_AVAILABLE = 2**64 - 1
MAX_NVLINKS = 18

Place = list[str | int]


def say(*line: Any) -> None:
    """One line, written at once: the next call may not return."""
    os.write(1, json.dumps(line, default=_text).encode() + b"\n")


def _text(value: Any) -> str:
    return (
        value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    )  # pynvml decodes some, not all


def words_for(error: nvml.NVMLError) -> str:
    """Why a question was not answered, in words of ours where an operator needs more than NVML's."""
    known = {
        nvml.NVML_ERROR_NOT_SUPPORTED: UNSUPPORTED,
        nvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this driver is too old to say",
        nvml.NVML_ERROR_NO_PERMISSION: "no permission to ask the driver: run as root, or pass the devices in",
        nvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA kernel module is not loaded",
        nvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "driver library and kernel module have different versions",
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
    except Exception as error:  # a binding that does not fit the driver: this fact is lost, not all of them
        say(place, None, f"{type(error).__name__}: {error}")
        return None
    say(place, value)
    return value


def name_of(names: tuple[str, ...], number: int) -> str:
    """A number of NVML's by its name."""
    return names[number] if 0 <= number < len(names) else f"unknown ({number})"


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
    for ask in (_identity, _state, _link):
        for index, device in enumerate(devices):
            if device is not None:
                ask(index, device)
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


def _ask_all(index: int, device: Any, questions: dict[str, tuple[str, Callable[[Any], Any]]]) -> None:
    for fact, (call, answer) in questions.items():
        # A name that this binding lacks is asked by its name, so that the fact says so.
        tell(["gpus", index, fact], call, lambda answer=answer: answer(device), index)  # type: ignore[misc]


def _identity(index: int, device: Any) -> None:
    _ask_all(
        index,
        device,
        {
            "name": ("nvmlDeviceGetName", nvml.nvmlDeviceGetName),
            "uuid": ("nvmlDeviceGetUUID", nvml.nvmlDeviceGetUUID),
            "bdf": ("nvmlDeviceGetPciInfo", _bdf),
            "capability": ("nvmlDeviceGetCudaComputeCapability", _capability),
            "architecture": ("nvmlDeviceGetArchitecture", _architecture),
        },
    )


def _bdf(device: Any) -> str:
    # "00000000:61:00.0": the kernel writes four digits of a domain, more only where there are more.
    domain, _, rest = str(nvml.nvmlDeviceGetPciInfo(device).busId).lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"


def _capability(device: Any) -> str:
    return ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(device)))


def _architecture(device: Any) -> str:
    number = nvml.nvmlDeviceGetArchitecture(device)
    return ARCHITECTURES.get(number, f"unknown ({number})")


def _state(index: int, device: Any) -> None:
    _memory(index, device)
    _ask_all(
        index,
        device,
        {
            "processes": ("nvmlDeviceGetComputeRunningProcesses", _processes),
            "utilisation": (
                "nvmlDeviceGetUtilizationRates",
                lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
            ),
            "bar1_total": (
                "nvmlDeviceGetBAR1MemoryInfo",
                lambda gpu: nvml.nvmlDeviceGetBAR1MemoryInfo(gpu).bar1Total,
            ),
            "gsp": ("nvmlDeviceGetGspFirmwareVersion", nvml.nvmlDeviceGetGspFirmwareVersion),
            "mig": ("nvmlDeviceGetMigMode", lambda gpu: bool(nvml.nvmlDeviceGetMigMode(gpu)[0])),
            "ecc": ("nvmlDeviceGetEccMode", lambda gpu: bool(nvml.nvmlDeviceGetEccMode(gpu)[0])),
            "ecc_uncorrected": ("nvmlDeviceGetTotalEccErrors", _ecc),
            "persistence": (
                "nvmlDeviceGetPersistenceMode",
                lambda gpu: bool(nvml.nvmlDeviceGetPersistenceMode(gpu)),
            ),
            "compute_mode": (
                "nvmlDeviceGetComputeMode",
                lambda gpu: name_of(COMPUTE_MODES, nvml.nvmlDeviceGetComputeMode(gpu)),
            ),
            "power_draw": ("nvmlDeviceGetPowerUsage", _watts(nvml.nvmlDeviceGetPowerUsage)),
            "power_limit": ("nvmlDeviceGetEnforcedPowerLimit", _watts(nvml.nvmlDeviceGetEnforcedPowerLimit)),
            "power_default": (
                "nvmlDeviceGetPowerManagementDefaultLimit",
                _watts(nvml.nvmlDeviceGetPowerManagementDefaultLimit),
            ),
            "power_max": (
                "nvmlDeviceGetPowerManagementLimitConstraints",
                lambda gpu: nvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu)[1] / 1000,
            ),
            "clock_reasons": ("nvmlDeviceGetCurrentClocksEventReasons", _clock_reasons),
            "temperature": (
                "nvmlDeviceGetTemperature",
                lambda gpu: nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU),
            ),
            "pstate": ("nvmlDeviceGetPerformanceState", nvml.nvmlDeviceGetPerformanceState),
            "numa": ("nvmlDeviceGetMemoryAffinity", _numa),
            "virtualization": (
                "nvmlDeviceGetVirtualizationMode",
                lambda gpu: name_of(VIRTUALIZATION, nvml.nvmlDeviceGetVirtualizationMode(gpu)),
            ),
            "fabric": ("nvmlDeviceGetGpuFabricInfo", _fabric),
            "recovery": ("nvmlDeviceGetFieldValues", _recovery),
            "addressing": ("nvmlDeviceGetAddressingMode", _addressing),
        },
    )
    remapped = tell(
        ["gpus", index, "remap_pending"], "nvmlDeviceGetRemappedRows", lambda: _remapped(device)[0], index
    )
    if remapped is not None:
        tell(["gpus", index, "remap_failed"], "nvmlDeviceGetRemappedRows", lambda: _remapped(device)[1], index)
    else:
        say(["gpus", index, "remap_failed"], None, UNSUPPORTED)


def _memory(index: int, device: Any) -> None:
    facts = ("total", "free", "used", "reserved")
    say("ask", "nvmlDeviceGetMemoryInfo", index)
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2)
    except nvml.NVMLError as error:
        for fact in facts:
            say(["gpus", index, f"memory_{fact}"], None, words_for(error))
        return
    for fact in facts:
        say(["gpus", index, f"memory_{fact}"], getattr(memory, fact))


def _processes(device: Any) -> list[dict[str, Any]]:
    found = {}
    for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        for process in ask(device):
            used = process.usedGpuMemory
            used = None if used in (None, NOT_AVAILABLE) else used
            found[process.pid] = {"pid": process.pid, "used": used, "name": _process_name(process.pid)}
    return list(found.values())


def _process_name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # of another PID namespace: the driver sees the host's numbers
        return None


def _ecc(device: Any) -> int:
    return int(
        nvml.nvmlDeviceGetTotalEccErrors(device, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    )


def _remapped(device: Any) -> tuple[bool, bool]:
    _, _, pending, failed = nvml.nvmlDeviceGetRemappedRows(device)
    return bool(pending), bool(failed)


def _watts(ask: Callable[[Any], int]) -> Callable[[Any], float]:
    return lambda device: ask(device) / 1000


def _clock_reasons(device: Any) -> list[str]:
    bits = nvml.nvmlDeviceGetCurrentClocksEventReasons(device)
    return [name for bit, name in CLOCK_REASONS.items() if bits & bit]


def _numa(device: Any) -> int:
    nodes = nvml.nvmlDeviceGetMemoryAffinity(device, 1, nvml.NVML_AFFINITY_SCOPE_NODE)[0]
    return int(nodes).bit_length() - 1  # -1: no node is named


def _fabric(device: Any) -> str:
    info = nvml.c_nvmlGpuFabricInfo_t()
    nvml.nvmlDeviceGetGpuFabricInfo(device, ctypes.byref(info))
    return name_of(FABRIC, info.state)


def _recovery(device: Any) -> str:
    (value,) = nvml.nvmlDeviceGetFieldValues(device, [nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    nvml._nvmlCheckReturn(value.nvmlReturn)
    names = {
        getattr(nvml, name): name.removeprefix("NVML_GPU_RECOVERY_ACTION_").lower()
        for name in vars(nvml)
        if re.match("NVML_GPU_RECOVERY_ACTION_", name)
    }
    return str(names.get(value.value.uiVal, f"unknown ({value.value.uiVal})"))


def _addressing(device: Any) -> str:
    mode = nvml.nvmlDeviceGetAddressingMode(device)
    return {nvml.NVML_DEVICE_ADDRESSING_MODE_HMM: "hmm", nvml.NVML_DEVICE_ADDRESSING_MODE_ATS: "ats"}.get(
        mode, "none"
    )


def _link(index: int, device: Any) -> None:
    _ask_all(
        index,
        device,
        {
            "link_gen": ("nvmlDeviceGetCurrPcieLinkGeneration", nvml.nvmlDeviceGetCurrPcieLinkGeneration),
            "link_gen_max": ("nvmlDeviceGetMaxPcieLinkGeneration", nvml.nvmlDeviceGetMaxPcieLinkGeneration),
            "link_gen_device": (
                "nvmlDeviceGetGpuMaxPcieLinkGeneration",
                nvml.nvmlDeviceGetGpuMaxPcieLinkGeneration,
            ),
            "link_width": ("nvmlDeviceGetCurrPcieLinkWidth", nvml.nvmlDeviceGetCurrPcieLinkWidth),
            "link_width_max": ("nvmlDeviceGetMaxPcieLinkWidth", nvml.nvmlDeviceGetMaxPcieLinkWidth),
        },
    )


def _pairs(devices: list[Any]) -> None:
    def matrix(fact: str, call: str, cell: Callable[[Any, Any], str]) -> None:
        def rows() -> list[list[str]]:
            return [
                ["X" if one == two else cell(devices[one], devices[two]) for two in range(len(devices))]
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
    return name_of(P2P, nvml.nvmlDeviceGetP2PStatus(one, two, kind))


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
