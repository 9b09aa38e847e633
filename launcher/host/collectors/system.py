"""CPU, memory, limits, disks, containers, network interfaces: from /proc, /sys and a few system
calls.
"""

from __future__ import annotations

import os
import re
import resource
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from launcher.host.collectors.files import lines, names, parsed, text
from launcher.host.facts import Fact, Mount, Raid, System, known, unknown
from launcher.host.sysfs import chosen

RECORDED = "a recorded tree does not tell"
DAEMONS = ("nvidia-persistenced", "nv-fabricmanager")


def system(root: Path, paths: Mapping[str, str], driver: str | None) -> System:
    """What is below `root`. `paths` are looked at by their use (model, cache, state, tmp).

    `driver` is the version of the running NVIDIA driver: container specifications of another are
    old.
    """
    live = root == Path("/")
    cpu = _cpuinfo(root)
    memory = parsed(text(root, "proc/meminfo"), _meminfo)
    return System(
        cpu_vendor=parsed(cpu, lambda said: _field(said, "vendor_id")),
        cpu_model=parsed(cpu, lambda said: _field(said, "model name")),
        cpu_family=parsed(cpu, lambda said: int(_field(said, "cpu family"))),
        cpus=parsed(cpu, lambda said: len(re.findall(r"^processor\s*:", said, re.MULTILINE))),
        cpus_allowed=known(_cpus_allowed(root)) if live else unknown(RECORDED),
        sockets=parsed(
            cpu,
            lambda said: len(set(re.findall(r"^physical id\s*: (\d+)", said, re.MULTILINE))) or 1,
        ),
        numa_nodes=_numa_nodes(root),
        governors=_governors(root),
        numa_balancing=parsed(text(root, "proc/sys/kernel/numa_balancing"), int),
        huge_pages=parsed(text(root, "sys/kernel/mm/transparent_hugepage/enabled"), chosen),
        swappiness=parsed(text(root, "proc/sys/vm/swappiness"), int),
        swap=_from(memory, "SwapTotal"),
        memory_total=_from(memory, "MemTotal"),
        memory_available=_from(memory, "MemAvailable"),
        memory_limit=_memory_limit(root),
        limits=known(_limits()) if live else unknown(RECORDED),
        mounts=known(_mounts(root, paths)) if live else unknown(RECORDED),
        raids=_raids(root),
        virtualisation=_virtualisation(root),
        container=_container(root),
        compat_libraries=known(_compat_libraries(root)),
        cdi_older=known(_cdi_older(root, driver)),
        daemons=known(_daemons(root)) if (root / "proc/1").exists() else unknown(RECORDED),
        infiniband=names(root, "sys/class/infiniband"),
        interfaces=names(root, "sys/class/net"),
    )


def layout(root: Path) -> System:
    """The few facts that decide flags: quick to have, so `render` can look at them each time."""
    return System(numa_nodes=_numa_nodes(root), infiniband=names(root, "sys/class/infiniband"))


def _cpuinfo(root: Path) -> Fact[str]:
    return text(root, "proc/cpuinfo")


def _field(said: str, name: str) -> str:
    return str(re.findall(rf"^{name}\s*: (.*)$", said, re.MULTILINE)[0]).strip()


def _meminfo(said: str) -> dict[str, int]:
    rows = (line.replace(":", " ").split() for line in said.splitlines())
    return {row[0]: int(row[1]) << 10 for row in rows if len(row) > 1 and row[1].isdigit()}


def _from(memory: Fact[dict[str, int]], name: str) -> Fact[int]:
    if memory.known and name not in memory.get():
        return unknown(f"/proc/meminfo has no {name}")
    return known(memory.get()[name]) if memory.known else unknown(str(memory.unknown))


def _cpus_allowed(root: Path) -> int:
    allowed = len(os.sched_getaffinity(0))
    for folder in _cgroups(root):
        quota, _, period = text(root, f"{folder}/cpu.max").otherwise("max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def _cgroups(root: Path) -> list[str]:
    """The folders of this process's version-2 cgroup and those above it."""
    path = next(
        (line[3:] for line in lines(root, "proc/self/cgroup") if line.startswith("0::")), "/"
    )
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["/".join(["sys/fs/cgroup", *parts[:end]]) for end in range(len(parts), -1, -1)]


def _memory_limit(root: Path) -> Fact[int | None]:
    """The tightest limit of this process's cgroup and those above it; None: none of them has
    one.
    """
    said = text(root, "proc/self/cgroup")
    if not said.known:
        return unknown(str(said.unknown))
    limits = [text(root, f"{folder}/memory.max").otherwise("max") for folder in _cgroups(root)]
    return known(min((int(limit) for limit in limits if limit.isdigit()), default=None))


def _limits() -> dict[str, int | None]:
    kinds = {
        "memlock": resource.RLIMIT_MEMLOCK,
        "nofile": resource.RLIMIT_NOFILE,
        "core": resource.RLIMIT_CORE,
        "stack": resource.RLIMIT_STACK,
    }
    # SGLang raises its soft limits of files and stack itself, as far as the hard ones let it.
    which = {name: int(name in ("nofile", "stack")) for name in kinds}
    reach = {name: resource.getrlimit(kind)[which[name]] for name, kind in kinds.items()}
    return {
        name: None if limit == resource.RLIM_INFINITY else limit for name, limit in reach.items()
    }


def _numa_nodes(root: Path) -> Fact[int]:
    nodes = names(root, "sys/devices/system/node")
    if not nodes.known:
        return unknown(str(nodes.unknown))
    ours = [name for name in nodes.get() if re.fullmatch(r"node\d+", name)]
    with_cpus = [
        name
        for name in ours
        if text(root, f"sys/devices/system/node/{name}/cpulist").otherwise("0")
    ]
    return known(max(1, len(with_cpus)))


def _governors(root: Path) -> Fact[dict[str, int]]:
    policies = names(root, "sys/devices/system/cpu/cpufreq")
    if not policies.known:
        return known({})  # no frequency scaling, as in most virtual machines
    counts: Counter[str] = Counter()
    for policy in policies.get():
        if policy.startswith("policy"):
            folder = f"sys/devices/system/cpu/cpufreq/{policy}"
            cpus = len(text(root, f"{folder}/affected_cpus").otherwise("0").split())
            counts[text(root, f"{folder}/scaling_governor").otherwise("unknown")] += cpus
    return known(dict(counts))


def _mounts(root: Path, paths: Mapping[str, str]) -> dict[str, Mount]:
    table = [line.split() for line in lines(root, "proc/self/mountinfo")]
    uses = {"root": "/", "shm": "/dev/shm", **paths}
    return {
        use: _mount(path, table)
        for use, path in uses.items()
        if use != "shm" or Path(path).is_dir()
    }


def _mount(path: str, table: list[list[str]]) -> Mount:
    there = Path(path)
    while not os.access(there, os.F_OK) and there != there.parent:
        there = there.parent
    try:
        free = os.statvfs(there)
        place = os.path.realpath(there)
        device = os.stat(there).st_dev  # noqa: PTH116  one call beside its neighbours
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        return Mount(path, unknown(why), unknown(why), unknown(why), unknown(why))
    rows = [row for row in table if place == row[4] or place.startswith(row[4].rstrip("/") + "/")]
    row = max(rows, key=lambda row: len(row[4]), default=None)
    kind = (
        known(row[row.index("-") + 1])
        if row and "-" in row
        else unknown("no row of /proc/self/mountinfo fits")
    )
    size = free.f_frsize
    return Mount(
        path, kind, known(free.f_blocks * size), known(free.f_bavail * size), _rotating(device)
    )


def _rotating(device: int) -> Fact[bool]:
    folder = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    if re.match(r"x?vd|nbd", folder.name):
        return unknown("a virtual disk does not say")
    for block in (folder, folder.parent):  # a partition's queue is its disk's
        said = text(block, "queue/rotational")
        if said.known:
            return known(said.get() == "1")
    return known(False)  # no block device of its own: memory, network, overlay


def _raids(root: Path) -> Fact[tuple[Raid, ...]]:
    blocks = names(root, "sys/block")
    if not blocks.known:
        return unknown(str(blocks.unknown))
    found = []
    for name in blocks.get():
        level = text(root, f"sys/block/{name}/md/level")
        if level.known:
            cache = parsed(text(root, f"sys/block/{name}/md/stripe_cache_size"), int)
            found.append(Raid(name, level.get(), cache.get() if cache.known else None))
    return known(tuple(found))


def _virtualisation(root: Path) -> Fact[str]:
    if "microsoft" in text(root, "proc/sys/kernel/osrelease").otherwise("").lower():
        return known("wsl")
    cpu = _cpuinfo(root)
    if cpu.known and " hypervisor" not in cpu.get():
        return known("none")
    vendor = text(root, "sys/class/dmi/id/sys_vendor").otherwise("")
    return known(vendor or "hypervisor") if cpu.known else unknown(str(cpu.unknown))


def _container(root: Path) -> Fact[str]:
    if (root / ".dockerenv").exists():
        return known("docker")
    if (root / "run/.containerenv").exists():
        return known("podman")
    marks = text(root, "proc/1/environ")
    if marks.known and (found := re.search(r"(?:^|\0)container=([^\0]+)", marks.get())):
        return known(found.group(1))
    if os.environ.get("KUBERNETES_SERVICE_HOST") and root == Path("/"):
        return known("kubernetes")
    return known("none")


def _compat_libraries(root: Path) -> tuple[str, ...]:
    return tuple(
        f"/{path.relative_to(root)}"
        for path in sorted(root.glob("usr/local/cuda*/compat/libcuda.so*"))
    )


def _cdi_older(root: Path, driver: str | None) -> tuple[str, ...]:
    found = []
    for path in sorted([*root.glob("etc/cdi/*.yaml"), *root.glob("var/run/cdi/*.yaml")]):
        said = text(root, str(path.relative_to(root))).otherwise("")
        versions = set(re.findall(r"lib(?:cuda|nvidia-ml)\.so\.(\d+\.[\d.]+\d)", said))
        if driver and versions and driver not in versions:
            found.append(
                f"/{path.relative_to(root)} is of driver {', '.join(sorted(versions))}, {driver}"
                " runs"
            )
    return tuple(found)


def _daemons(root: Path) -> tuple[str, ...]:
    wanted = {name[:15]: name for name in DAEMONS}  # the kernel keeps 15 characters of a name
    running = {
        wanted[comm]
        for pid in names(root, "proc").otherwise(())
        if pid.isdigit() and (comm := text(root, f"proc/{pid}/comm").otherwise("")) in wanted
    }
    return tuple(sorted(running))
