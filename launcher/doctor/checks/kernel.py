"""The kernel, and what it wrote down."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher.diagnose.matching import KERNEL, matches
from launcher.diagnose.unwrap import unwrap
from launcher.doctor.checks.judging import Verdict, fail, ok, warn
from launcher.engines import witness
from launcher.engines.failures import failures
from launcher.host.facts import Host
from launcher.knowledge import xid
from launcher.plan.plan import Plan

GROUP = "kernel"


DRIVER = ("NVRM: ", "nvidia-nvswitch")  # how each of its lines begins
CONTINUED = re.compile(r"NVRM: \(PCI ID: ")  # of a message of several lines
SXID = re.compile(r"nvidia-nvswitch\d+: SXid \(")
ASKS = 154  # "GPU recovery action changed": what is to be done, not what happened


def _last(lines: list[str], most: int = 3) -> str:
    return " | ".join(line.strip()[:160] for line in lines[-most:])


def kernel_xid(host: Host, plan: Plan) -> Verdict:
    """The kernel log has no Xid of an unsound GPU.

    After some of these the GPU needs a reset or the host a reboot, whatever nvidia-smi shows.

    Observed: Xid 8, 13, 45, 62, 79 and 154. Reported: NVIDIA's Xid catalogue.
    """
    words = ((_words(line), line) for line in host.kernel.log.get())
    seen = [(found, line) for said, line in words if said and (found := xid.judge(said))]
    grave = [(found, line) for found, line in seen if found.advice != "again"]
    if grave:
        # What names the fault comes before 154, by which the driver only asks for an action.
        found, line = next((one for one in grave if one[0].number != xid.ASKS), grave[-1])
        more = f" ({len(grave)} such lines)" if len(grave) > 1 else ""
        return fail(f"{_told(found, line)}{more}", fix=_fix(found))
    if seen:
        found, line = seen[-1]
        last = f"{len(seen)} Xids, the last: " if len(seen) > 1 else ""
        return warn(f"{last}{_told(found, line)}", fix=_fix(found))
    return ok("no Xid")


def _words(line: str) -> str | None:
    """What the kernel said in a line of its log, however that was printed."""
    text, by_kernel = unwrap(line)
    return None if by_kernel is False else witness.kernels(text, surely=True)


def _told(found: xid.Xid, line: str) -> str:
    return f"Xid {found.number}, {found.what}: {_last([line])}"


def _fix(found: xid.Xid) -> str:
    """As `diagnose` says it, and a reset where a GPU is not to be trusted for ever."""
    if found.what == xid.UNLISTED:
        return "look the number up in NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors)"
    fix = found.fix or failures()[found.cause].fix
    wants = found.advice == "again" and not found.sound and "reset" not in fix
    return f"{fix}; reset the GPU at the next quiet moment" if wants else fix


def _is_fatal(line: str) -> bool:
    """As `diagnose` has it."""
    words = _words(line) or ""
    return any(found.failure.id == "nvlink-error" for found in matches(words, KERNEL))


def kernel_nvswitch(host: Host, plan: Plan) -> Verdict:
    """The kernel log has no fatal NVSwitch error.

    A fatal SXid takes the fabric down until the GPUs and switches are reset.

    Observed: SXid lines beside Xid 45 and 62.
    """
    lines = [line for line in host.kernel.log.get() if SXID.search(line)]
    if fatal := [line for line in lines if _is_fatal(line)]:
        return fail(_last(fatal), fix=failures()["nvlink-error"].fix)
    if lines:
        fix = "look the number up in NVIDIA's Fabric Manager guide; watch whether it comes back"
        return warn(f"no line says that it is fatal: {_last(lines)}", fix=fix)
    return ok("no SXid")


def kernel_driver(host: Host, plan: Plan) -> Verdict:
    """The driver brought up every GPU, and lost none.

    Such a GPU is not there for CUDA, or ends the server that uses it; not every loss has an Xid.

    Reported: NVIDIA/open-gpu-kernel-modules#789, #1058 (RmInitAdapter, WPR2); NVSentinel#155.
    """
    log = host.kernel.log.get()
    told = [
        (_whole(log, at), fix) for at, line in enumerate(log) if (fix := _lost(_words(line) or ""))
    ]
    if told:
        more = f" ({len(told)} such lines)" if len(told) > 1 else ""
        return fail(f"{_last([told[0][0]])}{more}", fix=told[0][1])
    return ok("no GPU that is lost or did not start")


def _whole(log: Sequence[str], at: int) -> str:
    """A line, behind those in which the driver's message began that names the GPU."""
    for first in range(at - 1, max(at - 4, -1), -1):
        if "NVRM: The NVIDIA GPU " in log[first]:
            return " ".join(line.strip().removeprefix("NVRM: ") for line in log[first : at + 1])
        if not CONTINUED.search(log[first]):
            break
    return log[at]


def _lost(words: str) -> str | None:
    """What to do about a line that names a GPU as lost, None for another one; Xids are
    `kernel-xid`'s.
    """
    if "Xid (" in words or not words.startswith(DRIVER):
        return None
    known = (one for one, *_ in matches(words, KERNEL) if one.weight == "hardware")
    return next((one.fix for one in known), None)


def kernel_link_down(host: Host, plan: Plan) -> Verdict:
    """No PCIe link went down by surprise.

    The GPU behind it is gone until the host is powered off and on.

    Reported: rtx6kpro common-issues (uncorrectable status 0x00000020).
    """
    lines = [
        line
        for line in host.kernel.log.get()
        if re.search(r"Surprise (?:Link )?Down|SurpriseDown|\bSDES\b|Link Down.*pcieport", line)
    ]
    if lines:
        fix = (
            "add pcie_aspm=off pcie_port_pm=off to GRUB_CMDLINE_LINUX_DEFAULT, `update-grub`, power"
            " off and on"
        )
        return fail(_last(lines), fix=fix)
    return ok("no surprise link down")


def kernel_oom(host: Host, plan: Plan) -> Verdict:
    """The kernel killed nothing for want of memory.

    A rank that was killed so looks like a crash without a reason in the server's log.

    Source: the kernel's messages.
    """
    lines = [
        line
        for line in host.kernel.log.get()
        if re.search(r"Out of memory:|oom-kill:|Memory cgroup out of memory", line)
    ]
    if lines:
        fix = (
            "see `host-memory` and `memory-limit`; fewer loader threads; nothing else beside the"
            " server"
        )
        return warn(_last(lines), fix=fix)
    return ok("no OOM kill")


def kernel_peermem(host: Host, plan: Plan) -> Verdict:
    """nvidia_peermem does not fail.

    Only hosts that talk RDMA to others need it; where it fails it fills the log and GPUDirect is
    off.

    Reported: hosts with "invalid context" lines.
    """
    lines = [
        line
        for line in host.kernel.log.get()
        if "peermem" in line.lower() and "invalid" in line.lower()
    ]
    if lines:
        return warn(
            _last(lines, 1), fix="`rmmod nvidia_peermem` on a single host; use dmabuf on several"
        )
    return ok("no complaint")


def kernel_iommu_faults(host: Host, plan: Plan) -> Verdict:
    """The IOMMU blocked no device.

    A fault names a GPU whose peer copies went where the IOMMU did not let them.

    Source: the kernel's AMD-Vi and DMAR messages.
    """
    lines = [
        line for line in host.kernel.log.get() if re.search(r"IO_PAGE_FAULT|DMAR:.*fault", line)
    ]
    if lines:
        return fail(_last(lines), fix="boot with iommu=pt, see `iommu-translation`")
    return ok("no fault")


def kernel_lockdown(host: Host, plan: Plan) -> Verdict:
    """The kernel lets root set PCI registers.

    Under lockdown (Secure Boot) `setpci` is refused: ACS cannot be cleared, unsigned modules do not
    load.

    Source: kernel_lockdown(7).
    """
    mode = host.kernel.lockdown.get()
    if mode != "none":
        fix = "turn Secure Boot off, or set ACS in the firmware; sign the driver's modules (MOK)"
        return warn(f"/sys/kernel/security/lockdown is {mode}", fix=fix)
    return ok("no lockdown")
