"""The kernel, and what it wrote down."""

from __future__ import annotations

import re

from launcher.checks.judging import Verdict, fail, ok, warn
from launcher.facts import Host
from launcher.plan import Plan

GROUP = "kernel"

# NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors): what happened, and whether the GPU is sound after.
XIDS = {
    8: ("a kernel ran too long, the watchdog stopped it", False),
    13: ("a kernel's exception", True),
    31: ("a memory fault of a kernel", True),
    43: ("a process was stopped", True),
    45: ("a process was torn down", True),
    48: ("an uncorrectable memory error", False),
    62: ("the GPU's firmware halted", False),
    63: ("a row was remapped", True),
    64: ("a row could not be remapped", False),
    74: ("an NVLink error", False),
    79: ("the GPU fell off the bus", False),
    94: ("a contained memory error", False),
    95: ("an uncontained memory error", False),
    109: ("a context switch timed out", False),
    119: ("the GSP firmware does not answer", False),
    120: ("the GSP firmware failed", False),
    154: ("the driver asks for a recovery action", False),
    175: ("the GSP firmware halted", False),
}
_XID = re.compile(r"NVRM: (?:GPU at \S+: )?Xid \(([^)]*)\): (\d+)")


def _last(lines: list[str], most: int = 3) -> str:
    return " | ".join(line.strip()[:160] for line in lines[-most:])


def kernel_xid(host: Host, plan: Plan) -> Verdict:
    """The kernel log has no Xid of an unsound GPU.

    After these the GPU needs a reset or the host a reboot, whatever nvidia-smi shows.

    Seen in a record: Xid 8, 13, 45, 62, 79 and 154. Reported: NVIDIA's Xid catalogue.
    """
    seen = [(int(found.group(2)), line) for line in host.kernel.log.get() if (found := _XID.search(line))]
    unsound = [(number, line) for number, line in seen if not XIDS.get(number, ("", False))[1]]
    if unsound:
        number, line = unsound[-1]
        what = XIDS.get(number, ("see NVIDIA's catalogue", False))[0]
        fix = "reboot (power off for Xid 79); if it comes back: power, cooling, riser, driver, then the board"
        return fail(f"Xid {number}, {what}: {_last([line])}", fix=fix)
    if seen:
        fix = "see `glm5-serve logs` of that time; Xid 13 and 31 on SM100 point at flashinfer_trtllm"
        return warn(f"{len(seen)} Xid lines of applications, the last: {_last([seen[-1][1]])}", fix=fix)
    return ok("no Xid")


def kernel_nvswitch(host: Host, plan: Plan) -> Verdict:
    """The kernel log has no NVSwitch error.

    A fatal SXid takes the fabric down until the GPUs and switches are reset.

    Seen in a record: SXid lines beside Xid 45 and 62.
    """
    lines = [line for line in host.kernel.log.get() if "SXid" in line]
    if lines:
        return fail(
            _last(lines), fix="stop everything, `systemctl restart nvidia-fabricmanager`; reboot if it comes back"
        )
    return ok("no SXid")


def kernel_link_down(host: Host, plan: Plan) -> Verdict:
    """No PCIe link went down by surprise.

    The GPU behind it is gone until the host is powered off and on.

    Reported: rtx6kpro common-issues (uncorrectable status 0x00000020).
    """
    lines = [
        line for line in host.kernel.log.get() if re.search(r"Surprise Link Down|SDES|Link Down.*pcieport", line)
    ]
    if lines:
        fix = "add pcie_aspm=off pcie_port_pm=off to GRUB_CMDLINE_LINUX_DEFAULT, `update-grub`, power off and on"
        return fail(_last(lines), fix=fix)
    return ok("no surprise link down")


def kernel_oom(host: Host, plan: Plan) -> Verdict:
    """The kernel killed nothing for want of memory.

    A rank that was killed so looks like a crash without a reason in the server's log.

    Read: the kernel's messages.
    """
    lines = [
        line
        for line in host.kernel.log.get()
        if re.search(r"Out of memory:|oom-kill:|Memory cgroup out of memory", line)
    ]
    if lines:
        fix = "see `host-memory` and `memory-limit`; fewer loader threads; nothing else beside the server"
        return warn(_last(lines), fix=fix)
    return ok("no OOM kill")


def kernel_peermem(host: Host, plan: Plan) -> Verdict:
    """nvidia_peermem does not fail.

    Only hosts that talk RDMA to others need it; where it fails it fills the log and GPUDirect is off.

    Reported: hosts with "invalid context" lines.
    """
    lines = [line for line in host.kernel.log.get() if "peermem" in line.lower() and "invalid" in line.lower()]
    if lines:
        return warn(_last(lines, 1), fix="`rmmod nvidia_peermem` on a single host; use dmabuf on several")
    return ok("no complaint")


def kernel_iommu_faults(host: Host, plan: Plan) -> Verdict:
    """The IOMMU blocked no device.

    A fault names a GPU whose peer copies went where the IOMMU did not let them.

    Read: the kernel's AMD-Vi and DMAR messages.
    """
    lines = [line for line in host.kernel.log.get() if re.search(r"IO_PAGE_FAULT|DMAR:.*fault", line)]
    if lines:
        return fail(_last(lines), fix="boot with iommu=pt, see `iommu-translation`")
    return ok("no fault")


def kernel_lockdown(host: Host, plan: Plan) -> Verdict:
    """The kernel lets root set PCI registers.

    Under lockdown (Secure Boot) `setpci` is refused: ACS cannot be cleared, unsigned modules do not load.

    Read: kernel_lockdown(7).
    """
    mode = host.kernel.lockdown.get()
    if mode != "none":
        fix = "turn Secure Boot off, or set ACS in the firmware; sign the driver's modules (MOK)"
        return warn(f"/sys/kernel/security/lockdown is {mode}", fix=fix)
    return ok("no lockdown")
