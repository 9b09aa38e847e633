"""Each check by itself: one thing wrong on a healthy host is exactly one finding."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.healthy import (
    NOW,
    function,
    functions,
    gpu,
    having,
    host,
    mount,
    plan,
    topology,
    with_function,
    with_gpus,
    with_log,
    with_variables,
)
from test_node_checks import ROWS

from launcher.doctor.checks import REQUIRED, checks, every_check, judge
from launcher.doctor.checks.kernel import DRIVER
from launcher.engines.engine import dialect
from launcher.engines.failures import failures as known_failures
from launcher.engines.issues import every_issue
from launcher.errors import UserError
from launcher.host import facts_json
from launcher.host.facts import (
    Fact,
    Function,
    Gpu,
    Host,
    Pin,
    Process,
    Raid,
    known,
    unknown,
)
from launcher.plan.evidence import Known
from launcher.plan.findings import Severity, failures
from launcher.plan.plan import Plan

GPU_BDFS = [one.bdf.get() for one in host().driver.gpus.get()]
PORT, GPU3 = "0000:10:01.1", "0000:17:00.0"
DOWN3 = "0000:12:01.0"
WARN, FAIL = Severity.WARN, Severity.FAIL


def matrix(value: str) -> tuple[tuple[str, ...], ...]:
    rows = [["X" if one == two else "OK" for two in range(8)] for one in range(8)]
    rows[3][5] = value
    return tuple(map(tuple, rows))


def nvlinks(gpu: int, path: str, gpus: int = 8) -> tuple[tuple[str, ...], ...]:
    """A host of NVLink's switches, one of whose GPUs reaches the others by another path."""
    ways = [
        ["X" if a == b else path if gpu in (a, b) else "NV18" for b in range(gpus)]
        for a in range(gpus)
    ]
    return tuple(map(tuple, ways))


def mounts(**changed: Any) -> dict[str, Any]:
    return {**host().system.mounts.get(), **changed}


def tight(path: str) -> Any:
    return replace(mount(path), free=known(100 << 20))


H = host()
# check -> how bad, the host with one thing changed, what the evidence must name, settings of the plan
ONE_THING: list[tuple[str, Severity, Host, str, tuple[str, ...]]] = [
    ("driver-version", FAIL, having(with_gpus(H, *range(8), gsp="565.57.01"), driver__version="565.57.01",
     driver__module="565.57.01"), "580", ()),
    ("driver-known-good", WARN, having(with_gpus(H, *range(8), gsp="595.71.05"), driver__version="595.71.05",
     driver__module="595.71.05"), "#1159", ()),
    ("driver-cuda", FAIL, having(H, driver__cuda="12.8"), "12.8", ()),
    ("driver-open-modules", FAIL, having(H, driver__flavour="proprietary"), "proprietary", ()),
    ("driver-one-version", FAIL, having(H, driver__module="590.48.01"), "590.48.01", ()),
    ("driver-firmware", WARN, with_gpus(H, 3, gsp="590.48.01"), "GPU 3 (0000:17:00.0): 590.48.01", ()),
    ("driver-persistence", WARN, having(with_gpus(H, 3, persistence=False), system__daemons=()), "GPU 3", ()),
    ("driver-hmm", WARN, having(with_gpus(H, 3, addressing="hmm"), driver__hmm_disabled=False), "GPU 3", ()),
    ("driver-p2p-parameters", WARN, having(H, driver__params={"RegistryDwords": "ForceP2P=0x11"}), "ForceP2P", ()),
    ("driver-confidential", WARN, having(H, driver__confidential=True), "on", ()),
    ("driver-fabric", FAIL, with_gpus(H, 3, fabric="in_progress"), "in_progress", ()),
    ("more-ranks-than-gpus", FAIL, with_variables(H, CUDA_VISIBLE_DEVICES="0,1,2"), "sees 3 GPUs", ()),
    ("more-ranks-than-gpus", FAIL, with_variables(H, CUDA_VISIBLE_DEVICES=""), "sees 0 GPUs", ()),
    ("gpu-on-bus", FAIL, having(H, pcie__functions=(*functions(), function("gpu", "0000:99:00.0", "10de:2bb5", ()))),
     "0000:99:00.0", ()),
    ("gpu-architecture", FAIL, with_gpus(H, 3, capability="9.0"), "not Blackwell", ()),
    ("gpu-memory-size", FAIL, with_gpus(H, *range(8), memory_total=80 << 30), "80.0 GiB", ()),
    ("gpu-memory-free", FAIL, with_gpus(H, 3, processes=(Process(4242, 90 << 30, "python"),)), "4242", ()),
    ("gpu-memory-free", FAIL, with_gpus(H, 3, processes=(Process(7),), memory_used=80 << 30), "80.0 GiB", ()),
    ("gpu-left-over", FAIL, with_gpus(H, 3, utilisation=100), "100 % busy", ()),
    ("gpu-left-over", FAIL, with_gpus(H, 3, memory_used=6 << 30), "6.0 GiB", ()),
    ("gpu-recovery", FAIL, with_gpus(H, 3, recovery="node_reboot"), "node_reboot", ()),
    ("gpu-mig", FAIL, with_gpus(H, 3, mig=True), "GPU 3", ()),
    ("gpu-ecc", FAIL, with_gpus(H, 3, ecc_uncorrected=2), "2 uncorrected", ()),
    ("gpu-remap", WARN, with_gpus(H, 3, remap_pending=True), "waits", ()),
    ("gpu-remap", FAIL, with_gpus(H, 3, remap_failed=True), "failed", ()),
    ("gpu-compute-mode", FAIL, with_gpus(H, 3, compute_mode="exclusive_process"), "exclusive_process", ()),
    ("gpu-diagnostics", FAIL, having(H, driver__diagnostics={"Memory": "Fail", "PCIe": "Pass"}), "fail in Memory", ()),
    ("gpu-diagnostics", WARN, having(H, driver__diagnostics={"PCIe": "Warn"}), "warn in PCIe", ()),
    ("gpu-virtualization", WARN, with_gpus(H, 3, virtualization="vgpu"), "vgpu", ()),
    ("gpu-power-limit", WARN, with_gpus(H, 3, power_limit=350.0), "350 W of 600 W", ()),
    ("gpu-clocks", WARN, with_gpus(H, 3, clock_reasons=("sw_power_cap", "hw_power_brake")), "hw_power_brake", ()),
    ("gpu-temperature", WARN, with_gpus(H, 3, temperature=91), "91 C", ()),
    ("iommu-translation", FAIL, with_function(H, GPU3, iommu_type="DMA-FQ"), f"{GPU3}: group 7 is of type DMA-FQ", ()),
    ("iommu-translation", FAIL, with_function(having(H, kernel__cmdline="iommu=nopt"), GPU3, iommu_type="DMA-FQ"), "/proc/cmdline has iommu=nopt", ()),
    ("iommu-parameters", WARN, having(H, kernel__cmdline="ro iommu=pt amd_iommu=pt"), "amd_iommu=pt", ()),
    ("acs-redirect", FAIL, with_function(H, PORT, acs=("SrcValid", "ReqRedir")), f"{PORT} (root port)", ()),
    ("acs-redirect", FAIL, with_function(H, DOWN3, acs=("CmpltRedir",)), "CmpltRedir", ()),
    ("acs-override", WARN, having(H, kernel__cmdline="iommu=pt pcie_acs_override=downstream"), "override", ()),
    ("pcie-present", FAIL, with_function(H, GPU3, present=False), GPU3, ()),
    ("pcie-driver", FAIL, with_function(with_gpus(H), GPU3, driver="vfio-pci"), "vfio-pci", ()),
    ("pcie-width", WARN, with_gpus(H, 3, link_width=8), "x8 of x16", ()),
    ("pcie-generation", WARN, with_gpus(H, 3, link_gen_max=4), "Gen4", ()),
    ("pcie-generation-now", WARN, with_gpus(H, 3, pstate=0, link_gen=3), "Gen3 at P0", ()),
    ("pcie-path", WARN, with_function(H, PORT, width=8), "x8", ()),
    ("pcie-bar1", WARN, with_gpus(H, 3, bar1_total=256 << 20), "256 MiB", ()),
    ("pcie-errors", FAIL, with_function(H, PORT, aer_fatal=1), "1 fatal", ()),
    ("pcie-errors", WARN, with_function(H, GPU3, aer_correctable=99999), "99999 corrected", ()),
    ("pcie-power-saving", WARN, having(H, pcie__aspm="powersupersave"), "powersupersave", ()),
    ("switch-writes", WARN, with_function(H, "0000:11:00.0", id="1000:c030"), "PEX890xx", ()),
    ("gpu-numa", WARN, with_gpus(H, 3, numa=-1), "no NUMA node", ()),
    ("p2p-status", WARN, having(H, driver__p2p_read=matrix("CNS")), "3->5 read CNS", ()),
    ("p2p-status", WARN, having(H, driver__p2p_write=matrix("TNS")), "3->5 write TNS", ()),
    ("p2p-copies", WARN, having(H, driver__copies=((0.0, 12.5), (39.9, 0.0))), "12.5 GB/s (0->1)", ()),
    ("acs-redirect", WARN, having(H, pcie__acs=(("SrcValid",), ("SrcValid", "CmpltRedir"))), "1 of 2 ACSCtl lines", ()),
    ("nccl-level-value", WARN, with_variables(
        having(H, driver__topology=tuple(tuple("X" if a == b else "PIX" for b in range(8)) for a in range(8))),
        NCCL_P2P_LEVEL="sys"), "NCCL ignores 'sys'", ()),
    ("nvlink-links", FAIL, having(H, driver__topology=nvlinks(3, "NV9")), "GPU 3 has 9 of 18 NVLinks", ()),
    ("nvlink-links", FAIL, with_variables(having(H, driver__topology=nvlinks(3, "SYS")), NCCL_P2P_LEVEL=None),
     "GPU 3 has none of 18 NVLinks", ()),
    ("nccl-p2p-level", WARN, with_variables(H, NCCL_P2P_LEVEL="PHB"), "cuts 16 of 28 pairs (SYS", ()),
    ("nccl-p2p-level", WARN, with_variables(H, NCCL_P2P_LEVEL=None), "default level PXB cuts 24 of 28", ()),
    ("nccl-p2p-disabled", WARN, with_variables(H, NCCL_P2P_LEVEL=None, NCCL_P2P_DISABLE="1"), "DISABLE=1", ()),
    ("nccl-shared-memory", WARN, with_variables(H, NCCL_SHM_DISABLE="1"), "NCCL_SHM_DISABLE=1", ()),
    ("nccl-masked", WARN, with_variables(H, NCCL_IGNORE_DISABLED_P2P="1"), "=1", ()),
    ("nccl-turin", WARN, with_variables(H, NCCL_MIN_NCHANNELS=None), "family 26", ()),
    ("nccl-nvls", WARN, with_variables(H, NCCL_NVLS_ENABLE="1", NCCL_CUMEM_ENABLE="0"), "NVLS", ()),
    ("nccl-names", WARN, with_variables(H, NCCL_MIN_NCHANNEL="8"), "NCCL_MIN_NCHANNELS", ()),
    ("nccl-names", WARN, with_variables(H, NCCL_P2P_LEVLE="SYS"), "did you mean NCCL_P2P_LEVEL?", ()),
    ("nccl-numbers", WARN, with_variables(H, NCCL_CUMEM_ENABLE="on"), "NCCL_CUMEM_ENABLE=on: NCCL reads it as 0", ()),
    ("nccl-numbers", WARN, with_variables(H, NCCL_MIN_NCHANNELS="010"), "=010: NCCL reads it as 8", ()),
    ("nccl-channels", WARN, with_variables(H, NCCL_MAX_NCHANNELS="4"), "=8: a minimum above NCCL_MAX_NCHANNELS=4", ()),
    ("nccl-many-channels", WARN, with_variables(H, NCCL_MIN_NCHANNELS="128"), "64 channels", ()),
    ("nccl-infiniband", WARN, with_variables(having(H, system__infiniband=("mlx5_0",)), NCCL_IB_DISABLE=None),
     "mlx5_0", ()),
    ("nccl-interface", FAIL, with_variables(H, NCCL_SOCKET_IFNAME="eth0"), "eno1", ()),
    ("nccl-files", FAIL, having(H, environment__missing_files=("NCCL_GRAPH_FILE=/x.xml",)), "/x.xml", ()),
    ("nccl-debug", WARN, with_variables(H, NCCL_DEBUG="INFO"), "INFO", ()),
    ("nccl-one-host", WARN, with_variables(H, NCCL_ALLOC_P2P_NET_LL_BUFFERS="1"), "ALLOC_P2P_NET", ()),
    ("nccl-forced", WARN, with_variables(H, NCCL_PROTO="LL128"), "LL128", ()),
    ("nccl-conf-files", WARN, having(H, environment__conf={"/etc/nccl.conf": {"NCCL_DEBUG": "WARN"}}),
     "/etc/nccl.conf", ()),
    ("nccl-comm-id", WARN, with_variables(H, NCCL_COMM_ID="10.0.0.1:9999"), "10.0.0.1", ()),
    ("nccl-hostid", WARN, with_variables(H, NCCL_HOSTID="a"), "NCCL_HOSTID=a", ()),
    ("nccl-buffers", WARN, with_variables(H, NCCL_BUFFSIZE="134217728"), "128 MiB", ()),
    ("cuda-blocking", WARN, with_variables(H, CUDA_LAUNCH_BLOCKING="1"), "CUDA_LAUNCH_BLOCKING", ()),
    ("allocator-and-ipc", WARN, with_variables(H, PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True"), "expandable", ()),
    ("safetensors-fast-gpu", WARN, with_variables(H, SAFETENSORS_FAST_GPU="1"), "SAFETENSORS_FAST_GPU", ()),
    ("cpu-governor", WARN, having(H, system__governors={"powersave": 255, "performance": 1}), "255 CPUs", ()),
    ("cpu-count", WARN, having(H, system__cpus_allowed=8), "8 CPUs", ()),
    ("numa-balancing", WARN, having(H, system__numa_balancing=1), "is 1", ()),
    ("huge-pages", WARN, having(H, system__huge_pages="always"), "always", ()),
    ("swap", WARN, having(H, system__swap=8 << 30, system__swappiness=60), "60", ()),
    ("host-memory", FAIL, having(H, system__memory_available=16 << 30), "16.0 GiB", ()),
    ("host-memory", WARN, having(H, system__memory_total=256 << 30), "256.0 GiB", ()),
    ("memory-limit", FAIL, having(H, system__memory_limit=16 << 30), "16.0 GiB", ()),
    ("shared-memory", FAIL, having(H, system__mounts=mounts(
        shm=replace(mount("/dev/shm", "tmpfs"), free=known(64 << 20)))), "64 MiB", ()),
    ("locked-memory", WARN, having(H, system__limits={"memlock": 8 << 20, "nofile": 1 << 20, "core": 0}), "8192 KiB", ()),
    ("open-files", WARN, having(H, system__limits={"memlock": None, "nofile": 1024, "core": 0}), "1024", ()),
    ("core-dumps", WARN, having(H, system__limits={"memlock": None, "nofile": 1 << 20, "core": None}), "core", ()),
    ("virtual-machine", WARN, having(H, system__virtualisation="wsl"), "WSL", ()),
    ("container-libraries", WARN, having(H, system__container="docker",
     system__compat_libraries=("/usr/local/cuda/compat/libcuda.so.1",)), "compat", ()),
    ("container-devices", WARN, having(H, system__cdi_older=("/etc/cdi/nvidia.yaml is of driver 590",)), "cdi", ()),
    ("disk-space", FAIL, having(H, system__mounts=mounts(cache=tight("/home/op/.cache"))), "/home/op/.cache", ()),
    ("disk-space", FAIL, having(H, system__mounts=mounts(tmp=tight("/tmp"))), "/tmp", ()),
    ("disk-space", WARN, having(H, system__mounts=mounts(cache=replace(mount("/c"), free=known(4 << 30)))), "/c", ()),
    ("disk-kind", WARN, having(H, system__mounts=mounts(model=replace(mount("/models"), rotating=known(True)))),
     "/models", ()),
    ("disk-network", WARN, having(H, system__mounts=mounts(model=mount("/models", "nfs4"))), "nfs4", ()),
    ("disk-zfs", WARN, having(H, system__mounts=mounts(root=mount("/", "zfs"))), "ZFS", ()),
    ("disk-raid", WARN, having(H, system__raids=(Raid("md0", "raid5", 256), Raid("md1", "raid0"))), "256", ()),
    ("kernel-xid", FAIL, with_log(H, "NVRM: Xid (PCI:0000:17:00): 79, GPU has fallen off the bus."), "fell off", ()),
    ("kernel-xid", WARN, with_log(H, "NVRM: Xid (PCI:0000:17:00): 13, pid=7, Graphics Exception"), "Xid", ()),
    ("kernel-nvswitch", FAIL, with_log(H, "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 20034, Fatal, Link 30"), "20034", ()),
    ("kernel-nvswitch", WARN, with_log(H, "nvidia-nvswitch0: SXid (PCI:0000:c4:00.0): 12028, Non-fatal"), "12028", ()),
    ("kernel-driver", FAIL, with_log(H, "NVRM: GPU 0000:98:00.0: RmInitAdapter failed! (0x62:0x65:1792)"), "0000:98", ()),
    ("kernel-driver", FAIL, with_log(H, "NVRM: fallen off the bus and is not responding to commands."), "fallen off", ()),
    ("kernel-link-down", FAIL, with_log(H, "pcieport 0000:10:01.1: Surprise Link Down Error"), "Surprise", ()),
    ("kernel-oom", WARN, with_log(H, "Out of memory: Killed process 77 (python)"), "Killed process 77", ()),
    ("kernel-peermem", WARN, with_log(H, "nvidia-peermem: invalid context"), "peermem", ()),
    ("kernel-iommu-faults", FAIL, with_log(H, "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:17:00.0]"), "17", ()),
    ("kernel-lockdown", WARN, having(H, kernel__lockdown="integrity"), "integrity", ()),
    ("engine-known", WARN, having(H, engine__packages={"sglang": "0.6.0"}), "0.6.0", ()),
    ("allreduce-fusion-sm120", FAIL, H, "after the weights are loaded", ("flags.enable-flashinfer-allreduce-fusion=true",)),
    ("engine-options", FAIL, H, "did you mean", ("flags.kv-cache-dtype=fp8_em43",)),
    ("engine-options", FAIL, H, "0.5.23 has no --no-such", ("flags.no-such=true",)),
    ("cve-2026-7304", WARN, H, "CVE-2026-7304", ("flags.enable-custom-logit-processor=true",)),
    ("engine-pins", WARN, having(H, engine__pins=(Pin("torch", "==2.14.1", "2.13.0", False),)), "2.13.0", ()),
    ("engine-flashinfer", FAIL, having(H, engine__packages={"sglang": "0.5.23", "flashinfer-python": "0.7.2",
     "flashinfer-cubin": "0.6.18"}), "0.6.18", ()),
    ("engine-loader", FAIL, H, "instanttensor is not installed", ("flags.load-format=instanttensor",)),
    ("engine-compilers", WARN, having(H, engine__tools={"nvcc": None, "ninja": "/n", "gcc": "/g"}), "nvcc", ()),
    ("engine-caches", WARN, having(H, engine__installed_at=NOW + 9 * 86400), ".cache/flashinfer", ()),
    ("engine-alone", WARN, having(H, engine__packages={**H.engine.packages.get(), "vllm": "0.33.0"}), "vllm 0.33.0", ()),
    ("engine-first-start", WARN, having(H, engine__caches=()), "300 s", ("flags.watchdog-timeout=false",)),
    ("model-files", FAIL, having(H, model__missing=("model-00003-of-00047.safetensors",)), "00003", ()),
    ("model-headers", FAIL, having(H, model__broken={"model-00001.safetensors": "is 4 GB of 9"}), "4 GB of 9", ()),
    ("model-pointers", FAIL, having(H, model__pointers=("model-00001.safetensors",)), "00001", ()),
    ("model-downloads", WARN, having(H, model__incomplete=("a.incomplete",)), "a.incomplete", ()),
    ("model-quantisation", FAIL, having(H, model__quantisation="FP8"), "FP8", ()),
    ("model-claims", FAIL, having(H, model__dtypes={"BF16": 10**9}), "no tensor is F8_E4M3 or U8", ()),
    ("model-fits", FAIL, having(H, model__bytes=893 * 10**9, system__memory_total=4 << 40), "the weights take", ()),
    ("model-fits", FAIL, H, "more than mem-fraction-static 0.5", ("flags.mem-fraction-static=0.5",)),
    ("model-tokenizer", FAIL, having(H, model__tokenizer=()), "tokenizer.json", ()),
    ("port-free", FAIL, having(H, system__port_obstacle="127.0.0.1 port 8000 is in use by pid 7"), "pid 7", ()),
    ("access-guarded", FAIL, H, "0.0.0.0", ("flags.host=0.0.0.0",)),
    ("access-guarded", WARN, H, "open_without_key", ("flags.host=0.0.0.0", "access.open_without_key=true")),
    ("access-key", FAIL, having(H, system__key_obstacle="cannot read the API key file /k: no such file"), "/k",
     ("access.api_key_file=/k",)),
    ("remote-code-needless", WARN, H, "--trust-remote-code", ("flags.trust-remote-code=true",)),
]  # fmt: skip

# One cause that several checks see, each from its side.
MORE_THINGS: list[tuple[set[str], Host, tuple[str, ...]]] = [
    ({"gpu-count", "gpu-on-bus"}, having(H, driver__gpus=tuple(gpu(i) for i in range(4))), ()),
    ({"gpu-on-bus", "model-fits"}, having(H, driver__gpus=tuple(gpu(i) for i in range(4))), ("flags.tp-size=4",)),
    ({"gpu-alike", "gpu-order"}, with_gpus(H, 3, name="NVIDIA RTX PRO 6000 Blackwell Max-Q"), ()),
    ({"gpu-answers"}, with_gpus(H, 3, name=unknown("GPU is lost")), ()),
    ({"nccl-p2p-contradiction", "nccl-p2p-disabled"}, with_variables(H, NCCL_P2P_DISABLE="1"), ()),
    ({"driver-cuda", "engine-cuda"}, having(H, engine__torch_cuda=None), ()),
    ({"engine-cuda"}, having(H, engine__torch_cuda="12.4"), ()),
    ({"nccl-network-alone", "nccl-p2p-disabled"},
     with_variables(H, NCCL_P2P_LEVEL=None, NCCL_P2P_DISABLE="1", NCCL_SHM_DISABLE="1"), ()),
    ({"shared-experts-fused", "engine-options", "sglang-variables"}, having(H, engine__packages={"sglang": "0.5.16"}), ()),
    ({"speculative-no-layer", "speculative-sm120", "model-mtp"}, H, ("flags.speculative-algorithm=EAGLE",)),
    ({"known-issues", "engine-known"}, having(H, engine__packages={"sglang": "0.6.0"}),
     ("flags.enable-flashinfer-allreduce-fusion=true",)),
]  # fmt: skip
# What a server is told besides that others reach.
ADVISED = {issue.id for issue in every_issue() if issue.advisory}
UNSEEN = {
    "driver-answers": having(
        H, driver__gpus=unknown("the NVIDIA driver did not answer within 10 s")
    ),
    "engine-python": having(H, engine__python=unknown("the engine's interpreter is missing")),
    "engine-installed": having(H, engine__packages={"torch": "2.14.1"}),
    "model-folder": having(H, model__path=unknown("the model folder /models is not there")),
    "model-config": having(H, model__config=unknown("config.json: not JSON")),
}


def unwell(host: Host, plan: Plan) -> dict[str, tuple[Severity, str]]:
    return {
        found.id: (found.severity, found.evidence) for found in judge(host, plan) if found.severity
    }


def test_nothing_is_wrong_with_a_healthy_host() -> None:
    assert unwell(host(), plan()) == {}


def test_what_cuda_images_set_of_their_packages_is_nobodys_mistake() -> None:
    assert unwell(with_variables(H, NCCL_VERSION="2.28.3-1"), plan()) == {}


@pytest.mark.parametrize(("id", "severity", "host", "names", "words"), ONE_THING)
def test_one_thing_wrong_is_exactly_one_finding(
    id: str, severity: Severity, host: Host, names: str, words: tuple[str, ...]
) -> None:
    found = unwell(host, plan(*words))

    told = {name: how for name, (how, _) in found.items() if name == id or name not in ADVISED}
    assert told == {id: severity}
    assert names in found[id][1]


@pytest.mark.parametrize(("ids", "host", "words"), MORE_THINGS)
def test_a_cause_that_several_checks_see_is_told_by_each(
    ids: set[str], host: Host, words: tuple[str, ...]
) -> None:
    found = unwell(host, plan(*words))

    assert ids <= set(found)
    assert not {id for id, (how, _) in found.items() if how is not Severity.UNKNOWN} - ids


@pytest.mark.parametrize(
    ("container", "why", "fix"),
    [
        ("none", "the NVIDIA driver did not answer within 10 s", "reboot: a wedged driver"),
        ("none", "driver library and kernel module have different versions", "reboot, or `rmmod"),
        ("none", "no permission to ask the driver", "run as root"),
        ("none", "no NVIDIA driver library: not found", "nvidia-open"),
        ("docker", "no NVIDIA driver library: not found", "--gpus all"),
    ],
)
def test_a_driver_that_does_not_answer_is_mended_by_its_reason(
    container: str, why: str, fix: str
) -> None:
    mute = having(H, driver__gpus=unknown(why), system__container=container)
    (found,) = judge(mute, plan(), only=["driver-answers"])

    assert fix in found.fix


def test_a_server_on_the_cpu_needs_little_of_its_host() -> None:
    small = having(
        H,
        system__memory_available=2 << 30,
        system__mounts=mounts(shm=replace(mount("/s", "tmpfs"), free=known(64 << 20))),
    )
    found = judge(
        small, plan(profile="cpu-demo"), only=["host-memory", "shared-memory", "memory-limit"]
    )

    assert not [one for one in found if one.severity is FAIL]


@pytest.mark.parametrize("id", UNSEEN)
def test_what_hides_everything_else_is_itself_a_failure(id: str) -> None:
    assert unwell(UNSEEN[id], plan())[id][0] is FAIL


def test_every_check_has_a_host_that_it_finds_wanting() -> None:
    covered = (
        {id for id, *_ in ONE_THING}
        | {id for ids, *_ in MORE_THINGS for id in ids}
        | set(UNSEEN)
        | {id for id, *_ in ROWS}
    )

    covered.add("model-heads")  # of vLLM alone: test_checks_vllm.py
    assert {check.id for check in checks()} <= covered <= {check.id for check in every_check()}


def test_checks_and_issues_have_distinct_ids() -> None:
    assert len({check.id for check in every_check()}) == len(every_check())
    assert len(checks()) >= 70


def test_an_issue_that_was_asked_for_and_does_not_concern_a_profile_is_ok() -> None:
    (found,) = judge(H, plan(), only=["nccl-debug"])

    assert (found.severity, found.evidence) == (Severity.OK, "does not concern this profile")


def test_an_issue_may_be_allowed_by_its_id() -> None:
    bad = plan("flags.enable-flashinfer-allreduce-fusion=true")
    found = {one.id: one for one in judge(H, bad, allow=["allreduce-fusion-sm120"])}

    assert found["allreduce-fusion-sm120"].severity is FAIL
    assert not failures(list(found.values()))


def test_a_release_that_nobody_sees_leaves_its_issues_unknown_and_variables_judged() -> None:
    bare = having(with_variables(H, NCCL_DEBUG="INFO"), engine__packages=unknown("no such file"))
    found = unwell(bare, plan("flags.enable-flashinfer-allreduce-fusion=true"))

    assert found["known-issues"] == (Severity.UNKNOWN, "no such file")
    assert "nccl-debug" in found
    assert "allreduce-fusion-sm120" not in found


@pytest.mark.parametrize("check", checks(), ids=lambda check: check.id)
def test_every_check_says_what_why_and_how_that_is_known(check: Any) -> None:
    assert check.title.endswith(".")
    assert len(check.why) > 20
    assert check.known.lower().startswith(tuple(Known)), (
        "the closed vocabulary of launcher/plan/evidence.py"
    )


def test_whatever_is_not_well_has_a_fix() -> None:
    for _, _, unwell_host, _, words in ONE_THING:
        assert all(
            found.fix
            for found in judge(unwell_host, plan(*words))
            if found.severity in (WARN, FAIL)
        )


def test_on_a_host_that_nobody_looked_at_nothing_is_well_or_broken_but_what_the_plan_says_itself() -> (
    None
):
    of_the_plan = {
        "access-guarded",
        "access-key",
        "engine-first-start",
        "engine-loader",
        "model-heads",
        "model-mtp",
    }
    found = judge(Host(), plan())

    assert {one.id for one in found if one.severity is not Severity.UNKNOWN} <= of_the_plan


def test_peer_to_peer_that_the_driver_allows_is_never_called_proven() -> None:
    (found,) = judge(host(), plan(), only=["p2p-status"])

    assert "ruled out for no pair" in found.evidence
    assert "works" not in found.evidence.partition(";")[0]


def test_source_validation_alone_is_no_redirect() -> None:
    every = having(
        H, pcie__functions=tuple(replace(one, acs=known(("SrcValid",))) for one in functions())
    )

    assert unwell(every, plan()) == {}


def test_translated_groups_fail_whatever_the_command_line_says() -> None:
    bad = with_function(having(H, kernel__cmdline="iommu=pt"), GPU3, iommu_type="DMA")

    assert unwell(bad, plan())["iommu-translation"][0] is FAIL


def test_config_space_that_nobody_could_read_is_unknown_and_not_off() -> None:
    hidden = with_function(H, PORT, acs=unknown("only 64 bytes are readable: run as root"))

    assert unwell(hidden, plan()) == {
        "acs-redirect": (Severity.UNKNOWN, "only 64 bytes are readable: run as root")
    }


def test_a_feature_that_a_board_does_not_have_is_not_unknown() -> None:
    lacks = unknown("the driver does not support it here")

    assert (
        unwell(with_gpus(H, *range(8), mig=lacks, remap_pending=lacks, remap_failed=lacks), plan())
        == {}
    )


def test_a_plan_for_the_cpu_is_not_judged_by_gpus() -> None:
    cpu = replace(plan(profile="cpu-demo"), model="/models/GLM-5-NVFP4")
    groups = {found.group for found in judge(Host(), cpu)}

    assert not groups & {"driver", "GPUs", "GPU health", "IOMMU and ACS", "PCIe", "peer-to-peer"}


@pytest.mark.parametrize(
    ("obstacle", "fix"),
    [
        (
            "::1 port 8000 is in use by pid 7 (python is for privileged users), uid 0",
            "stop that process",
        ),
        ("127.0.0.1 port 80 is for privileged users", "from 1024 on"),
        (
            "cannot listen on 192.0.2.1 port 8000: Cannot assign requested address",
            "an address of this host",
        ),
    ],
)
def test_a_port_that_is_not_free_is_fixed_by_its_reason(obstacle: str, fix: str) -> None:
    assert fix in unwell_fix(having(H, system__port_obstacle=obstacle), "port-free")


def test_an_interpreter_that_hangs_is_not_told_to_be_another_one() -> None:
    slow = having(H, engine__python=unknown("/opt/python did not answer within 60 s"))

    assert "a file system that hangs" in unwell_fix(slow, "engine-python")


def unwell_fix(host: Host, id: str) -> str:
    (found,) = judge(host, plan(), only=[id])
    return found.fix


@pytest.mark.parametrize("id", sorted(REQUIRED))
def test_what_is_required_may_not_be_allowed_to_fail(id: str) -> None:
    broken = UNSEEN.get(id) or next(
        seen for name, how, seen, *_ in ONE_THING if (name, how) == (id, FAIL)
    )
    words = next((words for name, how, *_, words in ONE_THING if (name, how) == (id, FAIL)), ())
    (found,) = judge(broken, plan(*words), only=[id], allow=[id])

    assert failures([found])


def test_an_allowed_failure_stays_visible_and_decides_nothing() -> None:
    bad = with_gpus(H, 3, mig=True)
    (found,) = [one for one in judge(bad, plan(), allow=["gpu-mig"]) if one.severity]

    assert found.allowed
    assert found.severity is FAIL


def test_a_check_that_breaks_is_a_finding() -> None:
    broken = having(H, system__limits=Fact(7))  # a value of a type that the check does not expect
    (found,) = judge(broken, plan(), only=["open-files"])

    assert found.severity is Severity.UNKNOWN
    assert "the check itself failed" in found.evidence


BRIDGES = tuple(
    tuple("X" if a == b else "NV12" if a // 2 == b // 2 < 2 else "SYS" for b in range(8))
    for a in range(8)
)


@pytest.mark.parametrize("topology", [nvlinks(9, ""), BRIDGES, nvlinks(3, "SYS", 4)])
def test_links_that_are_alike_or_of_bridges_are_well(topology: tuple[tuple[str, ...], ...]) -> None:
    """Of four GPUs that reach at most three others nobody can tell a bridge from switches."""
    [found] = judge(having(H, driver__topology=topology), plan(), only=["nvlink-links"])

    assert found.severity is Severity.OK


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_any_fact_may_be_anything(data: st.DataObject) -> None:
    """One fact of a healthy host's file replaced by any JSON: findings, never an exception or a broken check."""
    file = facts_json.to_json(H)
    section = data.draw(
        st.sampled_from(["driver", "pcie", "kernel", "system", "engine", "environment", "model"])
    )
    fact = data.draw(st.sampled_from(sorted(file[section])))
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    anything = st.recursive(
        scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    )
    file[section][fact] = data.draw(anything)

    found = judge(facts_json.from_json(file), plan())

    assert len(found) == sum(not check.of_nodes for check in checks())
    assert not [one for one in found if "the check itself failed" in one.evidence]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(["NCCL_P2P_LEVEL", "NCCL_MIN_NCHANNELS", "NCCL_SOCKET_IFNAME", "NCCL_X",
    "CUDA_VISIBLE_DEVICES", "NCCL_BUFFSIZE", "NCCL_P2P_DISABLE"]), st.text()))  # fmt: skip
def test_any_environment_is_judged(variables: dict[str, str]) -> None:
    found = judge(with_variables(H, **variables), plan())

    assert not [one for one in found if "the check itself failed" in one.evidence]


def test_facts_survive_their_file() -> None:
    assert facts_json.from_json(facts_json.to_json(H)) == H


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 20000))
def test_a_facts_file_that_was_cut_is_refused(end: int) -> None:
    text = json.dumps(facts_json.to_json(H))[:end]

    with pytest.raises(UserError, match=r"cut\.json is not JSON"):
        facts_json.loads(text, "cut.json")


def facts_in(value: Any) -> list[Callable[[], None]]:
    if isinstance(value, Fact):
        return [value, *facts_in(value.value)]
    if is_dataclass(value):
        return [fact for part in fields(value) for fact in facts_in(getattr(value, part.name))]
    if isinstance(value, tuple):
        return [fact for inner in value for fact in facts_in(inner)]
    return []


def test_the_healthy_host_knows_every_fact() -> None:
    assert all(fact.known for fact in facts_in(H))


def test_the_page_has_a_heading_for_each_check_and_is_up_to_date() -> None:
    from launcher.output.checks import page

    written = (ROOT / "docs/checks.md").read_text()

    assert written == page() + "\n", "run `glm5-serve checks --markdown > docs/checks.md`"
    assert re.findall(r"^### (.*)$", written, re.MULTILINE) == [check.id for check in every_check()]


def test_topology_of_the_healthy_host_is_that_of_two_sockets() -> None:
    assert {link for row in topology() for link in row} == {"X", "PIX", "NODE", "SYS"}


# -- what one GPU tells, another one's gap does not hide ----------------------------------------

# An address that nobody told may be that of the one which is missing.
COUNTED = {"gpu-on-bus", "gpu-count"}
OF_ONE_GPU = [
    row for row in ONE_THING
    if (row[2].driver.gpus.known and row[2].driver.gpus.get() != H.driver.gpus.get())
    or (row[2].pcie.functions.known and row[2].pcie.functions.get() != H.pcie.functions.get())
]  # fmt: skip


@pytest.mark.parametrize(("id", "how", "host", "names", "settings"), OF_ONE_GPU)
def test_a_fault_that_is_known_of_one_gpu_wins_over_a_gap_of_another(
    id: str, how: Severity, host: Host, names: str, settings: tuple[str, ...]
) -> None:
    gap = next(one.index for one in H.driver.gpus.get() if one.index not in (3, 5, 7))
    cut = [Gpu(one.index) if one.index == gap else one for one in host.driver.gpus.get()]
    of_gap = GPU_BDFS[gap]
    functions = [
        Function(one.bdf, one.kind, one.id, one.above) if one.bdf == of_gap else one
        for one in host.pcie.functions.get()
    ]
    here = having(host, driver__gpus=tuple(cut), pcie__functions=tuple(functions))
    [found] = judge(here, plan(*settings), only=(id,))

    assert found.severity is how or id in COUNTED, found


def test_limits_that_differ_without_a_default_are_told_and_equal_ones_are_unknown() -> None:
    unsaid = with_gpus(H, *range(8), power_default=unknown("not provided: `nvidia-smi -q`"))
    for seen, how in ((unsaid, Severity.UNKNOWN), (with_gpus(unsaid, 0, power_limit=300.0), WARN)):
        [found] = judge(seen, plan(), only=("gpu-power-limit",))
        assert found.severity is how
    assert "GPU 0 (0000:06:00.0): 300 W; GPUs 1-7: 600 W" in found.evidence
    mixed = with_gpus(unsaid, 0, power_limit=300.0, name="NVIDIA RTX PRO 6000 Blackwell Max-Q")
    [found] = judge(mixed, plan(), only=("gpu-power-limit",))
    assert found.severity is Severity.UNKNOWN, "another product has another default"


@pytest.mark.parametrize("id", ["p2p-status", "nccl-p2p-level"])
def test_where_no_gpu_was_provided_nothing_is_said_of_pairs(id: str) -> None:
    nobody = replace(plan(), name="", gpus=1)
    gone = having(H, driver__gpus=unknown("not provided"), driver__topology=unknown("not provided"))
    [found] = judge(gone, nobody, only=(id,))
    [one] = judge(having(H, driver__gpus=(gpu(0),)), nobody, only=(id,))

    assert (found.severity, one.severity) == (Severity.UNKNOWN, Severity.OK)


def test_every_line_about_a_lost_gpu_begins_as_the_drivers_do() -> None:
    """By which `kernel-driver` leaves the others alone, unread."""
    lost = [
        row.pattern.pattern
        for row in known_failures().values()
        if (row.origin, row.weight) == ("kernel", "hardware") and row.pattern
    ]

    assert len(lost) >= 5
    assert [pattern for pattern in lost if not pattern.startswith(DRIVER)] == []


@pytest.mark.parametrize("packages", [{}, {"vllm": "0.33.0"}])
def test_an_engine_that_is_missing_gets_an_environment_of_its_own(packages: dict[str, str]) -> None:
    host = having(H, engine__packages=packages)
    [found] = judge(host, plan(), only=["engine-installed"])
    newest = dialect("sglang").options.newest
    assert found.fix.startswith(
        f"`python3 -m venv /opt/sglang && /opt/sglang/bin/pip install 'sglang=={newest}'`"
    )
    assert "--set engine.python=/opt/sglang/bin/python" in found.fix
    page = (ROOT / "docs/first-deployment.md").read_text()
    assert f"/opt/sglang/bin/pip install sglang=={newest}" in page
    assert "engine.python=/opt/sglang/bin/python" in page


def test_trouble_of_other_boards_is_not_this_hosts() -> None:
    """What is reported of a driver is of RTX boards: nothing of it on a host of B200 or H200."""
    told = {"driver__version": "580.159.04", "driver__module": "580.159.04"}
    for capability, wanted in (("12.0", WARN), ("10.0", Severity.OK), ("9.0", Severity.OK)):
        seen = having(with_gpus(H, *range(8), gsp="580.159.04", capability=capability), **told)
        [found] = judge(seen, plan(), only=["driver-known-good"])
        assert found.severity is wanted, found
