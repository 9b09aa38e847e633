"""Hosts for the stand-in driver library: base scenarios, written to a file that it reads again when
it changes.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("nvml.c")
BUSES = (
    0x06,
    0x07,
    0x16,
    0x17,
    0x86,
    0x87,
    0x96,
    0x97,
    0xA6,
    0xA7,
    0xB6,
    0xB7,
    0xC6,
    0xC7,
    0xD6,
    0xD7,
)
READ_WRITE_NVLINK = ("read", "write", "nvlink")
NOT_SUPPORTED = 5

Scenario = dict[str, object]


def library(folder: Path) -> Path:
    """Build the library in a folder. Skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for the stand-in driver library")
    made = folder / "libnvidia-ml.so.1"
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden"]
    subprocess.run(
        [compiler, *flags, f"-Wl,-soname,{made.name}", "-o", made, SOURCE, "-lpthread"],
        check=True,
        timeout=120,
    )
    return made


def environ(library: Path, scenario: Path, log: Path | None = None) -> dict[str, str]:
    """What a process needs to meet the host of a scenario instead of this one's driver."""
    made = {"LD_LIBRARY_PATH": str(library.parent), "NVML_SHIM_SCENARIO": str(scenario)}
    return made | ({"NVML_SHIM_LOG": str(log)} if log else {})


def write(path: Path, scenario: Scenario) -> Path:
    """Write a scenario in one step, so that a process under test never reads half of it."""
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(f"{name} = {value}\n" for name, value in sorted(scenario.items())))
    fresh.replace(path)
    return path


def host(count: int, sockets: int = 2, **every: object) -> Scenario:
    """A host of like GPUs, spread over sockets; values not named are those of an idle RTX PRO
    6000.
    """
    gpu = {
        "name": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "cc": "12.0",
        "arch": 10,
        "pcie_gen": 1,
        "pcie_gen_max": 5,
        "pcie_gen_gpu_max": 5,
        "pcie_width": 16,
        "pcie_width_max": 16,
        "mem_total": 97887 << 20,
        "mem_reserved": 636 << 20,
        "mem_used": 0,
        "bar1_total": 128 << 30,
        "mig": "0,0",
        "ecc": "1,1",
        "ecc_uncorrected_volatile": 0,
        "remapped": "0,0,0,0",
        "persistence": 1,
        "compute_mode": 0,
        "virt_mode": 0,
        "pstate": 8,
        "power_mw": 39000,
        "power_limit_mw": 600000,
        "power_default_mw": 600000,
        "power_min_mw": 300000,
        "power_max_mw": 600000,
        "temp": 26,
        "clock_sm": 180,
        "clock_sm_max": 2430,
        "clocks_event_reasons": 1,
        "util_gpu": 0,
        "util_mem": 0,
        "gsp_version": "595.58.03",
        "vbios": "98.02.67.00.0A",
        "fabric": 0,
        "field.230": 0,
        "addressing_mode": 0,
        "event_types": "0x1f",
    } | every
    made: Scenario = {
        "system.driver_version": "595.58.03",
        "system.cuda_version": 13020,
        "system.cc_feature": 0,
        "gpu.count": count,
    }
    made |= {f"gpu.*.{name}": value for name, value in gpu.items()}
    made |= {
        f"p2p.*.{kind}": NOT_SUPPORTED if kind == "nvlink" else 0 for kind in READ_WRITE_NVLINK
    }
    for index in range(count):
        socket = index * sockets // count
        made[f"gpu.{index}.bdf"] = f"00000000:{BUSES[index]:02X}:00.0"
        made[f"gpu.{index}.uuid"] = f"GPU-00000000-0000-4000-8000-{index:012d}"
        made[f"gpu.{index}.numa_node"] = socket
        made[f"topo.{index}"] = ",".join(
            str(_distance(index, other, count, sockets)) for other in range(count)
        )
    return made


def _distance(one: int, two: int, count: int, sockets: int) -> int:
    """NVML's number for a pair: 0 itself, 10 PIX (one switch), 40 NODE (one socket), 50 SYS."""
    if one == two:
        return 0
    if one // 2 == two // 2:
        return 10
    return 40 if one * sockets // count == two * sockets // count else 50


def rtx_pro_6000(count: int = 8, sockets: int = 2) -> Scenario:
    """RTX PRO 6000 Server boards behind a switch for each pair."""
    return host(count, sockets)


def h100() -> Scenario:
    """One H100: a sound GPU that is not Blackwell."""
    return host(1, 1, name="NVIDIA H100 80GB HBM3", cc="9.0", arch=9, mem_total=81559 << 20)


def b200() -> Scenario:
    """Eight B200 behind NVSwitch, the fabric up."""
    made = host(
        8,
        name="NVIDIA B200",
        cc="10.0",
        mem_total=183359 << 20,
        bar1_total=256 << 30,
        fabric=3,
        nvlinks=18,
    )
    return made | {
        "p2p.*.nvlink": 0,
        "gpu.*.power_limit_mw": 1000000,
        "gpu.*.power_default_mw": 1000000,
    }


def mixed() -> Scenario:
    """Four RTX PRO 6000, the last one an RTX 5090."""
    return host(4, 1) | {"gpu.3.name": "NVIDIA GeForce RTX 5090", "gpu.3.mem_total": 32607 << 20}
