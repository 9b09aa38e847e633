"""The PCIe links to the GPUs."""

from __future__ import annotations

from collections.abc import Callable

from launcher.doctor.checks.judging import (
    Verdict,
    above_gpus,
    by_gpu,
    fail,
    failing,
    functions,
    gib,
    gpus,
    known_bad,
    ok,
    sample,
    warn,
)
from launcher.host.facts import Fact, Gpu, Host
from launcher.plan.plan import Plan

GROUP = "PCIe"
# Posted writes collapse where several sources go up through one (37 -> 2.7 GB/s, rtx6kpro collapse
# report).
COLLAPSING = {"1000:c030": "Broadcom PEX890xx"}
MANY_CORRECTED = 1000  # corrected AER errors since boot; a sound link has a handful


def pcie_present(host: Host, plan: Plan) -> Verdict:
    """Every GPU is on the PCI bus.

    Configuration space that reads all ones means the GPU fell off: nothing but power brings it
    back.

    Tested: on generated trees. Observed: Xid 79.
    """
    gone = failing(functions(host, "gpu"), lambda gpu: gpu.present, lambda here: not here)
    if gone:
        names = sample([gpu.bdf for gpu, _ in gone])
        return fail(
            f"{names}: configuration space reads all ones",
            fix="power the host off and on; check power cables",
        )
    return ok(f"{len(functions(host, 'gpu'))} NVIDIA GPUs on the bus")


def pcie_driver(host: Host, plan: Plan) -> Verdict:
    """Every GPU is bound to the nvidia driver.

    One that vfio-pci or nouveau holds is not there for CUDA.

    Tested: on generated trees.
    """
    odd = failing(functions(host, "gpu"), lambda gpu: gpu.driver, lambda driver: driver != "nvidia")
    if odd:
        seen = sample([f"{gpu.bdf}: {driver or 'no driver'}" for gpu, driver in odd])
        fix = "remove it from vfio-pci.ids or blacklist nouveau, `update-initramfs -u`, reboot"
        return fail(seen, fix=fix)
    return ok("all nvidia")


def pcie_width(host: Host, plan: Plan) -> Verdict:
    """Every GPU's link has all its lanes.

    One rank on a x8 link makes all of them wait: collectives run at its pace.

    Tested: on generated trees. Reported: rtx6kpro pcie-bandwidth (a slot that is x8 by design).
    """
    wide: Callable[[Gpu], Fact[int]] = lambda gpu: gpu.link_width_max
    narrow = [
        (gpu, f"x{gpu.link_width.get()} of x{gpu.link_width_max.get()}")
        for gpu in gpus(host)
        if gpu.link_width.known
        and gpu.link_width_max.known
        and gpu.link_width.get() < gpu.link_width_max.get()
    ]
    if narrow:
        return warn(
            by_gpu(narrow),
            fix="reseat the board or riser; set the slot to x16 in the firmware (bifurcation)",
        )
    failing(gpus(host), wide, lambda seen: False)
    return ok("all lanes")


def pcie_generation(host: Host, plan: Plan) -> Verdict:
    """Slot and GPU can both do the GPU's PCIe generation.

    A riser or firmware setting that stops at Gen4 halves every copy. An idle link at Gen1 is normal
    and not meant here.

    Observed: eight idle Gen5 GPUs at 2.5 GT/s. Reported: rtx6kpro pcie-bandwidth.
    """
    slow = [
        (gpu, f"Gen{gpu.link_gen_max.get()} at most, the GPU can do Gen{gpu.link_gen_device.get()}")
        for gpu in gpus(host)
        if gpu.link_gen_max.known
        and gpu.link_gen_device.known
        and gpu.link_gen_max.get() < gpu.link_gen_device.get()
    ]
    if slow:
        return warn(
            by_gpu(slow), fix="set the slot to Gen5 in the firmware; try without the riser or cable"
        )
    failing(gpus(host), lambda gpu: gpu.link_gen_max, lambda seen: False)
    return ok("as fast as the GPUs")


def pcie_generation_now(host: Host, plan: Plan) -> Verdict:
    """A GPU at work has its link at full speed.

    Only a busy GPU (P0) tells: one that stays slow under load has a link that trains down.

    Source: idle boards sit at Gen1 by design.
    """
    busy = [gpu for gpu in gpus(host) if gpu.pstate.otherwise(8) == 0]
    slow = [
        (gpu, f"Gen{gpu.link_gen.get()} at P0")
        for gpu in busy
        if gpu.link_gen.known and gpu.link_gen_max.known
        if gpu.link_gen.get() < gpu.link_gen_max.get()
    ]
    if slow:
        return warn(
            by_gpu(slow),
            fix="look for corrected errors (`lspci -vvv`, AER), reseat, try another slot",
        )
    failing(gpus(host), lambda gpu: gpu.pstate, lambda seen: False)
    failing(busy, lambda gpu: gpu.link_gen, lambda seen: False)
    failing(busy, lambda gpu: gpu.link_gen_max, lambda seen: False)
    return ok(
        f"{len(busy)} GPUs at work"
        if busy
        else "no GPU at work: judged by what slot and GPU can do"
    )


def pcie_path(host: Host, plan: Plan) -> Verdict:
    """No bridge above a GPU is narrower than the GPU.

    Two GPUs behind a x8 uplink share it however wide their own links are.

    Tested: on generated trees.
    """
    by_bdf = {function.bdf: function for function in functions(host)}
    narrow = [
        f"{bdf} ({by_bdf[bdf].kind}) runs x{by_bdf[bdf].width.get()}, {gpu.bdf} below it"
        f" x{gpu.width_max.get()}"
        for gpu in functions(host, "gpu")
        for bdf in gpu.above
        if bdf in by_bdf and by_bdf[bdf].width.known and gpu.width_max.known
        if 0 < by_bdf[bdf].width.get() < gpu.width_max.get()
    ]
    if narrow:
        return warn(
            sample(narrow, 3), fix="set the slot's lanes in the firmware; reseat risers and cables"
        )
    failing(functions(host, "gpu"), lambda gpu: gpu.width, lambda seen: False)
    return ok("all bridges as wide as the GPUs below them")


def pcie_bar1(host: Host, plan: Plan) -> Verdict:
    """Each GPU's memory window covers its memory.

    With a 256 MiB BAR1 peers reach a sliver at a time: P2P is slow or off. A 96 GB board shows 128
    GiB.

    Observed: 131072 MiB on eight healthy boards. Tested: on driver libraries.
    """
    small = [
        (gpu, f"BAR1 {gib(gpu.bar1_total.get())}, memory {gib(gpu.memory_total.get())}")
        for gpu in gpus(host)
        if gpu.bar1_total.known
        and gpu.memory_total.known
        and gpu.bar1_total.get() < gpu.memory_total.get()
    ]
    if small:
        fix = (
            "turn on Above 4G Decoding and Resizable BAR in the firmware; `displaymodeselector` to"
            " compute mode"
        )
        return warn(by_gpu(small), fix=fix)
    failing(gpus(host), lambda gpu: gpu.bar1_total, lambda seen: False)
    return ok("BAR1 covers the memory")


def pcie_errors(host: Host, plan: Plan) -> Verdict:
    """No link to a GPU counts errors.

    Fatal ones lose the GPU, uncorrected ones lose data, thousands of corrected ones cost speed and
    come before the rest.

    Tested: on generated trees. Source: the kernel's AER documentation.
    """
    ends = functions(host, "gpu")
    above = {bdf for gpu in ends for bdf in gpu.above}
    links = [*ends, *(one for one in functions(host) if one.bdf in above)]
    fatal = known_bad(links, lambda link: link.aer_fatal, lambda count: count > 0)
    lost = known_bad(links, lambda link: link.aer_nonfatal, lambda count: count > 0)
    corrected = known_bad(
        links, lambda link: link.aer_correctable, lambda count: count > MANY_CORRECTED
    )
    seen = [f"{link.bdf}: {count} fatal" for link, count in fatal]
    seen += [f"{link.bdf}: {count} uncorrected" for link, count in lost]
    seen += [f"{link.bdf}: {count} corrected" for link, count in corrected]
    fix = "reseat the board, riser and cables; try pcie_aspm=off pcie_port_pm=off; another slot"
    if fatal:
        return fail(sample(seen), fix=fix)
    if seen:
        return warn(sample(seen), fix=fix)
    above_gpus(host)
    failing(links, lambda link: link.aer_fatal, lambda count: False)
    failing(links, lambda link: link.aer_nonfatal, lambda count: False)
    failing(links, lambda link: link.aer_correctable, lambda count: False)
    return ok("none that matter")


def pcie_power_saving(host: Host, plan: Plan) -> Verdict:
    """PCIe links are not put to sleep.

    Links that save power while they change speed went down by surprise, and the GPU with them.

    Reported: rtx6kpro common-issues (aer_uncor_status 0x00000020).
    """
    policy = host.pcie.aspm.get()
    if policy in ("powersave", "powersupersave"):
        fix = (
            "add pcie_aspm=off pcie_port_pm=off to GRUB_CMDLINE_LINUX_DEFAULT, `update-grub`,"
            " reboot"
        )
        return warn(f"/sys/module/pcie_aspm/parameters/policy is {policy}", fix=fix)
    return ok(f"policy {policy}")


def switch_writes(host: Host, plan: Plan) -> Verdict:
    """No switch above the GPUs is known to collapse under concurrent writes.

    With two or more GPUs writing up through one such switch, posted writes fell from 37 to 2.7
    GB/s; reads are fine.

    Reported: rtx6kpro asus bug report and collapse report (2026-04). Observed: this switch
    in a working host.
    """
    for id, name in COLLAPSING.items():
        switches = [
            function
            for function in functions(host)
            if function.id == id and function.kind == "switch upstream"
        ]
        under = [
            gpu
            for gpu in functions(host, "gpu")
            if any(switch.bdf in gpu.above for switch in switches)
        ]
        if len(under) > 1:
            return warn(
                f"{len(switches)} {name} upstream ports ({id}) above {len(under)} GPUs",
                fix=(
                    "a hardware limit; keep a switch's GPUs in one virtual switch; `doctor"
                    " --deep` measures"
                ),
            )
    return ok("no PEX890xx above several GPUs")


def gpu_numa(host: Host, plan: Plan) -> Verdict:
    """On a host of several NUMA nodes each GPU names its own.

    Without it ranks are not bound to the near socket: every copy may cross to the other one.

    Reported: GKE's recipe binds ranks (SGLANG_SET_CPU_AFFINITY=1).
    """
    if host.system.numa_nodes.get() < 2:
        return ok("one NUMA node")
    nowhere = failing(gpus(host), lambda gpu: gpu.numa, lambda node: node < 0)
    if nowhere:
        fix = (
            "update the firmware (NPS1 or SNC off); bind ranks by hand with numactl or --numa-node"
        )
        return warn(by_gpu((gpu, "no NUMA node") for gpu, _ in nowhere), fix=fix)
    return ok(
        f"GPUs on nodes {', '.join(map(str, sorted({gpu.numa.get() for gpu in gpus(host)})))}"
    )
