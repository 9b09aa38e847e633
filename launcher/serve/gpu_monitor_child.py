"""What the GPUs do while a model is served: a program of its own, because a wedged driver never
returns.

Lines of JSON on stdout, until stdin or stdout is closed:

    {"gpus": [as statedir/readings.GpuReading has them, ...],
     "poked": N}                            how many bytes had come on stdin before
    {"xid": N, "gpu": index, "bdf": ...}    from NVML's events
    {"kernel": line}                        of /dev/kmsg, where readable
    {"end": why}                            NVML is not to be had

Bytes and watts; what a board does not tell is null. Each byte on stdin asks for the first kind at
once.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pynvml as nvml

from launcher.host.collectors import nvml_questions as questions
from launcher.knowledge.kernel_lines import DEADLY

EVERY = 5.0  # seconds between samples
LINKS = ("link_gen", "link_gen_max", "link_width", "link_width_max")
WAIT = 250  # milliseconds that one wait for an event lasts
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


def say(**line: Any) -> None:
    """One line. A closed stdout ends the program."""
    os.write(1, json.dumps(line).encode() + b"\n")


def ask(question: Callable[[], Any]) -> Any:
    """The answer, or None where the board has none."""
    try:
        return question()
    except nvml.NVMLError:
        return None


def sample(index: int, handle: Any) -> dict[str, Any]:
    """What one GPU does now."""
    memory = ask(partial(questions.memory_of, handle))
    use = ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    power = ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    uncorrected = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    return {
        "index": index,
        "bdf": bdf(handle),
        "used": memory and int(memory.used),
        "total": memory and int(memory.total),
        "utilization": use and int(use.gpu),
        "power": power and power / 1000,
        "temperature": ask(partial(questions.temperature_of, handle)),
        "ecc": ask(lambda: int(nvml.nvmlDeviceGetTotalEccErrors(handle, *uncorrected))),
        "pids": [
            int(p.pid) for p in ask(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
        ],
        "name": ask(lambda: str(nvml.nvmlDeviceGetName(handle))),
        "limit": ask(partial(questions.power_limit_of, handle)),
        "clock": ask(partial(questions.clock_of, handle)),
        "clock_max": ask(partial(questions.clock_max_of, handle)),
        "slowed": ask(partial(questions.clock_reasons_of, handle)) or [],
    } | {
        name: ask(partial(question, handle))
        for name, _, question in questions.LINK
        if name in LINKS
    }


def bdf(handle: Any) -> str | None:
    """Its PCI address as the kernel writes it."""
    address = ask(partial(questions.bdf_of, handle))
    return address and str(address)


def events(handles: list[Any]) -> Any:
    """A set of the events that each GPU can tell of, or None."""
    wanted = nvml.nvmlEventTypeXidCriticalError | nvml.nvmlEventTypeDoubleBitEccError
    made = ask(nvml.nvmlEventSetCreate)
    if made is None:
        return None
    for handle in handles:
        can = ask(partial(nvml.nvmlDeviceGetSupportedEventTypes, handle)) or 0
        if can & wanted:
            ask(partial(nvml.nvmlDeviceRegisterEvents, handle, can & wanted, made))
    return made


def kernel_log() -> int | None:
    """The kernel's log from now on, where this user may read it."""
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(log, 0, os.SEEK_END)
    except OSError:
        return None
    return log


def kernels_line(record: str) -> str | None:
    """What the kernel itself says in a record of /dev/kmsg, if it is about GPUs or memory.

    "priority,number,time,flags;text": whoever may write there is told apart by the facility in the
    priority.
    """
    head, _, text = record.partition(";")
    priority = head.partition(",")[0]
    if not priority.isdecimal() or int(priority) >> 3:
        return None
    line = text.partition("\n")[0]
    return line if DEADLY.match(line) else None


def read_kernel(log: int) -> None:
    """Pass on the lines that are about GPUs and memory."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        while record := os.read(log, 8192).decode(errors="replace"):
            if line := kernels_line(record):
                say(kernel=line)


def wait(made: Any, addresses: dict[str, int]) -> None:
    """Wait a moment for an event, and tell it."""
    try:
        event = nvml.nvmlEventSetWait_v2(made, WAIT)
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_TIMEOUT:
            time.sleep(WAIT / 1000)
        return
    address = bdf(event.device)
    double = event.eventType == nvml.nvmlEventTypeDoubleBitEccError
    say(xid=48 if double else int(event.eventData), gpu=addresses.get(address or ""), bdf=address)


def pokes() -> int | None:
    """How often a sample was asked for since; None once there is nobody any more."""
    try:
        return len(os.read(0, 64)) or None
    except BlockingIOError:
        return 0


def main() -> None:
    """Watch until nobody listens."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NAME, b"glm5-gpuwatch", 0, 0, 0)
    os.set_blocking(0, False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when it ends
    try:
        nvml.nvmlInit()
        handles = [
            nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())
        ]
    except nvml.NVMLError as error:
        return say(end=str(error))
    addresses = {bdf(handle) or "": index for index, handle in enumerate(handles)}
    made, log, due, poked = events(handles), kernel_log(), 0.0, 0
    while (asked := pokes()) is not None:
        poked += asked
        if asked or time.monotonic() >= due:
            due = time.monotonic() + EVERY
            say(gpus=[sample(index, handle) for index, handle in enumerate(handles)], poked=poked)
        if made is None:
            time.sleep(WAIT / 1000)
        else:
            wait(made, addresses)
        if log is not None:
            read_kernel(log)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(0)
