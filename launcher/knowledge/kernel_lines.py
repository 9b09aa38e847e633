"""Which lines of the kernel's log matter: for who watches a server, who knows the kernel's word,
and who keeps it.

A failure whose origin is the kernel must pass all of them, or it would work in one command alone;
one that is no evidence against a running server (`watched = false`) all but the watch's.
"""

from __future__ import annotations

import re

MOST_LINES = 400  # that are kept of them, the last ones
_DRIVER = r"NVRM: |nvidia-nvswitch\d+: "
_MEMORY = r"(?:Memory cgroup o|O)ut of memory: Kill|oom-kill:|oom_reaper: "
_CRASH = r"\[\d+\]: segfault at "
# What of the host's own hardware, disks and kernel may have ended a server.
_HOST = (
    r"pcieport |pciehp |\bAER: |AMD-Vi: |DMAR: |arm-smmu|EDAC |\[Hardware Error\]"
    r"|Memory failure: 0x|Kernel panic|BUG: |Oops: |error: Oops|blocked for more than|rcu: INFO"
    r"|NMI watchdog: |nvme "
    r"|(?:I/O|medium|target|allocation) error|EXT4-fs |XFS \(|BTRFS error|md/raid|nfs: server"
    r"|LustreError: |ceph: |CIFS: |odule .{0,60}rejected|traps: "
)
_PCI = r"[\da-f]{4}:[\da-f]{2}:[\da-f.]{2,4}: "
_HOST_BEGINS = (
    rf"(?:pcieport|pciehp|nvidia) {_PCI}|AMD-Vi: |DMAR: |EDAC \w{{1,10}}: |mce: \[Hardware Error\]"
    r"|Memory failure: 0x|Kernel panic - |(?:watchdog: )?BUG: "
    r"|INFO: task .{1,60}:\d+ blocked for more|nvme nvme\d+: "
    r"|(?:blk_update_request: )?I/O error, dev |Buffer I/O error on dev |EXT4-fs error|traps: "
)
_OURS = r".{1,200} in lib(?:nccl|cuda|torch)"  # a crash elsewhere is no news of a server

# What only the kernel begins a line with; behind a quotation mark it is somebody's text.
BEGINS = re.compile(rf"{_DRIVER}|{_MEMORY}|{_HOST_BEGINS}|[^\[\]\"']{{1,15}}{_CRASH}")

# What the watch over the GPUs passes on, from the first word on: a line may quote what a device
# calls itself.
DEADLY = re.compile(rf"{_DRIVER}|{_MEMORY}|[^\[\]]{{1,15}}{_CRASH}{_OURS}")

# What checks, or a person who reads a report, want to see, wherever it stands.
WORTH = re.compile(
    rf"{_MEMORY}|{_CRASH}|{_HOST}|NVRM|nvidia|SXid|Surprise Link|AMD-Vi|DMAR|IO_PAGE_FAULT|iommu"
    r"|Out of memory|mce:|\bACS\b|peermem",
    re.IGNORECASE,
)

# By what a text is known for a kernel's log, behind a stamp: also what every boot says.
OF_A_LOG = rf"{_DRIVER}|{_MEMORY}|{_CRASH}|{_HOST}|Linux version|ommand line:|iommu|nvidia[: ]"
