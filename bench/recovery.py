"""From a fault to serving again: glm5-serve, systemd with Restart=always, and supervisord over the
same command.

The real SGLang or vLLM on the CPU (`make engine`), one keeper at a time. Two faults: a rank is
killed, a rank is stopped (SIGSTOP: it lives, and does nothing). Three moments after each: the last
process of the old server is gone, the new one is launched, and a token comes out again. A start
takes a quarter of a minute here and minutes with real weights, for every keeper the same: the
launch is the keeper's own part, less what the kernel takes to free the old processes' memory. Aim:
ours within 0.2 s of a death; its policy has no pause here. Only ours is expected to find a hang;
the others are watched for HANG seconds.

usage: [ENGINE=vllm] bench/recovery.py [KILLS [HANG]]     root is needed for systemd
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from keepers import Keeper, Ours, Supervisord, Systemd

Moments = tuple[float, float, float]  # seconds from the fault: all gone, launch, token
OURS: dict[str, Moments] = {}  # by fault; ours is measured first


def measure(
    keeper: Keeper, fault: Callable[[psutil.Process], None], within: float
) -> Moments | None:
    """Seconds from the fault until all of the old server is gone, the next one is launched, and its
    first token is there; None if these do not come.
    """
    old, rank = keeper.server(), keeper.rank()
    every = [old, *old.children(recursive=True)] if old else []
    booted, began = time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
    fault(rank)
    alive = psutil.wait_procs(every, within)[1]
    gone = time.monotonic() - began
    served = keeper.wait(within)
    new = keeper.server()
    if alive or served is None or new is None or new == old:
        return None
    return gone, launched(new) - booted, served - began


def launched(process: psutil.Process) -> float:
    """When it was, in seconds since boot, to a hundredth."""
    ticks = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def told(keeper: str, fault: str, figures: list[Moments | None], within: float) -> None:
    if None in figures:
        print(f"{keeper:14}{fault:14}{f'not within {within:g} s':>22}", flush=True)
        return
    gone, launch, token = (statistics.median(column) for column in zip(*figures, strict=True))  # type: ignore[arg-type]
    _, first, served = OURS.setdefault(fault, (gone, launch, token))
    ratios = f"{launch / first:9.1f}x{token / served:9.1f}x"
    print(
        f"{keeper:14}{fault:14}{gone:11.2f}{launch:11.2f}{token:11.2f}{ratios}   of {len(figures)}",
        flush=True,
    )


def main() -> None:
    kills, hang = (
        int(sys.argv[1]) if len(sys.argv) > 1 else 3,
        float(sys.argv[2]) if len(sys.argv) > 2 else 180.0,
    )
    print(
        f"{'seconds to, and times ours':28}{'all gone':>11}{'launch':>11}{'token':>11}{'launch':>10}{'token':>10}  "
        " median"
    )
    for kind in (Ours, Systemd, Supervisord):
        with tempfile.TemporaryDirectory() as folder, kind(Path(folder)).running() as keeper:
            deaths = []
            for _ in range(kills):
                deaths.append(measure(keeper, psutil.Process.kill, 120))
                time.sleep(5)
            told(keeper.name, "rank killed", deaths, 120)
            told(keeper.name, "rank stopped", [measure(keeper, psutil.Process.suspend, hang)], hang)


if __name__ == "__main__":
    main()
