"""Several hosts beside each other: where one of them is not as the others are. Pure.

What is compared is what hosts of one fleet, or of one model, have alike. A host whose fact is
unknown is left out of that comparison: unknown is not different.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.engines.engine import NAMES, dialect
from launcher.files.reading import in_words
from launcher.host.facts import Fact, Gpu, Host, known, unknown

# Words of a kernel command line that name this machine's disks, or say how it was started.
OWN_WORDS = ("BOOT_IMAGE=", "root=", "initrd=", "resume=", "rd.", "ip=", "systemd.machine_id=")
OWN_INTERFACES = ("veth", "docker", "br-", "cni", "flannel", "cali", "tun", "tap", "virbr", "wg")


@dataclass(frozen=True)
class Aspect:
    """One thing that hosts have alike: how it is called, and how a host tells it as a text."""

    id: str
    area: str
    read: Callable[[Host], Fact[str]]
    fix: str  # what to do about the odd one out


@dataclass(frozen=True)
class Difference:
    """An aspect that is not alike: its values, the most frequent first, and who has each."""

    aspect: Aspect
    groups: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def odd(self) -> tuple[str, ...]:
        """The hosts that are not as most are; empty where no value has more than half of them."""
        (_, most), *others = self.groups
        rest = tuple(host for _, hosts in others for host in hosts)
        return rest if len(most) > len(rest) else ()


def differences(hosts: Mapping[str, Host]) -> list[Difference]:
    """What is not alike on these hosts, by name: where one is the odd one out first."""
    found = [Difference(one, groups) for one in ASPECTS if (groups := _groups(one, hosts))]
    return sorted(found, key=lambda one: not one.odd)


def _groups(aspect: Aspect, hosts: Mapping[str, Host]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    by_value: dict[str, tuple[str, ...]] = {}
    for name, host in hosts.items():
        if (told := aspect.read(host)).known:
            by_value[told.get()] = (*by_value.get(told.get(), ()), name)
    if len(by_value) < 2:
        return ()
    return tuple(sorted(by_value.items(), key=lambda one: -len(one[1])))


def _of_gpus(fact: Callable[[Gpu], Fact[Any]], unit: str = "") -> Callable[[Host], Fact[str]]:
    """What the GPUs of a host say, each value once with how many have it where they differ."""

    def read(host: Host) -> Fact[str]:
        if not host.driver.gpus.known:
            return unknown(str(host.driver.gpus.unknown))
        facts = [fact(gpu) for gpu in host.driver.gpus.get()]
        blind = [one for one in facts if not one.known]
        if blind or not facts:
            return unknown(str(blind[0].unknown) if blind else "no GPU")
        return known(_counted((f"{_plain(one.get())}{unit}" for one in facts), len(facts)))

    return read


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _counted(values: Iterable[str], every: int) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{count} of {every}: {value}" for value, count in counts.most_common())


def _text(fact: Callable[[Host], Fact[Any]]) -> Callable[[Host], Fact[str]]:
    def read(host: Host) -> Fact[str]:
        told = fact(host)
        return known(_plain(told.get())) if told.known else unknown(str(told.unknown))

    return read


def _gpu_count(host: Host) -> Fact[str]:
    seen = host.driver.gpus
    return known(f"{len(seen.get())} GPUs") if seen.known else unknown(str(seen.unknown))


def _kernel_words(host: Host) -> Fact[str]:
    line = host.kernel.cmdline
    if not line.known:
        return unknown(str(line.unknown))
    words = [word for word in line.get().split() if not word.startswith(OWN_WORDS)]
    return known(" ".join(sorted(words)) or "none")


def _mtus(host: Host) -> Fact[str]:
    """By size, not by the interface's name: that is each machine's own."""
    told = host.system.mtus
    if not told.known:
        return unknown(str(told.unknown))
    sizes = Counter(
        size for name, size in told.get().items() if not name.startswith(OWN_INTERFACES)
    )
    words = [f"{count}x {size}" for size, count in sorted(sizes.items())]
    return known(", ".join(words) or "no interface")


def _packages(*names: str) -> Callable[[Host], Fact[str]]:
    def read(host: Host) -> Fact[str]:
        told = host.engine.packages
        if not told.known:
            return unknown(str(told.unknown))
        found = [f"{name} {told.get()[name]}" for name in names if name in told.get()]
        return known(", ".join(found)) if found else unknown(f"no {' or '.join(names)}")

    return read


def _package_of(engine: str) -> str:
    return dialect(engine).package


def _memlock(host: Host) -> Fact[str]:
    told = host.system.limits
    if "memlock" not in told.otherwise({}):
        return unknown(str(told.unknown or "the limit of locked memory is not told"))
    limit = told.get()["memlock"]
    return known("unlimited" if limit is None else in_words(limit))


def _memory(gpu: Gpu) -> Fact[str]:
    """In GiB: a table of nvidia-smi rounds to MiB, the driver tells bytes."""
    total = gpu.memory_total
    return known(f"{total.get() / 2**30:.0f} GiB") if total.known else unknown(str(total.unknown))


ALIKE = "make it as the others are, or judge it apart from them"
ASPECTS: tuple[Aspect, ...] = (
    Aspect("gpu-count", "GPUs", _gpu_count, "find the GPU that is missing: `lspci -d 10de:`"),
    Aspect("gpu-product", "GPUs", _of_gpus(lambda gpu: gpu.name), ALIKE),
    Aspect("gpu-memory", "GPUs", _of_gpus(_memory), ALIKE),
    Aspect(
        "driver-release",
        "driver",
        _text(lambda host: host.driver.version),
        "install the driver that the others have, then reboot",
    ),
    Aspect("driver-flavour", "driver", _text(lambda host: host.driver.flavour), ALIKE),
    Aspect(
        "gpu-vbios",
        "GPUs",
        _of_gpus(lambda gpu: gpu.vbios),
        "ask the vendor of the host for that VBIOS",
    ),
    Aspect("gpu-firmware", "driver", _of_gpus(lambda gpu: gpu.gsp), ALIKE),
    Aspect(
        "gpu-power-limit",
        "GPUs",
        _of_gpus(lambda gpu: gpu.power_limit, " W"),
        "set the same one: nvidia-smi -pl WATTS",
    ),
    Aspect("gpu-ecc", "GPUs", _of_gpus(lambda gpu: gpu.ecc), "nvidia-smi -e 1, then reboot"),
    Aspect(
        "link-width",
        "PCIe",
        _of_gpus(lambda gpu: gpu.link_width, " lanes"),
        "reseat the card or the riser of the narrow one",
    ),
    Aspect("link-generation", "PCIe", _of_gpus(lambda gpu: gpu.link_gen_max), ALIKE),
    Aspect("kernel-release", "kernel", _text(lambda host: host.kernel.release), ALIKE),
    Aspect(
        "kernel-words",
        "kernel",
        _kernel_words,
        "make GRUB_CMDLINE_LINUX_DEFAULT the same, run update-grub, reboot",
    ),
    Aspect("cpu-model", "CPU and memory", _text(lambda host: host.system.cpu_model), ALIKE),
    Aspect("numa-nodes", "CPU and memory", _text(lambda host: host.system.numa_nodes), ALIKE),
    Aspect("memlock", "CPU and memory", _memlock, "raise it in /etc/security/limits.d"),
    Aspect(
        "mtu",
        "network",
        _mtus,
        "set the same on both ends: ip link set dev NAME mtu SIZE",
    ),
    Aspect("engine-release", "engine", _packages(*map(_package_of, NAMES)), ALIKE),
    Aspect("engine-torch", "engine", _packages("torch"), ALIKE),
    Aspect("engine-nccl", "engine", _packages("nvidia-nccl-cu12", "nvidia-nccl-cu13"), ALIKE),
    Aspect(
        "checkpoint",
        "model",
        _text(lambda host: host.model.fingerprint),
        "fetch the same commit on each host: `glm5-serve fetch`",
    ),
)
