"""Several hosts judged together: which of them is unlike the others, and in what. Pure.

`differences` compares any hosts; `judge_group` judges those that shall serve one model together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.engines.engine import NAMES, dialect
from launcher.files.reading import in_words
from launcher.host.facts import Fact, Gpu, Host, UnobservedError
from launcher.plan.findings import Finding, Severity
from launcher.plan.plan import Plan
from launcher.redact.secrets import hide

GROUP = "nodes together"
# Words of a kernel's command line that name this very disk or console, and configure nothing.
OWN = re.compile(r"(?:BOOT_IMAGE|root|resume|initrd|console|systemd\.|rd\.)\S*|ro|rw|quiet|splash")
LIBRARIES = ("torch", "flashinfer-python", "nvidia-nccl-cu12", "nvidia-nccl-cu13")
CLOCKS = ("clocks-kept", "The clock of each node is kept.")
FOUND = ("nodes-found", "Each address of the plan is that of one host.")
WHY = "Ranks of one model wait for each other: what one host has otherwise, all of them pay for."
KNOWN = "Tested: on values."
CLOCK = 1.0  # seconds by which a clock may be wrong before logs of two hosts cannot be compared


@dataclass(frozen=True)
class Area:
    """What hosts are compared in: its value as text, how bad it is that nodes of one model differ
    in it, and what to do then. `of` raises UnobservedError where it is unknown.
    """

    name: str
    of: Callable[[Host], str]
    severity: Severity
    fix: str
    of_gpus: bool = False

    @property
    def id(self) -> str:
        """As its finding is called."""
        return f"same-{self.name.replace(' ', '-').lower()}"

    @property
    def title(self) -> str:
        """What is so where nothing differs."""
        return f"All nodes have the same {self.name}."


@dataclass(frozen=True)
class Difference:
    """An area in which hosts differ: who has which value, the most common one first, and who does
    not tell it.
    """

    area: Area
    values: tuple[tuple[str, tuple[str, ...]], ...]
    unknown: tuple[str, ...] = ()

    @property
    def odd(self) -> tuple[str, ...]:
        """The hosts that are unlike the most; all of them where no value has more than another."""
        first, second = (len(names) for _, names in self.values[:2])
        told = self.values if first == second else self.values[1:]
        return tuple(name for _, names in told for name in names)

    def in_words(self) -> str:
        """Who has what, the odd ones first."""
        is_even = len(self.values[0][1]) == len(self.values[1][1])
        told = self.values if is_even else (*self.values[1:], self.values[0])
        return "; ".join(f"{', '.join(names)}: {value or 'none'}" for value, names in told)


def differences(hosts: Mapping[str, Host]) -> list[Difference]:
    """The areas in which hosts, by their names, differ; what a host does not tell is no
    difference.
    """
    return [found for area in AREAS if (found := _difference(area, hosts))]


def judge_group(plan: Plan, hosts: Mapping[str, Host]) -> list[Finding]:
    """What is to be said of hosts, by their names, as the nodes of one plan. One host, or none, is
    no group: nothing is said of it.
    """
    if len(hosts) < 2:
        return []
    areas = [area for area in AREAS if plan.gpus or not area.of_gpus]
    unlike = {found.area.name: found for found in differences(hosts)}
    return [
        *(_alike(area, unlike.get(area.name), hosts) for area in areas),
        _clocks(hosts),
        *([_who_is_who(plan, hosts)] if plan.nodes else []),
    ]


def explained() -> Iterator[tuple[str, str]]:
    """The id and the title of each thing that hosts are judged for together."""
    for area in AREAS:
        yield area.id, area.title
    yield from (CLOCKS, FOUND)


def _difference(area: Area, hosts: Mapping[str, Host]) -> Difference | None:
    told = {name: _value(area, host) for name, host in hosts.items()}
    counts = Counter(value for value in told.values() if value is not None)
    if len(counts) < 2:
        return None
    values = tuple(
        (value, tuple(name for name, said in told.items() if said == value))
        for value, _ in counts.most_common()
    )
    return Difference(area, values, tuple(name for name, said in told.items() if said is None))


def _value(area: Area, host: Host) -> str | None:
    try:
        return hide(area.of(host))
    except UnobservedError:
        return None


def _alike(area: Area, found: Difference | None, hosts: Mapping[str, Host]) -> Finding:
    id, title = area.id, area.title
    if found:
        return Finding(id, area.severity, title, found.in_words(), area.fix, group=GROUP)
    told = [name for name, host in hosts.items() if _value(area, host) is not None]
    if len(told) < len(hosts):
        silent = ", ".join(name for name in hosts if name not in told)
        return Finding(
            id, Severity.UNKNOWN, title, f"{area.name} is unknown of {silent}", group=GROUP
        )
    return Finding(id, Severity.OK, title, _value(area, hosts[told[0]]) or "none", group=GROUP)


def _clocks(hosts: Mapping[str, Host]) -> Finding:
    """No fact of two hosts is of one moment: what is judged is whether somebody keeps each."""
    id, title = CLOCKS
    seen = {name: host.system.clock_error for name, host in hosts.items()}
    if bad := [name for name, error in seen.items() if error.known and _is_loose(error)]:
        what = f"{', '.join(bad)}: nothing keeps the clock, or not to {CLOCK:g} s"
        fix = "run chrony or systemd-timesyncd there: logs of two nodes are compared by their time"
        return Finding(id, Severity.WARN, title, what, fix, group=GROUP)
    if silent := [name for name, error in seen.items() if not error.known]:
        return Finding(id, Severity.UNKNOWN, title, f"unknown of {', '.join(silent)}", group=GROUP)
    return Finding(id, Severity.OK, title, f"within {CLOCK:g} s", group=GROUP)


def _is_loose(error: Fact[float | None]) -> bool:
    seconds = error.get()
    return seconds is None or seconds > CLOCK


def _who_is_who(plan: Plan, hosts: Mapping[str, Host]) -> Finding:
    """Each node's address is on one of the hosts, and on one alone."""
    id, title = FOUND
    seen = {
        name: {address for one in host.system.networks.get() for address in one.addresses}
        for name, host in hosts.items()
        if host.system.networks.known
    }
    wrong = []
    for node in plan.nodes:
        owners = [name for name, addresses in seen.items() if node.address in addresses]
        if len(owners) > 1:
            wrong.append(f"{node.address} is on {' and '.join(owners)}")
        elif not owners and len(seen) >= len(plan.nodes):
            wrong.append(f"{node.address} is on none of {', '.join(seen)}")
    if wrong:
        fix = "correct nodes.hosts: an address of each host, on the network between them"
        return Finding(id, Severity.FAIL, title, "; ".join(wrong), fix, group=GROUP)
    if len(seen) < len(plan.nodes):
        what = f"{len(seen)} hosts tell their addresses, the plan has {len(plan.nodes)} nodes"
        return Finding(id, Severity.UNKNOWN, title, what, group=GROUP)
    return Finding(id, Severity.OK, title, f"{len(plan.nodes)} of {len(plan.nodes)}", group=GROUP)


# What is compared.


def _gpus(host: Host) -> str:
    names = Counter(gpu.name.get() for gpu in host.driver.gpus.get())
    return ", ".join(f"{count}x {name}" for name, count in sorted(names.items())) or "no GPU"


def _each(host: Host, of: Callable[[Gpu], Fact[int] | Fact[float]], unit: str) -> str:
    """What all GPUs have, or from the least to the most."""
    values = sorted(of(gpu).get() for gpu in host.driver.gpus.get())
    if not values:
        raise UnobservedError("no GPU")
    least, most = values[0], values[-1]
    return f"{least:g} {unit}" if least == most else f"{least:g} to {most:g} {unit}"


def _kernel_flags(host: Host) -> str:
    words = hide(host.kernel.cmdline.get()).split()  # in order no secret is known any more
    return " ".join(sorted(word for word in words if not OWN.fullmatch(word)))


def _engine(host: Host) -> str:
    packages = host.engine.packages.get()
    wanted = [dialect(name).package for name in NAMES]
    told = [f"{name} {packages[name]}" for name in wanted if name in packages]
    if not told:
        raise UnobservedError("no engine is known of it")
    return ", ".join(told)


def _libraries(host: Host) -> str:
    packages = host.engine.packages.get()
    return ", ".join(f"{name} {packages[name]}" for name in LIBRARIES if name in packages)


def _mtu(host: Host) -> str:
    """Of the interfaces that are up and have an address."""
    sizes = {one.mtu for one in host.system.networks.get() if one.up and one.mtu}
    return ", ".join(map(str, sorted(sizes)))


def _counted(host: Host, of: Callable[[Gpu], Fact[Any]]) -> str:
    """What all GPUs have, or how many of them have each."""
    gpus = host.driver.gpus.get()
    counts = Counter(str(of(gpu).get()) for gpu in gpus)
    if not counts:
        raise UnobservedError("no GPU")
    if len(counts) == 1:
        return next(iter(counts))
    told = (f"{count} of {len(gpus)}: {value}" for value, count in counts.most_common())
    return ", ".join(told)


def _memlock(host: Host) -> str:
    limits = host.system.limits.get()
    if "memlock" not in limits:
        raise UnobservedError("the limit of locked memory is not told")
    limit = limits["memlock"]
    return "unlimited" if limit is None else in_words(limit)


_SAME = "install the same on all of them"
_APART = "nothing is wrong with it: judge it apart from the others"
_FIRMWARE = "set NPS (AMD) or SNC (Intel) in the firmware as on the others"
AREAS: Sequence[Area] = (
    Area(
        "GPUs",
        _gpus,
        Severity.FAIL,
        "give the odd one the GPUs of the others: ranks are alike",
        True,
    ),
    Area("engine", _engine, Severity.FAIL, f"{_SAME}: releases do not talk to each other"),
    Area(
        "checkpoint",
        lambda host: host.model.fingerprint.get(),
        Severity.FAIL,
        "copy the same checkpoint to all of them",
    ),
    Area("libraries", _libraries, Severity.WARN, f"{_SAME}: NCCL of two releases may not connect"),
    Area("driver", lambda host: host.driver.version.get(), Severity.WARN, _SAME, True),
    Area("driver flavour", lambda host: host.driver.flavour.get(), Severity.WARN, _SAME, True),
    Area("kernel", lambda host: host.kernel.release.get(), Severity.WARN, _SAME),
    Area("kernel flags", _kernel_flags, Severity.WARN, "boot all of them with the same flags"),
    Area("MTU", _mtu, Severity.WARN, "set one MTU on the interfaces between them, and the switch"),
    Area(
        "link width",
        lambda host: _each(host, lambda gpu: gpu.link_width, "lanes"),
        Severity.WARN,
        "`glm5-serve doctor` on the odd one says which GPU: all ranks wait for it",
        True,
    ),
    Area(
        "power limit",
        lambda host: _each(host, lambda gpu: gpu.power_limit, "W"),
        Severity.WARN,
        "`nvidia-smi -pl` on the odd one: all ranks wait for the slowest",
        True,
    ),
    Area(
        "link generation",
        lambda host: _counted(host, lambda gpu: gpu.link_gen_max),
        Severity.WARN,
        "set the slots' speed in the firmware as on the others",
        True,
    ),
    Area(
        "VBIOS",
        lambda host: _counted(host, lambda gpu: gpu.vbios),
        Severity.WARN,
        "ask the vendor of the host for that VBIOS",
        True,
    ),
    Area(
        "ECC",
        lambda host: _counted(host, lambda gpu: gpu.ecc),
        Severity.WARN,
        "`nvidia-smi -e 1` on the odd one, then reboot",
        True,
    ),
    Area(
        "locked memory",
        _memlock,
        Severity.WARN,
        "raise it in /etc/security/limits.d, and for the unit with LimitMEMLOCK=",
    ),
    Area("CPU", lambda host: host.system.cpu_model.get(), Severity.WARN, _APART),
    Area("NUMA nodes", lambda host: str(host.system.numa_nodes.get()), Severity.WARN, _FIRMWARE),
)
