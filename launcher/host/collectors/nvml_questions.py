"""What the NVIDIA driver is asked about one GPU: the fact, the call it stands for, and how to get
it.

The program that asks is nvml_child; values are those of launcher.host.facts.Gpu.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml as nvml

ARCHITECTURES = {
    2: "kepler",
    3: "maxwell",
    4: "pascal",
    5: "volta",
    6: "turing",
    7: "ampere",
    8: "ada",
    9: "hopper",
    10: "blackwell",
}
COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")
VIRTUALIZATION = ("none", "passthrough", "vgpu", "host_vgpu", "host_vsga")
FABRIC = ("not_supported", "not_started", "in_progress", "completed")
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


def _of(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else f"unknown ({number})"


def memory_of(device: Any) -> Any:
    """Bytes, with what the driver keeps for itself told apart from what is used."""
    return nvml.nvmlDeviceGetMemoryInfo(device, version=nvml.nvmlMemory_v2)


def _power_max(device: Any) -> float:
    return float(nvml.nvmlDeviceGetPowerManagementLimitConstraints(device)[1] / 1000)


def temperature_of(device: Any) -> int:
    """Degrees Celsius."""
    return int(nvml.nvmlDeviceGetTemperatureV(device, nvml.NVML_TEMPERATURE_GPU))


def _virtualization(device: Any) -> str:
    return _of(VIRTUALIZATION, nvml.nvmlDeviceGetVirtualizationMode(device))


def bdf_of(device: Any) -> str:
    """Its PCI address as the kernel writes it: "0000:61:00.0"."""
    # "00000000:61:00.0": the kernel writes four digits of a domain, more only where there are more.
    domain, _, rest = str(nvml.nvmlDeviceGetPciInfo(device).busId).lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"


def _capability(device: Any) -> str:
    return ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(device)))


def _architecture(device: Any) -> str:
    number = nvml.nvmlDeviceGetArchitecture(device)
    return ARCHITECTURES.get(number, f"unknown ({number})")


def _processes(device: Any) -> list[dict[str, Any]]:
    found = {}
    for ask in (
        nvml.nvmlDeviceGetComputeRunningProcesses,
        nvml.nvmlDeviceGetGraphicsRunningProcesses,
    ):
        for process in ask(device):
            used = process.usedGpuMemory
            used = None if used in (None, NOT_AVAILABLE) else used
            found[process.pid] = {
                "pid": process.pid,
                "used": used,
                "name": _process_name(process.pid),
            }
    return list(found.values())


def _process_name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # of another PID namespace: the driver sees the host's numbers
        return None


def _ecc(device: Any) -> int:
    return int(
        nvml.nvmlDeviceGetTotalEccErrors(
            device, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
        )
    )


def _watts(ask: Callable[[Any], int]) -> Callable[[Any], float]:
    return lambda device: ask(device) / 1000


def power_limit_of(device: Any) -> float:
    """Watts that it may draw."""
    return float(nvml.nvmlDeviceGetEnforcedPowerLimit(device) / 1000)


def clock_of(device: Any) -> int:
    """MHz of what computes on it."""
    return int(nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM))


def clock_max_of(device: Any) -> int:
    """MHz that it may have at most."""
    return int(nvml.nvmlDeviceGetMaxClockInfo(device, nvml.NVML_CLOCK_SM))


def clock_reasons_of(device: Any) -> list[str]:
    """Why its clocks are not higher."""
    bits = nvml.nvmlDeviceGetCurrentClocksEventReasons(device)
    return [name for bit, name in CLOCK_REASONS.items() if bits & bit]


def _numa(device: Any) -> int:
    nodes = nvml.nvmlDeviceGetMemoryAffinity(device, 1, nvml.NVML_AFFINITY_SCOPE_NODE)[0]
    return int(nodes).bit_length() - 1  # -1: no node is named


def _fabric(device: Any) -> str:
    info = nvml.c_nvmlGpuFabricInfo_t()
    nvml.nvmlDeviceGetGpuFabricInfo(device, ctypes.byref(info))
    return _of(FABRIC, info.state)


def _recovery(device: Any) -> str:
    (value,) = nvml.nvmlDeviceGetFieldValues(device, [nvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])
    nvml._nvmlCheckReturn(value.nvmlReturn)
    names = {
        getattr(nvml, name): name.removeprefix("NVML_GPU_RECOVERY_ACTION_").lower()
        for name in vars(nvml)
        if name.startswith("NVML_GPU_RECOVERY_ACTION_")
    }
    return str(names.get(value.value.uiVal, f"unknown ({value.value.uiVal})"))


def _addressing(device: Any) -> str:
    mode = nvml.nvmlDeviceGetAddressingMode(device)
    return {
        nvml.NVML_DEVICE_ADDRESSING_MODE_HMM: "hmm",
        nvml.NVML_DEVICE_ADDRESSING_MODE_ATS: "ats",
    }.get(mode, "none")


Question = tuple[str, str, Callable[[Any], Any]]

# In the order of asking: what everything else depends on comes first, should the driver hang later.
IDENTITY: tuple[Question, ...] = (
    ("name", "nvmlDeviceGetName", nvml.nvmlDeviceGetName),
    ("uuid", "nvmlDeviceGetUUID", nvml.nvmlDeviceGetUUID),
    ("bdf", "nvmlDeviceGetPciInfo", bdf_of),
    ("capability", "nvmlDeviceGetCudaComputeCapability", _capability),
    ("architecture", "nvmlDeviceGetArchitecture", _architecture),
)
STATE: tuple[Question, ...] = (
    ("memory_total", "nvmlDeviceGetMemoryInfo", lambda gpu: memory_of(gpu).total),
    ("memory_free", "nvmlDeviceGetMemoryInfo", lambda gpu: memory_of(gpu).free),
    ("memory_used", "nvmlDeviceGetMemoryInfo", lambda gpu: memory_of(gpu).used),
    ("memory_reserved", "nvmlDeviceGetMemoryInfo", lambda gpu: memory_of(gpu).reserved),
    ("processes", "nvmlDeviceGetComputeRunningProcesses", _processes),
    (
        "utilisation",
        "nvmlDeviceGetUtilizationRates",
        lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    ),
    (
        "bar1_total",
        "nvmlDeviceGetBAR1MemoryInfo",
        lambda gpu: nvml.nvmlDeviceGetBAR1MemoryInfo(gpu).bar1Total,
    ),
    ("gsp", "nvmlDeviceGetGspFirmwareVersion", nvml.nvmlDeviceGetGspFirmwareVersion),
    ("vbios", "nvmlDeviceGetVbiosVersion", nvml.nvmlDeviceGetVbiosVersion),
    ("mig", "nvmlDeviceGetMigMode", lambda gpu: bool(nvml.nvmlDeviceGetMigMode(gpu)[0])),
    ("ecc", "nvmlDeviceGetEccMode", lambda gpu: bool(nvml.nvmlDeviceGetEccMode(gpu)[0])),
    ("ecc_uncorrected", "nvmlDeviceGetTotalEccErrors", _ecc),
    (
        "remap_pending",
        "nvmlDeviceGetRemappedRows",
        lambda gpu: bool(nvml.nvmlDeviceGetRemappedRows(gpu)[2]),
    ),
    (
        "remap_failed",
        "nvmlDeviceGetRemappedRows",
        lambda gpu: bool(nvml.nvmlDeviceGetRemappedRows(gpu)[3]),
    ),
    (
        "persistence",
        "nvmlDeviceGetPersistenceMode",
        lambda gpu: bool(nvml.nvmlDeviceGetPersistenceMode(gpu)),
    ),
    (
        "compute_mode",
        "nvmlDeviceGetComputeMode",
        lambda gpu: _of(COMPUTE_MODES, nvml.nvmlDeviceGetComputeMode(gpu)),
    ),
    ("power_draw", "nvmlDeviceGetPowerUsage", _watts(nvml.nvmlDeviceGetPowerUsage)),
    ("power_limit", "nvmlDeviceGetEnforcedPowerLimit", power_limit_of),
    (
        "power_default",
        "nvmlDeviceGetPowerManagementDefaultLimit",
        _watts(nvml.nvmlDeviceGetPowerManagementDefaultLimit),
    ),
    ("power_max", "nvmlDeviceGetPowerManagementLimitConstraints", _power_max),
    ("clock_reasons", "nvmlDeviceGetCurrentClocksEventReasons", clock_reasons_of),
    ("temperature", "nvmlDeviceGetTemperature", temperature_of),
    ("pstate", "nvmlDeviceGetPerformanceState", nvml.nvmlDeviceGetPerformanceState),
    ("numa", "nvmlDeviceGetMemoryAffinity", _numa),
    ("virtualization", "nvmlDeviceGetVirtualizationMode", _virtualization),
    ("fabric", "nvmlDeviceGetGpuFabricInfo", _fabric),
    ("recovery", "nvmlDeviceGetFieldValues", _recovery),
    ("addressing", "nvmlDeviceGetAddressingMode", _addressing),
)
LINK: tuple[Question, ...] = (
    ("link_gen", "nvmlDeviceGetCurrPcieLinkGeneration", nvml.nvmlDeviceGetCurrPcieLinkGeneration),
    ("link_gen_max", "nvmlDeviceGetMaxPcieLinkGeneration", nvml.nvmlDeviceGetMaxPcieLinkGeneration),
    (
        "link_gen_device",
        "nvmlDeviceGetGpuMaxPcieLinkGeneration",
        nvml.nvmlDeviceGetGpuMaxPcieLinkGeneration,
    ),
    ("link_width", "nvmlDeviceGetCurrPcieLinkWidth", nvml.nvmlDeviceGetCurrPcieLinkWidth),
    ("link_width_max", "nvmlDeviceGetMaxPcieLinkWidth", nvml.nvmlDeviceGetMaxPcieLinkWidth),
)
