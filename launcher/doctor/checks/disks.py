"""Disks and file systems."""

from __future__ import annotations

from launcher.doctor.checks.judging import Verdict, fail, gib, ok, sample, warn
from launcher.host.facts import Host, Mount
from launcher.plan.plan import Plan

GROUP = "disks"
# bytes: compiled kernels, logs, sockets
WANTED = {
    "cache": 10 << 30,
    "state": 1 << 30,
    "tmp": 1 << 30,
}
STRIPES_WANTED = 8192  # pages; the default is 256


def _mounts(host: Host, *uses: str) -> list[tuple[str, Mount]]:
    return [(use, mount) for use, mount in host.system.mounts.get().items() if use in uses]


def disk_space(host: Host, plan: Plan) -> Verdict:
    """There is room for compiled kernels, logs and temporary files.

    A full disk stops the first start in the middle of compiling, and later ones from writing their
    state.

    Tested: on values. Reported: JIT caches of several GB.
    """
    mounts = _mounts(host, *WANTED)
    tight = [(use, mount) for use, mount in mounts if mount.free.get() < WANTED[use]]
    if not tight:
        return ok(", ".join(f"{use} {gib(mount.free.get())}" for use, mount in mounts))
    seen = "; ".join(
        f"{mount.path} ({use}): {gib(mount.free.get())} free, {gib(WANTED[use])} wanted"
        for use, mount in tight
    )
    fix = "free space there (old checkpoints, core files, ~/.cache), or move it"
    full = any(mount.free.get() < WANTED[use] / 10 for use, mount in tight)
    return fail(seen, fix=fix) if full else warn(seen, fix=fix)


def disk_kind(host: Host, plan: Plan) -> Verdict:
    """The checkpoint does not lie on a rotating disk.

    At 200 MB/s a checkpoint of 410 GB takes 34 minutes to load, at each start.

    Reported: 1206 s from a slow disk against 36 s from memory.
    """
    slow = [mount.path for _, mount in _mounts(host, "model") if mount.rotating.get()]
    if slow:
        return warn(f"{sample(slow)} is on a rotating disk", fix="copy the checkpoint to NVMe")
    return ok("not rotating")


def disk_network(host: Host, plan: Plan) -> Verdict:
    """The checkpoint does not lie on a network file system.

    Eight ranks read it all at once: minutes to hours, and a hang when the server goes away.

    Source: SGLang has --weight-loader-prefetch-checkpoints (>= 0.5.11) for such.
    """
    network = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs"}
    far = [
        f"{mount.path}: {kind}"
        for _, mount in _mounts(host, "model")
        if (kind := mount.filesystem.get()) in network
    ]
    if far:
        fix = (
            "copy the checkpoint to a local disk, or set flags.weight-loader-prefetch-checkpoints ="
            " true"
        )
        return warn(sample(far), fix=fix)
    return ok("local")


def disk_zfs(host: Host, plan: Plan) -> Verdict:
    """Neither the root nor the checkpoint lies on ZFS.

    Hosts of this kind froze while loading from it; its cache also competes with the page cache.

    Reported: rtx6kpro common-issues.
    """
    seen = [
        mount.path
        for _, mount in _mounts(host, "root", "model", "state", "cache")
        if mount.filesystem.get() == "zfs"
    ]
    if seen:
        return warn(
            f"on ZFS: {sample(seen)}", fix="keep the checkpoint on ext4 or XFS; cap zfs_arc_max"
        )
    return ok("no ZFS")


def disk_raid(host: Host, plan: Plan) -> Verdict:
    """Software RAID has a stripe cache that fits.

    A RAID5 with the default of 256 pages queued 2200 requests, 645 ms each.

    Reported: rtx6kpro io-tuning (2026-04).
    """
    small = [
        f"{raid.name} ({raid.level}): stripe_cache_size {raid.stripe_cache}"
        for raid in host.system.raids.get()
        if raid.stripe_cache is not None and raid.stripe_cache < STRIPES_WANTED
    ]
    if small:
        name = small[0].split()[0]
        fix = f"`echo 32768 > /sys/block/{name}/md/stripe_cache_size`, at each boot"
        return warn("; ".join(small), fix=fix)
    return ok(f"{len(host.system.raids.get())} arrays, none with a small stripe cache")
