"""A host on which everything is as it should be: two sockets, a switch a pair of GPUs.

Tests change one thing.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.host.environment import of_plan
from launcher.host.facts import (
    Cache,
    Driver,
    Engine,
    Environment,
    Fact,
    Function,
    Gpu,
    Host,
    Interface,
    Kernel,
    Model,
    Mount,
    Pcie,
    Pin,
    System,
    known,
)
from launcher.plan.plan import Plan

NOW = 1_790_000_000.0
GPU_BUSES = (0x06, 0x07, 0x16, 0x17, 0x86, 0x87, 0x96, 0x97)
BARE = Environment(known({}), known({}), known(()))  # what checks see of one without a plan


@functools.cache  # what is packaged says the same to all
def plan(*settings: str, profile: str = "8xpro6000") -> Plan:
    ask = PlanRequest(str(PACKAGED / f"{profile}.toml"), settings)
    return resolve(load(ask, {"HOME": "/home/op"}), ask, PACKAGED.parent / "state", {})


def gpu(index: int) -> Gpu:
    return Gpu(
        index=index,
        name=known("NVIDIA RTX PRO 6000 Blackwell Server Edition"),
        uuid=known(f"GPU-0000000{index}"),
        bdf=known(f"0000:{GPU_BUSES[index]:02x}:00.0"),
        capability=known("12.0"),
        architecture=known("blackwell"),
        memory_total=known(97887 << 20),
        memory_free=known(97251 << 20),
        memory_used=known(0),
        memory_reserved=known(636 << 20),
        bar1_total=known(128 << 30),
        gsp=known("595.58.03"),
        vbios=known("98.02.67.00.0A"),
        mig=known(False),
        ecc=known(True),
        ecc_uncorrected=known(0),
        remap_pending=known(False),
        remap_failed=known(False),
        persistence=known(True),
        compute_mode=known("default"),
        power_draw=known(39.0),
        power_limit=known(600.0),
        power_default=known(600.0),
        power_max=known(600.0),
        clock_reasons=known(("gpu_idle",)),
        temperature=known(26),
        utilisation=known(0),
        pstate=known(8),
        processes=known(()),
        link_gen=known(1),
        link_gen_max=known(5),
        link_gen_device=known(5),
        link_width=known(16),
        link_width_max=known(16),
        numa=known(index // 4),
        virtualization=known("none"),
        fabric=known("not_supported"),
        recovery=known("none"),
        addressing=known("none"),
    )


def topology() -> tuple[tuple[str, ...], ...]:
    def link(one: int, two: int) -> str:
        if one == two:
            return "X"
        return "PIX" if one // 2 == two // 2 else "NODE" if one // 4 == two // 4 else "SYS"

    return tuple(tuple(link(one, two) for two in range(8)) for one in range(8))


def function(kind: str, bdf: str, id: str, above: tuple[str, ...]) -> Function:
    return Function(
        bdf,
        kind,
        id,
        above,
        driver=known("nvidia" if kind == "gpu" else "pcieport"),
        present=known(True),
        iommu_group=known("7"),
        iommu_type=known("identity"),
        acs=known(None if kind == "gpu" else ("SrcValid", "UpstreamFwd")),
        speed=known(2.5 if kind == "gpu" else 32.0),
        speed_max=known(32.0),
        width=known(16),
        width_max=known(16),
        bar1=known(128 << 30),
        bar1_max=known(128 << 30),
        numa=known(0),
        power_control=known("on"),
        aer_fatal=known(0),
        aer_nonfatal=known(0),
        aer_correctable=known(3),
    )


def functions() -> tuple[Function, ...]:
    made = []
    for first in GPU_BUSES[::2]:
        port, up = f"0000:{first - 6:02x}:01.1", f"0000:{first - 5:02x}:00.0"
        made += [
            function("root port", port, "1022:153e", ()),
            function("switch upstream", up, "1000:c034", (port,)),
        ]
        for slot in range(2):
            down = f"0000:{first - 4:02x}:{slot:02x}.0"
            made += [
                function("switch downstream", down, "1000:c034", (port, up)),
                function("gpu", f"0000:{first + slot:02x}:00.0", "10de:2bb5", (port, up, down)),
            ]
    return tuple(made)


def mount(path: str, filesystem: str = "ext4") -> Mount:
    return Mount(path, known(filesystem), known(4 << 40), known(3 << 40), known(False))


def host() -> Host:
    matrix = tuple(tuple("X" if one == two else "OK" for two in range(8)) for one in range(8))
    return Host(
        observed="a healthy host",
        driver=Driver(
            version=known("595.58.03"),
            cuda=known("13.2"),
            module=known("595.58.03"),
            flavour=known("open"),
            params=known({"RegistryDwords": ""}),
            hmm_disabled=known(True),
            confidential=known(False),
            gpus=known(tuple(gpu(index) for index in range(8))),
            topology=known(topology()),
            p2p_read=known(matrix),
            p2p_write=known(matrix),
            copies=known(()),
            diagnostics=known({}),
        ),
        pcie=Pcie(known(functions()), known(("ivhd0", "ivhd1")), known(()), known("default")),
        kernel=Kernel(
            release=known("6.17.0-20-generic"),
            cmdline=known("BOOT_IMAGE=/vmlinuz ro quiet iommu=pt"),
            log=known(("NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  595.58.03",)),
            modules=known(("nvidia", "nvidia_uvm")),
            lockdown=known("none"),
            core_pattern=known("core"),
        ),
        system=System(
            cpu_vendor=known("AuthenticAMD"),
            cpu_model=known("AMD EPYC 9575F 64-Core Processor"),
            cpu_family=known(26),
            cpus=known(256),
            cpus_allowed=known(256),
            sockets=known(2),
            numa_nodes=known(2),
            governors=known({"performance": 256}),
            numa_balancing=known(0),
            huge_pages=known("madvise"),
            swappiness=known(0),
            swap=known(0),
            memory_total=known(1536 << 30),
            memory_available=known(1500 << 30),
            memory_limit=known(None),
            limits=known({"memlock": None, "nofile": 1 << 20, "core": 0, "stack": 8 << 20}),
            mounts=known(
                {
                    "root": mount("/"),
                    "shm": mount("/dev/shm", "tmpfs"),
                    "model": mount("/models"),
                    "cache": mount("/home/op/.cache"),
                    "state": mount("/var/lib/glm5-serve"),
                    "tmp": mount("/tmp"),
                }
            ),
            raids=known(()),
            virtualisation=known("none"),
            container=known("none"),
            compat_libraries=known(()),
            cdi_older=known(()),
            daemons=known(("nvidia-persistenced",)),
            infiniband=known(()),
            interfaces=known(("eno1", "eth1", "lo")),
            networks=known(
                (
                    Interface("eno1", ("192.0.2.5",), 1500, True),
                    Interface("eth1", ("10.0.0.1",), 9000, True),
                )
            ),
            outward=known("192.0.2.5"),
            clock_error=known(0.02),
            rendezvous_obstacle=known(None),
            port_obstacle=known(None),
            key_obstacle=known(None),
        ),
        engine=Engine(
            python=known("/opt/sglang/bin/python"),
            python_version=known("3.12.3"),
            packages=known({"sglang": "0.5.23", "flashinfer-python": "0.7.2", "torch": "2.14.1"}),
            torch_cuda=known("13.0"),
            pins=known((Pin("torch", "==2.14.1", "2.14.1", True),)),
            tools=known(
                {
                    "nvcc": "/usr/local/cuda/bin/nvcc",
                    "ninja": "/usr/bin/ninja",
                    "gcc": "/usr/bin/gcc",
                }
            ),
            installed_at=known(NOW - 30 * 86400),
            caches=known((Cache("/home/op/.cache/flashinfer", NOW, 200),)),
        ),
        environment=of_plan(BARE, plan()),
        model=Model(
            path=known("/models/GLM-5-NVFP4"),
            config=known({"architectures": "GlmMoeDsaForCausalLM", "num_hidden_layers": "78"}),
            quantisation=known("NVFP4"),
            shards=known(47),
            bytes=known(410 * 10**9),
            missing=known(()),
            broken=known({}),
            pointers=known(()),
            incomplete=known(()),
            excluded=known(("lm_head",)),
            dtypes=known({"U8": 350 * 10**9, "F8_E4M3": 44 * 10**9, "BF16": 16 * 10**9}),
            mtp=known(False),
            template=known(("enable_thinking",)),
            tokenizer=known(("tokenizer.json", "tokenizer_config.json")),
            fingerprint=known("0f1e2d3c4b5a6978"),
        ),
    )


VLLM = "8xpro6000-vllm"


def with_vllm() -> Host:
    """The same host with vLLM in place of SGLang."""
    served = having(
        host(),
        engine__python="/opt/vllm/bin/python",
        engine__packages={"vllm": "0.33.0", "flashinfer-python": "0.7.2.post1", "torch": "2.14.0"},
        engine__pins=(Pin("torch", "==2.14.0", "2.14.0", True),),
    )
    return replace(served, environment=of_plan(BARE, plan(profile=VLLM)))


def having(host: Host, **changed: Any) -> Host:
    """The host with facts changed: `driver__version="1.2"`; a value that is no Fact becomes a known
    one.
    """
    for name, value in changed.items():
        section, _, fact = name.partition("__")
        value = value if isinstance(value, Fact) else known(value)
        host = replace(host, **{section: replace(getattr(host, section), **{fact: value})})
    return host


def with_gpus(host: Host, *indices: int, **changed: Any) -> Host:
    """The host with some GPUs changed."""
    facts = {
        name: value if isinstance(value, Fact) else known(value) for name, value in changed.items()
    }
    gpus = [
        replace(one, **facts) if one.index in indices else one for one in host.driver.gpus.get()
    ]
    return having(host, driver__gpus=tuple(gpus))


def with_function(host: Host, bdf: str, **changed: Any) -> Host:
    """The host with one PCI function changed."""
    plain = {
        name: value if isinstance(value, Fact) or name in ("id", "kind", "above") else known(value)
        for name, value in changed.items()
    }
    parts = [replace(one, **plain) if one.bdf == bdf else one for one in host.pcie.functions.get()]
    return having(host, pcie__functions=tuple(parts))


def with_variables(host: Host, **changed: str | None) -> Host:
    """The host with variables set, or removed (None)."""
    merged = {**host.environment.variables.get(), **changed}
    return having(
        host,
        environment__variables={name: value for name, value in merged.items() if value is not None},
    )


def with_log(host: Host, *lines: str) -> Host:
    """The host with more lines in its kernel log."""
    return having(host, kernel__log=(*host.kernel.log.get(), *lines))
