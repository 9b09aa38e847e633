"""CPU, memory and limits."""

from __future__ import annotations

from launcher import counting
from launcher.doctor.checks.judging import Verdict, fail, gib, ok, sample, warn
from launcher.engines.engine import dialect
from launcher.host.facts import Host, UnobservedError
from launcher.knowledge import needs
from launcher.plan.plan import Plan

GROUP = "CPU and memory"
# bytes for a server on the CPU, with a model as small as that
WITHOUT_GPU, SHM_WITHOUT_GPU = (
    1 << 30,
    16 << 20,
)


def cpu_governor(host: Host, plan: Plan) -> Verdict:
    """The CPUs run at full clock.

    Decode waits for the CPU between kernels: with powersave each token is later.

    Reported: rtx6kpro nccl-tuning; sglang PR#28876.
    """
    governors = host.system.governors.get()
    slow = {name: count for name, count in governors.items() if name != "performance"}
    if slow:
        seen = ", ".join(f"{counting.of(count, 'CPU')} on {name}" for name, count in slow.items())
        return warn(
            f"{seen} (cpufreq/scaling_governor)",
            fix="`cpupower frequency-set -g performance`, at each boot",
        )
    return ok("performance" if governors else "no frequency scaling to set")


def cpu_count(host: Host, plan: Plan) -> Verdict:
    """There are CPUs for every rank and the server beside them.

    Each rank busy-waits on one core; the tokenizer, detokenizer and NCCL's proxies need more.

    Source: SGLang's process tree (server, detokenizer, one scheduler a GPU).
    """
    allowed, wanted = host.system.cpus_allowed.get(), 2 * plan.gpus + 2
    if allowed < wanted:
        fix = "raise the container's --cpus or the unit's AllowedCPUs"
        return warn(
            f"{counting.of(allowed, 'CPU')} may be used, {wanted} wanted for {_ranks(plan)}",
            fix=fix,
        )
    return ok(f"{counting.of(allowed, 'CPU')}, {wanted} wanted")


def numa_balancing(host: Host, plan: Plan) -> Verdict:
    """The kernel does not move pages between NUMA nodes by itself.

    It takes pages away to see who wants them: stalls in the middle of decoding.

    Reported: rtx6kpro nccl-tuning; SGLang warns of it, too.
    """
    if host.system.numa_nodes.get() > 1 and host.system.numa_balancing.get() != 0:
        value = host.system.numa_balancing.get()
        fix = "`sysctl -w kernel.numa_balancing=0`, and in /etc/sysctl.d for each boot"
        return warn(f"/proc/sys/kernel/numa_balancing is {value}", fix=fix)
    return ok("off" if host.system.numa_nodes.get() > 1 else "one NUMA node")


def huge_pages(host: Host, plan: Plan) -> Verdict:
    """Transparent huge pages are given to those who ask.

    With "always" the kernel compacts memory under the server's feet.

    Reported: general practice for latency; not measured with SGLang.
    """
    if host.system.huge_pages.get() == "always":
        fix = (
            "`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`, or"
            " transparent_hugepage=madvise at boot"
        )
        return warn("/sys/kernel/mm/transparent_hugepage/enabled is always", fix=fix)
    return ok(host.system.huge_pages.get())


def swap(host: Host, plan: Plan) -> Verdict:
    """The kernel does not swap the server out.

    A page of a rank that comes back from disk stops all ranks.

    Reported: rtx6kpro nccl-tuning.
    """
    size, eager = host.system.swap.get(), host.system.swappiness.get()
    if size and eager > 10:
        fix = "`sysctl -w vm.swappiness=0` and in /etc/sysctl.d, or `swapoff -a`"
        return warn(f"{gib(size)} of swap, vm.swappiness is {eager}", fix=fix)
    return ok("no swap" if not size else f"vm.swappiness is {eager}")


def host_memory(host: Host, plan: Plan) -> Verdict:
    """The host's memory holds what loading needs.

    Every rank reads every shard through the page cache: with less memory than checkpoint each start
    reads the disk again, and far less ends in the kernel's OOM killer.

    Reported: 36 s from memory against 1206 s from disk on one host. Source: SGLang's loader.
    """
    available, wanted = (
        host.system.memory_available.get(),
        plan.gpus * needs.PER_RANK or WITHOUT_GPU,
    )
    if available < wanted:
        fix = (
            "stop what else holds memory (`ps -e -o pid,user,rss,comm --sort=-rss`), or add memory"
        )
        return fail(
            f"{gib(available)} available, {gib(wanted)} wanted for {_ranks(plan)}",
            fix=fix,
        )
    weights = host.model.bytes.otherwise(0)
    total = host.system.memory_total.get()
    if weights and total < weights + wanted:
        fix = "keep the checkpoint on NVMe; a restart will read it from there again"
        return warn(
            f"{gib(total)} of memory, the checkpoint has {gib(weights)}: it will not stay cached",
            fix=fix,
        )
    return ok(f"{gib(available)} of {gib(total)} available")


def memory_limit(host: Host, plan: Plan) -> Verdict:
    """No cgroup limit is below what loading needs.

    A container's limit kills a rank in the middle of loading, and the log shows only "Killed".

    Source: cgroup v2 documentation. Tested: on files.
    """
    limit = host.system.memory_limit.get()
    wanted = plan.gpus * needs.PER_RANK or WITHOUT_GPU
    if limit is not None and limit < wanted:
        fix = "raise the container's --memory, the pod's limit or the unit's MemoryMax"
        return fail(
            f"the cgroup allows {gib(limit)}, {gib(wanted)} wanted for {_ranks(plan)}",
            fix=fix,
        )
    return ok("unlimited" if limit is None else gib(limit))


def shared_memory(host: Host, plan: Plan) -> Verdict:
    """/dev/shm has room for the ranks.

    Docker's default of 64 MiB ends in "unable to allocate shared memory" or a bus error, minutes
    into the start.

    Reported: every container recipe raises it (8 to 80 GiB). Tested: on values.
    """
    mount = host.system.mounts.get().get("shm")
    if mount is None:
        return fail(
            "/dev/shm is not there",
            fix="`mount -t tmpfs tmpfs /dev/shm`, or --ipc=host for the container",
        )
    free = mount.free.get()
    wanted = needs.shm(plan.gpus) or SHM_WITHOUT_GPU
    if mount.filesystem.otherwise("tmpfs") != "tmpfs":
        return warn(
            f"/dev/shm is {mount.filesystem.get()}, not tmpfs",
            fix="`mount -t tmpfs tmpfs /dev/shm`",
        )
    if free < wanted:
        fix = (
            "--ipc=host or --shm-size=32g for the container; else remove stale files from /dev/shm"
        )
        return fail(f"/dev/shm has {gib(free)} free, {gib(wanted)} wanted", fix=fix)
    return ok(f"{gib(free)} free")


def locked_memory(host: Host, plan: Plan) -> Verdict:
    """Memory may be pinned.

    CUDA and NCCL pin host buffers; RDMA fails without it.

    Reported: every container recipe sets memlock=-1.
    """
    limit = _limit(host, "memlock")
    if limit is not None and not plan.gpus:
        return ok(f"{limit >> 10} KiB, and no GPU is asked for")
    if limit is not None and limit < needs.LOCKED:
        fix = "--ulimit memlock=-1, LimitMEMLOCK=infinity in the unit, or /etc/security/limits.d"
        return warn(f"ulimit -l is {limit >> 10} KiB", fix=fix)
    return ok("unlimited" if limit is None else gib(limit))


def open_files(host: Host, plan: Plan) -> Verdict:
    """Enough files may be open.

    Each rank maps every shard, each request is a socket: "Too many open files" comes under load.

    Source: SGLang and vLLM raise the soft limit to 65535 as far as the hard one lets it. Reported:
    container recipes.
    """
    limit = _limit(host, "nofile")
    if limit is not None and limit < needs.OPEN_FILES:
        wanted, name = needs.OPEN_FILES, dialect(plan.engine).name
        fix = f"--ulimit nofile={wanted}, LimitNOFILE= in the unit, or /etc/security/limits.d"
        return warn(f"ulimit -Hn is {limit}, {name} raises its own to {wanted}", fix=fix)
    return ok("unlimited" if limit is None else str(limit))


def _limit(host: Host, name: str) -> int | None:
    limits = host.system.limits.get()
    if name not in limits:
        raise UnobservedError(f"nobody told the limit of {name}")
    return limits[name]


def core_dumps(host: Host, plan: Plan) -> Verdict:
    """A crash does not write eight core files.

    Each rank's core is as large as what it mapped: a crash fills the disk and takes minutes.

    Source: core(5). A systemd unit with LimitCORE=0 is fine.
    """
    limit = _limit(host, "core")
    if limit != 0 and not host.kernel.core_pattern.get().startswith("|"):
        pattern = host.kernel.core_pattern.get()
        return warn(
            f"ulimit -c is not 0, core files go to {pattern}",
            fix="`ulimit -c 0`, or LimitCORE=0 in the unit",
        )
    return ok("none, or handed to a collector")


def virtual_machine(host: Host, plan: Plan) -> Verdict:
    """The server runs on the machine itself.

    WSL and virtual machines cost: 55 against 119 tokens/s native, and P2P is rarely available.

    Reported: LocalLLaMA 2026-03; cloud hosts of these GPUs (GKE g4) are virtual machines and run
    well.
    """
    kind = host.system.virtualisation.get()
    if kind != "none" and not plan.gpus:
        return ok(f"a virtual machine ({kind}), and no GPU is asked for")
    if kind == "wsl":
        return warn("WSL", fix="run Linux on the machine itself")
    if kind != "none":
        return warn(
            f"a virtual machine ({kind})",
            fix="measure P2P with `glm5-serve doctor --deep`; allow it in a cloud",
        )
    return ok("no virtual machine")


def container_libraries(host: Host, plan: Plan) -> Verdict:
    """The image brings no CUDA driver library of its own.

    A compat libcuda older than the host's driver ends in error 803, "unsupported display driver /
    cuda driver combination".

    Reported: rtx6kpro common-issues (13.0 in the image, 13.1 on the host).
    """
    seen = host.system.compat_libraries.get()
    if seen and host.system.container.get() != "none":
        fix = (
            "mask it: `--tmpfs /usr/local/cuda/compat`, or remove the cuda-compat package from the"
            " image"
        )
        return warn(f"in this container: {sample(seen)}", fix=fix)
    return ok("none" if not seen else "not in a container")


def container_devices(host: Host, plan: Plan) -> Verdict:
    """Container device specifications are of the running driver.

    After a driver update an old CDI file mounts libraries that are gone: containers do not start.

    Reported: rtx6kpro daily notes. Tested: on files.
    """
    old = host.system.cdi_older.get()
    if old:
        return warn(sample(old), fix="`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`")
    return ok("none that is older than the driver")


def _ranks(plan: Plan) -> str:
    """Those of the plan on this host, as many as they are."""
    return counting.of(plan.gpus, "rank")
