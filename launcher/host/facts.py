"""What can be observed about a host. Every fact is known, or unknown and says why.

Sizes are bytes, powers watts, temperatures degrees Celsius, link speeds GT/s. PCI addresses are
written as the kernel does (`0000:61:00.0`). `factfile` takes a host to JSON and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
NOT_OBSERVED = "not observed"
NOT_PROVIDED = "not provided"  # how it begins where texts were pasted and none tells it


class UnobservedError(Exception):
    """A fact that was needed is unknown; the message says why."""


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """One thing about a host: its value, or why nobody knows it."""

    value: T | None = None
    unknown: str | None = None

    @property
    def known(self) -> bool:
        """Whether it was observed."""
        return self.unknown is None

    @property
    def is_unseen(self) -> bool:
        """Whether nobody looked, or nobody told: nothing is wrong with it for all we know."""
        return str(self.unknown).startswith((NOT_OBSERVED, NOT_PROVIDED))

    def get(self) -> T:
        """The value. Raises UnobservedError where it is unknown."""
        if self.unknown is not None:
            raise UnobservedError(self.unknown)
        return self.value  # type: ignore[return-value]  # None is a value where T says so

    def otherwise(self, fallback: T) -> T:
        """The value, or a fallback where the difference does not matter."""
        return fallback if self.unknown is not None else self.get()


def known(value: T) -> Fact[T]:
    """A fact that was observed."""
    return Fact(value)


def unknown(why: str) -> Fact[T]:
    """A fact that was not observed, and why."""
    return Fact(None, why)


NOBODY_LOOKED: Fact[Any] = Fact(None, NOT_OBSERVED)
Matrix = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Process:
    """A process that holds a GPU; its memory is None where the driver does not say."""

    pid: int
    used: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Gpu:
    """One GPU as the driver shows it."""

    index: int
    name: Fact[str] = NOBODY_LOOKED
    uuid: Fact[str] = NOBODY_LOOKED
    bdf: Fact[str] = NOBODY_LOOKED
    capability: Fact[str] = NOBODY_LOOKED  # "12.0"
    architecture: Fact[str] = NOBODY_LOOKED  # "blackwell", lower case
    memory_total: Fact[int] = NOBODY_LOOKED
    memory_free: Fact[int] = NOBODY_LOOKED
    memory_used: Fact[int] = NOBODY_LOOKED  # by processes, `memory_reserved` not counted
    memory_reserved: Fact[int] = NOBODY_LOOKED  # by driver and firmware
    bar1_total: Fact[int] = NOBODY_LOOKED
    gsp: Fact[str] = NOBODY_LOOKED  # firmware version
    vbios: Fact[str] = NOBODY_LOOKED  # its version
    mig: Fact[bool] = NOBODY_LOOKED
    ecc: Fact[bool] = NOBODY_LOOKED
    ecc_uncorrected: Fact[int] = NOBODY_LOOKED  # since the driver was loaded
    remap_pending: Fact[bool] = NOBODY_LOOKED
    remap_failed: Fact[bool] = NOBODY_LOOKED
    persistence: Fact[bool] = NOBODY_LOOKED
    compute_mode: Fact[str] = (
        NOBODY_LOOKED  # default, exclusive_process, exclusive_thread, prohibited
    )
    power_draw: Fact[float] = NOBODY_LOOKED
    power_limit: Fact[float] = NOBODY_LOOKED  # enforced now
    power_default: Fact[float] = NOBODY_LOOKED
    power_max: Fact[float] = NOBODY_LOOKED
    clock_reasons: Fact[tuple[str, ...]] = NOBODY_LOOKED  # active ones, e.g. "sw_power_cap"
    temperature: Fact[int] = NOBODY_LOOKED
    utilisation: Fact[int] = NOBODY_LOOKED  # percent
    pstate: Fact[int] = NOBODY_LOOKED
    processes: Fact[tuple[Process, ...]] = NOBODY_LOOKED
    link_gen: Fact[int] = NOBODY_LOOKED
    link_gen_max: Fact[int] = NOBODY_LOOKED  # that GPU and slot can do together
    link_gen_device: Fact[int] = NOBODY_LOOKED  # that the GPU can do
    link_width: Fact[int] = NOBODY_LOOKED
    link_width_max: Fact[int] = NOBODY_LOOKED
    numa: Fact[int] = NOBODY_LOOKED
    virtualization: Fact[str] = NOBODY_LOOKED  # none, passthrough, vgpu, host_vgpu, host_vsga
    fabric: Fact[str] = NOBODY_LOOKED  # not_supported, not_started, in_progress, completed
    recovery: Fact[str] = NOBODY_LOOKED  # none, or what NVML asks for: gpu_reset, node_reboot, ...
    addressing: Fact[str] = NOBODY_LOOKED  # none, hmm, ats


@dataclass(frozen=True)
class Driver:
    """The NVIDIA driver and what it shows. Matrices are by GPU index, the diagonal is "X".

    `topology` has PIX, PXB, PHB, NODE, SYS or NV18 as in `nvidia-smi topo -m`; the others have OK
    or NVML's reason as `nvidia-smi topo -p2p` writes it: CNS, GNS, TNS, DR, NS, U.
    """

    version: Fact[str] = NOBODY_LOOKED  # of the library
    cuda: Fact[str] = NOBODY_LOOKED  # "13.2": the newest CUDA it runs
    module: Fact[str] = NOBODY_LOOKED  # version of the loaded kernel module
    flavour: Fact[str] = NOBODY_LOOKED  # open, proprietary
    params: Fact[dict[str, str]] = NOBODY_LOOKED  # /proc/driver/nvidia/params
    hmm_disabled: Fact[bool] = NOBODY_LOOKED  # nvidia_uvm's uvm_disable_hmm
    confidential: Fact[bool] = NOBODY_LOOKED
    gpus: Fact[tuple[Gpu, ...]] = NOBODY_LOOKED
    topology: Fact[Matrix] = NOBODY_LOOKED
    p2p_read: Fact[Matrix] = NOBODY_LOOKED
    p2p_write: Fact[Matrix] = NOBODY_LOOKED
    copies: Fact[tuple[tuple[float, ...], ...]] = NOBODY_LOOKED  # GB/s, by a test; (): none
    diagnostics: Fact[dict[str, str]] = NOBODY_LOOKED  # Pass, Fail, ... by DCGM's test


@dataclass(frozen=True)
class Function:
    """One PCI function: a GPU, an NVSwitch, or a bridge above a GPU."""

    bdf: str
    kind: str  # gpu, nvswitch, root port, switch upstream, switch downstream, bridge
    id: str  # "10de:2bb5"
    above: tuple[str, ...] = ()  # the bridges above it, the root port first
    driver: Fact[str | None] = NOBODY_LOOKED
    present: Fact[bool] = (
        NOBODY_LOOKED  # False: configuration space reads all ones, fell off the bus
    )
    iommu_group: Fact[str | None] = NOBODY_LOOKED
    iommu_type: Fact[str | None] = NOBODY_LOOKED  # DMA, DMA-FQ, identity, blocked
    acs: Fact[tuple[str, ...] | None] = NOBODY_LOOKED  # control bits set; None: it has no ACS
    speed: Fact[float] = NOBODY_LOOKED
    speed_max: Fact[float] = NOBODY_LOOKED
    width: Fact[int] = NOBODY_LOOKED
    width_max: Fact[int] = NOBODY_LOOKED
    bar1: Fact[int] = NOBODY_LOOKED  # the GPU's large window
    bar1_max: Fact[int] = NOBODY_LOOKED  # the largest that its resizable-BAR capability offers
    numa: Fact[int] = NOBODY_LOOKED  # -1: the firmware does not say
    power_control: Fact[str] = NOBODY_LOOKED  # on, auto
    aer_fatal: Fact[int] = NOBODY_LOOKED
    aer_nonfatal: Fact[int] = NOBODY_LOOKED
    aer_correctable: Fact[int] = NOBODY_LOOKED


@dataclass(frozen=True)
class Pcie:
    """The PCI tree around the GPUs and the IOMMU."""

    functions: Fact[tuple[Function, ...]] = NOBODY_LOOKED
    iommus: Fact[tuple[str, ...]] = (
        NOBODY_LOOKED  # units, e.g. ivhd0, dmar1; empty: translation is off
    )
    acs: Fact[tuple[tuple[str, ...], ...]] = (
        NOBODY_LOOKED  # control bits set, of bridges that a pasted text does not name
    )
    aspm: Fact[str] = NOBODY_LOOKED  # policy: default, performance, powersave, powersupersave


@dataclass(frozen=True)
class Kernel:
    """The running kernel."""

    release: Fact[str] = NOBODY_LOOKED
    cmdline: Fact[str] = NOBODY_LOOKED
    log: Fact[tuple[str, ...]] = (
        NOBODY_LOOKED  # its lines about GPUs, PCIe, IOMMU and memory, oldest first
    )
    modules: Fact[tuple[str, ...]] = NOBODY_LOOKED
    lockdown: Fact[str] = NOBODY_LOOKED  # none, integrity, confidentiality
    core_pattern: Fact[str] = NOBODY_LOOKED


@dataclass(frozen=True)
class Mount:
    """The file system that a path lies on."""

    path: str
    filesystem: Fact[str] = NOBODY_LOOKED
    total: Fact[int] = NOBODY_LOOKED
    free: Fact[int] = NOBODY_LOOKED  # for this user
    rotating: Fact[bool] = NOBODY_LOOKED


@dataclass(frozen=True)
class Raid:
    """A software RAID array."""

    name: str
    level: str
    stripe_cache: int | None = None  # pages a device; raid5 and raid6 only


@dataclass(frozen=True)
class Interface:
    """A network interface that is not the loopback."""

    name: str
    addresses: tuple[str, ...] = ()
    mtu: int | None = None
    up: bool = False


@dataclass(frozen=True)
class System:
    """CPU, memory, limits, disks, network."""

    cpu_vendor: Fact[str] = NOBODY_LOOKED  # AuthenticAMD, GenuineIntel
    cpu_model: Fact[str] = NOBODY_LOOKED
    cpu_family: Fact[int] = NOBODY_LOOKED  # 26 is 1Ah, Turin
    cpus: Fact[int] = NOBODY_LOOKED  # online
    cpus_allowed: Fact[int] = NOBODY_LOOKED  # by affinity and cgroup
    sockets: Fact[int] = NOBODY_LOOKED
    numa_nodes: Fact[int] = NOBODY_LOOKED  # with CPUs
    governors: Fact[dict[str, int]] = NOBODY_LOOKED  # CPUs by frequency governor; empty: no cpufreq
    numa_balancing: Fact[int] = NOBODY_LOOKED
    huge_pages: Fact[str] = NOBODY_LOOKED  # transparent ones: always, madvise, never
    swappiness: Fact[int] = NOBODY_LOOKED
    swap: Fact[int] = NOBODY_LOOKED
    memory_total: Fact[int] = NOBODY_LOOKED
    memory_available: Fact[int] = NOBODY_LOOKED
    memory_limit: Fact[int | None] = NOBODY_LOOKED  # of the cgroup; None: unlimited
    limits: Fact[dict[str, int | None]] = (
        NOBODY_LOOKED  # soft memlock and core, hard nofile and stack; None: unlimited
    )
    mounts: Fact[dict[str, Mount]] = NOBODY_LOOKED  # by use: shm, tmp, model, cache, state
    raids: Fact[tuple[Raid, ...]] = NOBODY_LOOKED
    virtualisation: Fact[str] = NOBODY_LOOKED  # none, kvm, microsoft, wsl, ...
    container: Fact[str] = NOBODY_LOOKED  # none, docker, podman, kubernetes, lxc, ...
    compat_libraries: Fact[tuple[str, ...]] = (
        NOBODY_LOOKED  # CUDA compat libcuda that an image brings
    )
    cdi_older: Fact[tuple[str, ...]] = NOBODY_LOOKED  # CDI specs that name another driver version
    daemons: Fact[tuple[str, ...]] = (
        NOBODY_LOOKED  # of nvidia-persistenced, nv-fabricmanager: those that run
    )
    infiniband: Fact[tuple[str, ...]] = NOBODY_LOOKED
    interfaces: Fact[tuple[str, ...]] = NOBODY_LOOKED
    networks: Fact[tuple[Interface, ...]] = NOBODY_LOOKED
    outward: Fact[str | None] = NOBODY_LOOKED  # its address on the default route; None: no route
    clock_error: Fact[float | None] = NOBODY_LOOKED  # seconds, the kernel's; None: nobody keeps it
    rendezvous_obstacle: Fact[str | None] = NOBODY_LOOKED  # why the nodes cannot meet, from here
    port_obstacle: Fact[str | None] = NOBODY_LOOKED  # why the plan's address cannot be listened on
    key_obstacle: Fact[str | None] = NOBODY_LOOKED  # why its key cannot be had from the plan's file


@dataclass(frozen=True)
class Pin:
    """What SGLang's own metadata asks of another package, and what is there."""

    package: str
    wanted: str  # "==0.6.18"
    installed: str | None  # None: not installed
    satisfied: bool


@dataclass(frozen=True)
class Cache:
    """A folder of kernels that were compiled at some start."""

    path: str
    newest: float  # seconds since the epoch
    files: int


@dataclass(frozen=True)
class Engine:
    """The interpreter that has SGLang."""

    python: Fact[str] = NOBODY_LOOKED
    python_version: Fact[str] = NOBODY_LOOKED
    packages: Fact[dict[str, str]] = (
        NOBODY_LOOKED  # version by distribution name, those that matter
    )
    torch_cuda: Fact[str | None] = NOBODY_LOOKED  # "13.0"; None: torch was built without CUDA
    pins: Fact[tuple[Pin, ...]] = NOBODY_LOOKED
    tools: Fact[dict[str, str | None]] = NOBODY_LOOKED  # nvcc, ninja, gcc: path, or None
    installed_at: Fact[float] = (
        NOBODY_LOOKED  # when flashinfer was last changed, seconds since the epoch
    )
    caches: Fact[tuple[Cache, ...]] = NOBODY_LOOKED


@dataclass(frozen=True)
class Environment:
    """The variables the server would run with, those that NCCL, CUDA, torch or SGLang read."""

    variables: Fact[dict[str, str]] = NOBODY_LOOKED
    conf: Fact[dict[str, dict[str, str]]] = (
        NOBODY_LOOKED  # by path of NCCL's own configuration files
    )
    missing_files: Fact[tuple[str, ...]] = (
        NOBODY_LOOKED  # variables that name a file which is not there
    )


@dataclass(frozen=True)
class Model:
    """The checkpoint."""

    path: Fact[str] = NOBODY_LOOKED  # the folder
    config: Fact[dict[str, str]] = NOBODY_LOOKED  # scalars of config.json that matter, as text
    quantisation: Fact[str | None] = (
        NOBODY_LOOKED  # quant_algo, e.g. NVFP4, else quant_method; None: none
    )
    shards: Fact[int] = NOBODY_LOOKED  # weight files that there are
    bytes: Fact[int] = NOBODY_LOOKED  # of these
    missing: Fact[tuple[str, ...]] = NOBODY_LOOKED  # files that the index names
    broken: Fact[dict[str, str]] = NOBODY_LOOKED  # file -> what is wrong with header or length
    pointers: Fact[tuple[str, ...]] = NOBODY_LOOKED  # git-lfs pointers in place of files
    incomplete: Fact[tuple[str, ...]] = NOBODY_LOOKED  # downloads that did not end
    excluded: Fact[tuple[str, ...]] = (
        NOBODY_LOOKED  # patterns of modules that its quantisation leaves out
    )
    dtypes: Fact[dict[str, int]] = (
        NOBODY_LOOKED  # bytes of its tensors by their type, e.g. U8, F8_E4M3, BF16
    )
    template: Fact[tuple[str, ...]] = (
        NOBODY_LOOKED  # switches of thinking that its chat template reads
    )
    mtp: Fact[bool] = (
        NOBODY_LOOKED  # whether the weights of the multi-token-prediction layer are there
    )
    tokenizer: Fact[tuple[str, ...]] = NOBODY_LOOKED  # tokenizer files that there are
    fingerprint: Fact[str] = NOBODY_LOOKED  # as host/fingerprint.py makes it


@dataclass(frozen=True)
class Host:
    """All that was observed, and how."""

    observed: str = "nothing"
    driver: Driver = field(default_factory=Driver)
    pcie: Pcie = field(default_factory=Pcie)
    kernel: Kernel = field(default_factory=Kernel)
    system: System = field(default_factory=System)
    engine: Engine = field(default_factory=Engine)
    environment: Environment = field(default_factory=Environment)
    model: Model = field(default_factory=Model)
