"""Facts of CPU, memory, disks, kernel and environment: from files as the kernel writes them, and
from here.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.engines.issues import every_issue
from launcher.host.collectors.environment import environment
from launcher.host.collectors.kernel import kernel, modules_of_driver
from launcher.host.collectors.system import system
from launcher.host.environment import tells
from launcher.host.facts import Driver, Fact, Kernel, Raid, System, known
from launcher.knowledge.kernel_lines import WORTH
from launcher.redact.secrets import SECRET_VARIABLE

CPU = """processor\t: {0}
vendor_id\t: AuthenticAMD
cpu family\t: 26
model name\t: AMD EPYC 9575F 64-Core Processor
physical id\t: {1}
flags\t\t: fpu vme sse
"""
FILES = {
    "proc/cpuinfo": "\n".join(CPU.format(n, n // 2) for n in range(4)),
    "proc/meminfo": (
        "MemTotal:       1584000000 kB\nMemAvailable:   1500000000 kB\nSwapTotal:             0"
        " kB\n"
    ),
    "proc/self/cgroup": "0::/system.slice/glm5.service\n",
    "proc/cmdline": "BOOT_IMAGE=/vmlinuz ro iommu=pt\n",
    "proc/modules": "nvidia_uvm 100 0 - Live 0x0\nnvidia 200 1 nvidia_uvm, Live 0x0\n",
    "proc/sys/kernel/osrelease": "6.17.0-20-generic\n",
    "proc/sys/kernel/numa_balancing": "1\n",
    "proc/sys/kernel/core_pattern": "core\n",
    "proc/sys/vm/swappiness": "60\n",
    "proc/driver/nvidia/version": (
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.58.03\n"
    ),
    "proc/driver/nvidia/params": 'EnableMSI: 1\nRegistryDwords: "ForceP2P=0x11"\n',
    "proc/1/comm": "systemd\n",
    "proc/77/comm": "nvidia-persiste\n",
    "sys/fs/cgroup/system.slice/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/glm5.service/memory.max": "68719476736\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "sys/devices/system/node/node0/cpulist": "0-1\n",
    "sys/devices/system/node/node1/cpulist": "2-3\n",
    "sys/devices/system/node/node2/cpulist": "\n",
    "sys/devices/system/cpu/cpufreq/policy0/affected_cpus": "0 1 2\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpufreq/policy3/affected_cpus": "3\n",
    "sys/devices/system/cpu/cpufreq/policy3/scaling_governor": "powersave\n",
    "sys/module/nvidia_uvm/parameters/uvm_disable_hmm": "Y\n",
    "sys/block/md0/md/level": "raid5\n",
    "sys/block/md0/md/stripe_cache_size": "256\n",
    "sys/block/md1/md/level": "raid0\n",
    "sys/block/nvme0n1/size": "1\n",
    "sys/class/net/eno1/operstate": "up\n",
    "sys/class/infiniband/mlx5_0/fw_ver": "1\n",
    "etc/cdi/nvidia.yaml": "hostPath: /usr/lib/libcuda.so.590.48.01\n",
    "usr/local/cuda-13.0/compat/libcuda.so.580.65.06": "",
}


def tree(folder: Path, **changed: str | None) -> Path:
    """The files of a host; a name with double underscores for slashes changes one, None takes it
    away.
    """
    files = FILES | {name.replace("__", "/"): text for name, text in changed.items()}
    for path, text in files.items():
        if text is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
    return folder


def seen(folder: Path, driver: str = "595.58.03", **changed: str | None) -> System:
    return system(tree(folder, **changed), {}, driver)


def test_cpus_sockets_and_nodes_with_cpus_are_counted(tmp_path: Path) -> None:
    host = seen(tmp_path)

    assert (host.cpus, host.sockets, host.numa_nodes) == (known(4), known(2), known(2))
    assert (host.cpu_vendor, host.cpu_family) == (known("AuthenticAMD"), known(26))
    assert host.governors == known({"performance": 3, "powersave": 1})


def test_memory_is_told_in_bytes_and_the_tightest_cgroup_counts(tmp_path: Path) -> None:
    host = seen(tmp_path)

    assert (host.memory_total, host.swap) == (known(1584000000 << 10), known(0))
    assert host.memory_limit == known(64 << 30)


def test_a_cgroup_without_a_limit_is_unlimited(tmp_path: Path) -> None:
    path = "sys__fs__cgroup__system.slice__glm5.service__memory.max"

    assert seen(tmp_path, **{path: "max\n"}).memory_limit == known(None)


def test_settings_of_the_kernel_are_read_as_it_marks_them(tmp_path: Path) -> None:
    host = seen(tmp_path)

    assert (host.huge_pages, host.swappiness, host.numa_balancing) == (
        known("madvise"),
        known(60),
        known(1),
    )
    assert host.raids == known((Raid("md0", "raid5", 256), Raid("md1", "raid0", None)))
    assert (host.infiniband, host.interfaces) == (known(("mlx5_0",)), known(("eno1",)))


def test_daemons_are_known_by_the_fifteen_characters_that_the_kernel_keeps(tmp_path: Path) -> None:
    assert seen(tmp_path).daemons == known(("nvidia-persistenced",))


@pytest.mark.parametrize(
    ("driver", "old"),
    [
        ("595.58.03", ("/etc/cdi/nvidia.yaml is of driver 590.48.01, 595.58.03 runs",)),
        ("590.48.01", ()),
        ("", ()),
    ],
)
def test_a_container_specification_of_another_driver_is_old(
    tmp_path: Path, driver: str, old: tuple[str, ...]
) -> None:
    assert seen(tmp_path, driver).cdi_older == known(old)


def test_driver_libraries_of_an_image_are_found(tmp_path: Path) -> None:
    assert seen(tmp_path).compat_libraries == known(
        ("/usr/local/cuda-13.0/compat/libcuda.so.580.65.06",)
    )


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({}, "none"),
        ({"proc__cpuinfo": CPU.format(0, 0).replace("sse", "sse hypervisor")}, "hypervisor"),
        ({"proc__sys__kernel__osrelease": "5.15.90.1-microsoft-standard-WSL2"}, "wsl"),
    ],
)
def test_a_virtual_machine_shows_by_its_processor_or_kernel(
    tmp_path: Path, changed: dict[str, str], kind: str
) -> None:
    assert seen(tmp_path, **changed).virtualisation == known(kind)


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({}, "none"), ({".dockerenv": ""}, "docker"), ({"run__.containerenv": ""}, "podman"),
     ({"proc__1__environ": "A=b\0container=lxc\0"}, "lxc")],
)  # fmt: skip
def test_a_container_shows_by_what_its_runtime_leaves(
    tmp_path: Path, changed: dict[str, str], kind: str
) -> None:
    assert seen(tmp_path, **changed).container == known(kind)


def test_a_recorded_tree_does_not_tell_what_only_a_living_host_does(tmp_path: Path) -> None:
    host = seen(tmp_path)

    assert (
        host.limits.unknown
        == host.mounts.unknown
        == host.cpus_allowed.unknown
        == "a recorded tree does not tell"
    )


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    host = system(tmp_path, {}, None)

    assert host.swappiness.unknown == "/proc/sys/vm/swappiness: no such file or directory"
    assert host.memory_total.unknown == "/proc/meminfo: no such file or directory"
    assert host.governors == known({})


def test_this_machine_is_seen(tmp_path: Path) -> None:
    host = system(Path("/"), {"tmp": str(tmp_path), "model": "/nowhere/at/all"}, None)

    assert host.cpus_allowed.get() <= host.cpus.get()
    assert host.memory_available.get() <= host.memory_total.get()
    assert host.mounts.get()["tmp"].free.get() > 0
    assert host.mounts.get()["model"].filesystem == host.mounts.get()["root"].filesystem
    assert set(host.limits.get()) == {"memlock", "nofile", "core", "stack"}


def test_this_machines_settings_are_the_kernels_own_words() -> None:
    """No recorded tree has its ways: /proc/sys refuses who asks for 4 MiB at once."""
    seen, running = system(Path("/"), {}, None), kernel(Path("/"))
    below = Path("/proc/sys")

    assert seen.swappiness.get() == int((below / "vm/swappiness").read_text())
    assert running.release.get() == (below / "kernel/osrelease").read_text().strip()
    assert running.core_pattern.get() == (below / "kernel/core_pattern").read_text().strip()
    memory = [
        fact.unknown
        for seen in (seen, running)
        for fact in vars(seen).values()
        if isinstance(fact, Fact) and not fact.known
    ]
    assert not [why for why in memory if "memory" in why]


def test_the_kernel_is_read(tmp_path: Path) -> None:
    host = kernel(tree(tmp_path))

    assert host == Kernel(
        release=known("6.17.0-20-generic"),
        cmdline=known("BOOT_IMAGE=/vmlinuz ro iommu=pt"),
        log=host.log,
        modules=known(("nvidia_uvm", "nvidia")),
        lockdown=known("integrity"),
        core_pattern=known("core"),
    )
    assert host.log.unknown == "a recorded tree has no kernel log"


def test_a_kernel_without_lockdown_locks_nothing(tmp_path: Path) -> None:
    assert kernel(tree(tmp_path, sys__kernel__security__lockdown=None)).lockdown == known("none")


def test_the_drivers_modules_say_what_they_are(tmp_path: Path) -> None:
    seen = modules_of_driver(tree(tmp_path), Driver())

    assert (seen.flavour, seen.module, seen.hmm_disabled) == (
        known("open"),
        known("595.58.03"),
        known(True),
    )
    assert seen.params.get()["RegistryDwords"] == "ForceP2P=0x11"


def test_the_proprietary_module_is_told_from_the_open_one(tmp_path: Path) -> None:
    old = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.67  Tue Mar 12\n"
    seen = modules_of_driver(tree(tmp_path, proc__driver__nvidia__version=old), Driver())

    assert (seen.flavour, seen.module) == (known("proprietary"), known("550.67"))


def test_this_machines_kernel_log_is_read_or_says_why_not() -> None:
    log = kernel().log

    assert (
        all(WORTH.search(line) for line in log.get())
        if log.known
        else "/dev/kmsg" in str(log.unknown)
    )


def test_nccls_files_count_in_their_order_and_comments_do_not(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nccl.conf").write_text("# NCCL_DEBUG=TRACE\nNCCL_DEBUG=INFO\nnonsense\n")
    (tmp_path / "home/op").mkdir(parents=True)
    (tmp_path / "home/op/.nccl.conf").write_text("NCCL_DEBUG=WARN\n")
    seen = environment(tmp_path, {"NCCL_P2P_LEVEL": "SYS", "PATH": "/bin"}, "/home/op")

    assert seen.variables == known({"NCCL_P2P_LEVEL": "SYS"})
    assert list(seen.conf.get().items()) == [
        ("/home/op/.nccl.conf", {"NCCL_DEBUG": "WARN"}),
        ("/etc/nccl.conf", {"NCCL_DEBUG": "INFO"}),
    ]


def test_each_variable_that_a_known_issue_is_about_is_seen_unless_it_is_a_secret() -> None:
    looked_at = {
        name
        for issue in every_issue()
        for name in (*issue.blames, *issue.when.options, *issue.bounds)
        if name.isupper() and name.isidentifier() and not SECRET_VARIABLE.search(name)
    }

    assert "VLLM_ENGINE_READY_TIMEOUT_S" in looked_at
    assert not [name for name in looked_at if not tells(name)]
    assert not tells("VLLM_API_KEY")


def test_a_file_that_a_variable_names_and_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "graph.xml").touch()
    there = environment(tmp_path, {"NCCL_GRAPH_FILE": str(tmp_path / "graph.xml")}, "/")
    gone = environment(tmp_path, {"NCCL_TOPO_FILE": "/no/topo.xml"}, "/")

    assert there.missing_files == known(())
    assert gone.missing_files == known(("NCCL_TOPO_FILE=/no/topo.xml",))


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sampled_from(sorted(FILES)), st.binary(max_size=200))
def test_any_bytes_in_any_file_are_survived(tmp_path: Path, path: str, bytes_: bytes) -> None:
    root = tree(tmp_path)
    os.unlink(root / path)  # noqa: PTH108  the example before may have left another file there
    (root / path).write_bytes(bytes_)

    system(root, {}, "595.58.03")
    kernel(root)
    modules_of_driver(root, Driver())
