"""Which lines of the kernel's log matter: for who watches a server, who knows the kernel's word,
and who keeps it.

A signature whose origin is the kernel must pass all of them, or it would work in one command alone.
"""

from __future__ import annotations

import re

_DRIVER = r"NVRM: |nvidia-nvswitch\d+: "
_MEMORY = r"(?:Memory cgroup o|O)ut of memory: Kill|oom-kill:|oom_reaper: "
_CRASH = r"\[\d+\]: segfault at "
_OURS = r".{1,200} in lib(?:nccl|cuda|torch)"  # a crash elsewhere is no news of a server

# What only the kernel begins a line with; behind a quotation mark it is somebody's text.
BEGINS = re.compile(rf"{_DRIVER}|{_MEMORY}|[^\[\]\"']{{1,15}}{_CRASH}")

# What the watch over the GPUs passes on, from the first word on: a line may quote what a device
# calls itself.
DEADLY = re.compile(rf"{_DRIVER}|{_MEMORY}|[^\[\]]{{1,15}}{_CRASH}{_OURS}")

# What checks, or a person who reads a report, want to see, wherever it stands.
WORTH = re.compile(
    rf"{_MEMORY}|{_CRASH}{_OURS}|NVRM|nvidia|SXid|pcieport|AER:|Surprise"
    r" Link|AMD-Vi|DMAR|IO_PAGE_FAULT"
    r"|iommu|Out of memory|mce:|\bACS\b|nvme\d+: (I/O|timeout)|peermem",
    re.IGNORECASE,
)

# By what a text is known for a kernel's log, behind a stamp: also what every boot says.
OF_A_LOG = rf"{_DRIVER}|{_MEMORY}|{_CRASH}|Linux version|ommand line:|iommu|pcieport"
