"""What a server wants of the host that it runs on: the same for who looks at the host and for who
reads what limits it.
"""

from __future__ import annotations

SHM = 8 << 30  # bytes for eight ranks; NCCL and SGLang's broadcast queues take it
SHM_A_RANK = 1 << 30
OPEN_FILES = 65535  # what engines raise their soft limit to (set_ulimit)
LOCKED = 1 << 30  # bytes that may be locked, for pinned buffers and RDMA
# bytes of host memory a rank takes beside the weights it maps (CUDA context, pinned buffers)
PER_RANK = 4 << 30
LOAD = 300  # seconds; a load of GLM-5 takes 5 to 30 minutes (reported)


def shm(ranks: int) -> int:
    """Bytes of /dev/shm for so many ranks."""
    return min(SHM, ranks * SHM_A_RANK)
