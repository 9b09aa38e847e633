"""The IOMMU and access control between GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.doctor.checks.judging import (
    Verdict,
    above_gpus,
    fail,
    failing,
    functions,
    ok,
    sample,
    warn,
)
from launcher.host.facts import Host
from launcher.knowledge.iommu import CONTRARY, ignored, parameters
from launcher.plan.plan import Plan

GROUP = "IOMMU and ACS"
REDIRECTS = {"ReqRedir", "CmpltRedir"}


def iommu_translation(host: Host, plan: Plan) -> Verdict:
    """No GPU sits behind IOMMU translation.

    NCCL says "Init COMPLETE" and the first all-reduce hangs at 100 % load: peer writes go nowhere.

    Reported: nccl#1999, vllm#51513, rtx6kpro#15; `iommu=pt` and `iommu=off` both cured it. Run
    here: on generated trees.
    """
    if host.pcie.iommus.known and not host.pcie.iommus.get():
        return ok("/sys/class/iommu is empty: translation is off")
    behind = failing(
        functions(host, "gpu"),
        lambda gpu: gpu.iommu_type,
        lambda kind: kind not in (None, "identity"),
    )
    if behind:
        seen = "; ".join(
            f"{gpu.bdf}: group {gpu.iommu_group.otherwise('?')} is of type {kind}"
            for gpu, kind in behind[:3]
        )
        more = f" and {len(behind) - 3} more" if len(behind) > 3 else ""
        turned_on = _contrary(host)
        because = f", and /proc/cmdline has {turned_on}" if turned_on else ""
        do = f"replace {turned_on} with iommu=pt" if turned_on else "add iommu=pt to"
        where = "in" if turned_on else "GRUB_CMDLINE_LINUX_DEFAULT in"
        fix = f"{do} {where} /etc/default/grub, `update-grub`, reboot"
        return fail(f"{seen}{more} (/sys/kernel/iommu_groups/*/type){because}", fix=fix)
    kinds = {gpu.iommu_type.get() or "no group" for gpu in functions(host, "gpu")}
    return ok(f"GPUs' groups: {', '.join(sorted(kinds)) or 'none'}")


def _contrary(host: Host) -> str:
    """The word of the kernel's command line that asks for translation, if any."""
    for word in parameters(host.kernel.cmdline.otherwise("")).get("iommu", ()):
        if word in CONTRARY:
            return f"iommu={word}"
    return ""


def iommu_parameters(host: Host, plan: Plan) -> Verdict:
    """The kernel understands every IOMMU parameter it was given.

    A value that it does not know is ignored, and translation stays what it was. Only `iommu=` has
    `pt`; an AMD host needs no `on`, and `strict` is `iommu.strict=1`.

    Source: the kernel's admin guide, kernel-parameters. The model card writes `amd_iommu=pt`.
    """
    odd = [
        f"{name}={word}"
        for name, values in parameters(host.kernel.cmdline.get()).items()
        for word in values
        if ignored(name, word)
    ]
    if odd:
        return warn(
            f"/proc/cmdline has {', '.join(odd)}, which the kernel ignores",
            fix=f"replace {odd[0]} with iommu=pt in /etc/default/grub, `update-grub`, reboot",
        )
    return ok("none that it would ignore")


def acs_redirect(host: Host, plan: Plan) -> Verdict:
    """No bridge above a GPU sends peer traffic up to the root complex.

    ACS request or completion redirect makes P2P go through the CPU: half speed, or a deadlock in
    the first all-reduce.

    Reported: nccl#2079, rtx6kpro asus-esc8000a. Observed: 24 bridges with SrcValid alone,
    healthy.
    """
    if unnamed := host.pcie.acs.otherwise(()):
        return _unnamed(unnamed)
    above = above_gpus(host)
    bad = failing(above, lambda bridge: bridge.acs, lambda bits: REDIRECTS & set(bits or ()))
    if bad:
        first, bits = bad[0]
        names = sample([f"{bridge.bdf} ({bridge.kind})" for bridge, _ in bad])
        fix = (
            "`glm5-serve doctor --fix` prints a unit that clears the bits each boot: "
            + f"`setpci -s {first.bdf} ECAP_ACS+6.w=0000`"
        )
        return fail(
            f"{names}: {'+ '.join(sorted(REDIRECTS & set(bits or ())))}+ in ACSCtl", fix=fix
        )
    return ok(f"{len(above)} bridges above GPUs, no redirect bit set")


def _unnamed(lines: Sequence[Sequence[str]]) -> Verdict:
    """Of `lspci -vvv | grep ACSCtl`: nobody knows which bridges stand above GPUs."""
    bad = [bits for bits in lines if REDIRECTS & set(bits)]
    if bad:
        fix = "`sudo lspci -vvv`, all of it, tells whether they are above GPUs"
        words = "+ ".join(sorted(REDIRECTS & {bit for bits in bad for bit in bits}))
        return warn(f"{words}+ in {len(bad)} of {len(lines)} ACSCtl lines", fix=fix)
    return ok(f"{len(lines)} ACSCtl lines, no redirect bit set")


def acs_override(host: Host, plan: Plan) -> Verdict:
    """The kernel is not told to pretend about ACS.

    pcie_acs_override splits IOMMU groups that hardware does not separate; it is for passing devices
    to virtual machines.

    Source: the out-of-tree patch behind it. Reported: rtx6kpro wiki.
    """
    if "pcie_acs_override" in parameters(host.kernel.cmdline.get()):
        fix = "remove it from /etc/default/grub, `update-grub`, reboot"
        return warn("/proc/cmdline has pcie_acs_override", fix=fix)
    return ok("no pcie_acs_override on the command line")
