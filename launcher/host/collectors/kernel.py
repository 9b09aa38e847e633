"""The kernel: its command line, its log, its view of the NVIDIA modules."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from launcher.host.collectors.files import parsed, text
from launcher.host.facts import Driver, Fact, Kernel, known, unknown
from launcher.host.sysfs import chosen
from launcher.knowledge.kernel_lines import MOST_LINES, WORTH


def kernel(root: Path = Path("/")) -> Kernel:
    """What the kernel says of itself below `root`."""
    modules = parsed(
        text(root, "proc/modules"),
        lambda said: tuple(line.split()[0] for line in said.splitlines()),
    )
    return Kernel(
        release=text(root, "proc/sys/kernel/osrelease"),
        cmdline=text(root, "proc/cmdline"),
        log=kernel_log() if root == Path("/") else unknown("a recorded tree has no kernel log"),
        modules=modules,
        lockdown=_lockdown(root),
        core_pattern=text(root, "proc/sys/kernel/core_pattern"),
    )


def _lockdown(root: Path) -> Fact[str]:
    said = text(root, "sys/kernel/security/lockdown")
    if (
        not said.known
        and (root / "sys/kernel").is_dir()
        and not (root / "sys/kernel/security/lockdown").exists()
    ):
        return known("none")  # a kernel without the feature locks nothing
    return parsed(said, chosen)


def kernel_log() -> Fact[tuple[str, ...]]:
    """The kernel log's lines that are worth keeping, from /dev/kmsg, which needs no other
    program.
    """
    try:
        device = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return unknown(
            f"/dev/kmsg: {(error.strerror or str(error)).lower()}; run as root to see the"
            " kernel log"
        )
    try:
        return known(tuple(_worth(device))[-MOST_LINES:])
    finally:
        os.close(device)


def _worth(device: int) -> list[str]:
    found: list[str] = []
    while True:
        try:
            record = os.read(device, 8192)
        except (
            # it was overwritten while being read: the next read goes on behind the gap
            BrokenPipeError
        ):
            continue
        except OSError:  # EAGAIN: the end; anything else is an end, too
            return found
        if not record:
            return found
        message = record.decode(errors="replace").partition(";")[2].partition("\n")[0]
        if WORTH.search(message):
            found.append(message)


def modules_of_driver(root: Path, driver: Driver) -> Driver:
    """The driver with what its kernel modules say below `root`."""
    version = text(root, "proc/driver/nvidia/version")
    return replace(
        driver,
        module=parsed(
            version, lambda said: re.findall(r"Kernel Module\s+(?:for \S+\s+)?([\d.]+)", said)[0]
        ),
        flavour=parsed(
            version, lambda said: "open" if "Open Kernel Module" in said else "proprietary"
        ),
        params=parsed(text(root, "proc/driver/nvidia/params"), _params),
        hmm_disabled=parsed(
            text(root, "sys/module/nvidia_uvm/parameters/uvm_disable_hmm"), lambda said: said == "Y"
        ),
    )


def _params(said: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in said.splitlines())
    return {name.strip(): value.strip().strip('"') for name, _, value in pairs}
