"""The GPUs while a model is served: a child watches them (`probes/gpu_watch.py`), this takes in
what it tells.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher import nesting
from launcher.statedir.readings import GpuReading
from launcher.statedir.schema import each, optional, table, text, whole

PIDS = Path("/proc/self/ns/pid")
HOSTS_PIDS = "pid:[4026531836]"  # the first namespace (linux/proc_ns.h)
ROOM = 1 << 30  # bytes a GPU may hold more than before, and its memory still counts as given back


@dataclass(frozen=True)
class GpuNews:
    """What the child told: a fault that NVML tells of, a line of the kernel's, or its own end."""

    xid: int | None = None
    gpu: int | None = None
    bdf: str | None = None
    kernel: str | None = None
    end: str | None = None

    @property
    def line(self) -> str:
        """It as the kernel writes it, so that one table of failures judges both."""
        if self.kernel is not None:
            return self.kernel
        return f"NVRM: Xid (PCI:{self.bdf}): {self.xid}, as NVML tells it of GPU {self.gpu}"

    @classmethod
    def from_json(cls, data: object) -> GpuNews:
        """What a line of the child says. Raises ValueError."""
        said = table(data)
        return cls(
            xid=optional(whole, said.get("xid")),
            gpu=optional(whole, said.get("gpu")),
            bdf=optional(text, said.get("bdf")),
            kernel=optional(text, said.get("kernel")),
            end=optional(text, said.get("end")),
        )


class GpuWatch:
    """The child and the last that it told. It costs nothing when there are no GPUs to watch."""

    def __init__(self) -> None:
        self.gpus: tuple[GpuReading, ...] = ()
        self.before: dict[str | None, float] | None = (
            None  # bytes in use on each GPU when nothing was launched yet
        )
        # how often a sample was asked for, and how often before the last one
        self._poked, self._answered = (
            0,
            0,
        )
        self._rest = b""
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "launcher.serve.gpu_monitor_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._child.stdin
        assert self._child.stdout
        self._input, self.output = self._child.stdin.fileno(), self._child.stdout.fileno()
        os.set_blocking(self._input, False)
        os.set_blocking(self.output, False)

    @property
    def pid(self) -> int:
        """The child's."""
        return self._child.pid

    def hear(self) -> Iterator[GpuNews]:
        """What it told since: faults and kernel lines; samples are taken in.

        Raises EOFError when it is gone.
        """
        try:
            piece = os.read(self.output, 1 << 16)
        except BlockingIOError:
            return
        if not piece:
            raise EOFError
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                told = table(nesting.of_json(line))
                if "gpus" in told:
                    self.gpus = each(GpuReading.from_json, told["gpus"])
                    self._answered = whole(told.get("poked"))
                else:
                    yield GpuNews.from_json(told)

    def poke(self) -> None:
        """Ask for a sample at once."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self._poked += os.write(self._input, b".")

    @property
    def has_answered(self) -> bool:
        """Whether the last sample is younger than the last poke."""
        return self._answered >= self._poked

    def remember(self) -> None:
        """Take the memory that is in use now for what others hold."""
        if self.gpus:
            self.before = {gpu.bdf: gpu.used or 0 for gpu in self.gpus}

    def still_held(self) -> str | None:
        """The GPU whose memory is not back yet, in words; by a sample that is younger than the last
        poke. One that somebody else computes on, a replica for example, is not waited for.
        """
        if not self.has_answered:
            return "the driver has not said how much GPU memory is in use"
        for gpu in self.gpus if self.before is not None else ():
            more = (gpu.used or 0) - self.before.get(gpu.bdf, 0) if self.before else 0
            if more > ROOM and not any(Path(f"/proc/{pid}").exists() for pid in gpu.pids):
                return f"GPU {gpu.index} still holds {more / 2**30:.1f} GiB"
        return None

    def in_words(self) -> str | None:
        """What the GPUs do: kernels that only spin use them fully, at a small part of their
        power.
        """
        busy = [gpu.utilization for gpu in self.gpus if gpu.utilization is not None]
        power = [gpu.power for gpu in self.gpus if gpu.power is not None]
        used = f"GPUs {min(busy)} to {max(busy)} % busy" if busy else None
        drawn = f"{min(power):.0f} to {max(power):.0f} W each" if power else None
        return " at ".join(part for part in (used, drawn) if part) or None

    def is_ours(self, bdf: str | None, members: set[int], wanted: int) -> bool:
        """Whether a GPU serves this model: one of its processes computes there, or the model takes
        them all.
        """
        if wanted >= len(self.gpus):
            return True
        return any(gpu.bdf == bdf and members & set(gpu.pids) for gpu in self.gpus)

    def close(self) -> None:
        """Let the child go, without waiting for one that the driver holds."""
        self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            assert pipe
            pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1)


def address_in(line: str) -> str | None:
    """The GPU that a kernel line is about: "Xid (PCI:0000:61:00): 79" leaves the function out."""
    found = re.match(
        r"(?:NVRM|nvidia-nvswitch\d+): .{0,80}?PCI:([0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2})", line
    )
    return f"{found[1]}.0" if found else None


def pid_in(line: str) -> int | None:
    """The process that the kernel killed for memory; None where the line tells of none, or of none
    that we know.

    In a container the kernel's pids are the host's. The name of what it killed is anybody's: it
    ends before the last pid of such a line, or begins after the first one.
    """
    killed = (
        r"(?:Memory cgroup o|O)ut of memory: Kill(?:ed)? process (\d+)|oom_reaper: reaped process"
        r" (\d+)"
    )
    found = re.match(killed + r"|oom-kill:.*,pid=(\d+),uid=\d+$", line)
    return (
        int(found[1] or found[2] or found[3])
        if found and str(PIDS.readlink()) == HOSTS_PIDS
        else None
    )


def fatal(line: str) -> str | None:
    """What no restart fixes, in words, by a line of the kernel or NVML; None for one that is no
    such thing.
    """
    from launcher.diagnose.diagnosis import diagnose

    found = diagnose([], [line])
    return f"{found.what}: {found.fix}" if found.is_known and found.then == "reboot" else None
