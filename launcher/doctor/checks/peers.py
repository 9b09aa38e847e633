"""Peer-to-peer between GPUs: what the driver says, and what NCCL is told."""

from __future__ import annotations

from launcher.doctor.checks.judging import Verdict, fail, ok, ranks, sample, warn
from launcher.doctor.checks.nccl import effective, on
from launcher.engines.target import which
from launcher.host.facts import Host
from launcher.knowledge import nccl
from launcher.plan.plan import Plan

GROUP = "peer-to-peer"
BRIDGED = 3  # GPUs that an NVLink bridge joins one with, at the most


def p2p_status(host: Host, plan: Plan) -> Verdict:
    """The driver rules out peer-to-peer between no two GPUs.

    Where it says no, NCCL goes through host memory. Where it says yes nothing is proven: only data
    that arrived is.

    Reported: club-3090#873, rtx6kpro#15 (all OK, and it hangs). Source: NCCL's paths.cc asks the
    same question.
    """
    if ranks(host, plan) < 2:
        return ok("one GPU")
    ways = (("read", host.driver.p2p_read), ("write", host.driver.p2p_write))
    pairs = [
        f"{one}->{two} {way} {status}"
        for way, matrix in ways
        for one, row in enumerate(matrix.otherwise(()))
        for two, status in enumerate(row)
        if status not in ("OK", "X")
    ]
    if pairs:
        fix = (
            "CNS, TNS: another slot or firmware setting; DR: remove the registry key; else"
            " NCCL_P2P_DISABLE=1"
        )
        return warn(f"{len(pairs)} of the pairs: {sample(pairs)}", fix=fix)
    for _, matrix in ways:
        matrix.get()
    return ok("ruled out for no pair; whether it works, `glm5-serve doctor --deep` proves")


def p2p_copies(host: Host, plan: Plan) -> Verdict:
    """Copies between GPUs run at the links' speed, where they were measured.

    A pair at half speed is a link or a redirect: all ranks wait for it.

    Reported: 39 to 56 GB/s on healthy hosts of eight RTX PRO 6000 (rtx6kpro). `--deep` measures.
    """
    speeds = {
        f"{one}->{two}": speed
        for one, row in enumerate(host.driver.copies.get())
        for two, speed in enumerate(row)
        if one != two and speed
    }
    if not speeds:
        return ok("none was measured")
    slow = min(speeds, key=lambda pair: speeds[pair])
    told = f"{speeds[slow]:.1f} GB/s ({slow}) to {max(speeds.values()):.1f}"
    products = {which(gpu, {}) for gpu in host.driver.gpus.otherwise(())}
    product = products.pop() if len(products) == 1 else None
    healthy = product.healthy if product else None
    if healthy and speeds[slow] < healthy.copy / 2:
        fix = (
            "see `acs-redirect`, `iommu-translation`, `pcie-width`; then `glm5-serve doctor --deep`"
        )
        return warn(f"{told}; {healthy.told}", fix=fix)
    return ok(told if healthy else f"{told}; nobody told what is healthy on such GPUs")


def nccl_p2p_level(host: Host, plan: Plan) -> Verdict:
    """The P2P level reaches between all GPUs of this host.

    A level nearer than the links cuts the sockets apart in silence: collectives go through host
    memory.

    Source: NCCL 2.30.7, src/graph/paths.cc. Observed: a two-socket topology (PIX, NODE, SYS).
    """
    variables = effective(host)
    if ranks(host, plan) < 2 or on(variables, "NCCL_P2P_DISABLE"):
        return ok("P2P is not asked for")
    links = [link for row in host.driver.topology.get() for link in row if link != "X"]
    asked = nccl.level(variables.get("NCCL_P2P_LEVEL", ""))
    # NCCL goes up to SYS by itself on AMD hosts of at most two GPUs.
    two_amd = (
        host.system.cpu_vendor.otherwise("") == "AuthenticAMD"
        and len(host.driver.topology.get()) <= 2
    )
    level = asked or ("SYS" if two_amd else nccl.DEFAULT_LEVEL)
    cut = [link for link in links if not nccl.reaches(level, link)]
    if cut and _lost_links(host):
        return ok("no level stands in for NVLinks that are down: `nvlink-links`")
    if cut:
        said = (
            f"NCCL_P2P_LEVEL={variables['NCCL_P2P_LEVEL']}"
            if asked
            else f"NCCL's default level {level}"
        )
        kinds = ", ".join(sorted(set(cut)))
        fix = "set NCCL_P2P_LEVEL=SYS, then prove it: `glm5-serve doctor --deep`"
        return warn(
            f"{said} cuts {len(cut) // 2} of {len(links) // 2} pairs ({kinds} in `nvidia-smi topo"
            " -m`)",
            fix=fix,
        )
    return ok(f"{level} reaches {', '.join(sorted(set(links))) or 'nothing to reach'}")


def nvlink_links(host: Host, plan: Plan) -> Verdict:
    """Each GPU behind NVLink's switches has as many links as the others.

    A GPU whose links went down is the one for which all wait, or through which nothing goes.

    Reported: public reports of hosts with a link that flaps, and of a hang that a reset of the
    GPUs ended (vllm#40604). Not about bridges, which join some GPUs and not others.
    """
    if ranks(host, plan) < 2:
        return ok("one GPU")
    if lost := _lost_links(host):
        told = [f"GPU {gpu} has {few or 'none'}" for gpu, few in lost.items()]
        most = max(_links(host))
        fix = (
            "`nvidia-smi nvlink --status` and `journalctl -k` name them; a reset of all GPUs or a"
            " reboot brings some back, else the board is its vendor's matter"
        )
        return fail(f"{sample(told)} of {most} NVLinks", fix=fix)
    most = max(_links(host), default=0)
    return ok(f"{most} each" if most else "no NVLink")


def _links(host: Host) -> list[int]:
    """For each GPU how many NVLinks it has to another one, at the most."""
    return [max(map(_of_path, row), default=0) for row in host.driver.topology.get()]


def _of_path(path: str) -> int:
    """The NVLinks of a path as `nvidia-smi topo -m` writes it: NV18."""
    return int(path[2:]) if path.startswith("NV") and path[2:].isdecimal() else 0


def _lost_links(host: Host) -> dict[int, int]:
    """The GPUs behind NVLink's switches that have fewer links than the others, and how many.

    Switches join each GPU with all: a bridge reaches three others at the most.
    """
    links = _links(host)
    reached = [sum(map(bool, map(_of_path, row))) for row in host.driver.topology.get()]
    if max(reached, default=0) <= BRIDGED:
        return {}
    return {gpu: few for gpu, few in enumerate(links) if few < max(links)}


def nccl_turin(host: Host, plan: Plan) -> Verdict:
    """On AMD Turin NCCL has enough channels.

    NCCL takes that CPU's fabric for a slow one: all-reduce ran at 22 GB/s instead of 38 to 41.

    Reported: rtx6kpro nccl-tuning. Source: AMD_BW in NCCL 2.30.7, topo.h.
    """
    if (
        host.system.cpu_vendor.get() != "AuthenticAMD"
        or host.system.cpu_family.get() != 26
        or ranks(host, plan) < 4
    ):
        return ok("not a multi-GPU Turin host")
    variables = effective(host)
    if nccl.number(variables.get("NCCL_MIN_NCHANNELS", "")) >= 8 or "NCCL_GRAPH_FILE" in variables:
        return ok(
            f"NCCL_MIN_NCHANNELS={variables.get('NCCL_MIN_NCHANNELS', 'left to NCCL_GRAPH_FILE')}"
        )
    return warn(
        "AMD family 26 (Turin) and NCCL_MIN_NCHANNELS is not set", fix="set NCCL_MIN_NCHANNELS=8"
    )
