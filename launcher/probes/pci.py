"""The GPUs on the PCI bus, the bridges above them, and the IOMMU: from /sys."""

from __future__ import annotations

import os
import re
from pathlib import Path

from launcher.facts import Fact, Function, Pcie, known, unknown
from launcher.probes import pciconfig
from launcher.probes.files import chosen, missing, names, parsed, text

DEVICES = "sys/bus/pci/devices"
NVIDIA = "0x10de"
GPU_CLASSES, BRIDGE_CLASS = ("0x0300", "0x0302"), "0x0680"
_BDF = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
AS_ROOT = "of configuration space are readable: run as root"


def pcie(root: Path = Path("/")) -> Pcie:
    """The PCI tree around the GPUs below `root`. What cannot be read is an unknown fact that says why."""
    return Pcie(
        functions=_functions(root),
        iommus=names(root, "sys/class/iommu"),
        aspm=parsed(text(root, "sys/module/pcie_aspm/parameters/policy"), chosen),
    )


def _functions(root: Path) -> Fact[tuple[Function, ...]]:
    devices = names(root, DEVICES)
    if not devices.known:
        return unknown(str(devices.unknown))
    kinds = {bdf: kind for bdf in devices.get() if (kind := _kind(root, bdf))}
    above = {bdf: _above(root, bdf) for bdf in kinds}
    bridges = dict.fromkeys(bridge for chain in above.values() for bridge in chain)
    made = [_bridge(root, bdf, above) for bdf in bridges if bdf in devices.get()]
    made += [_function(root, bdf, kind, above[bdf]) for bdf, kind in kinds.items()]
    return known(tuple(made))


def _kind(root: Path, bdf: str) -> str | None:
    if text(root, f"{DEVICES}/{bdf}/vendor").otherwise("") != NVIDIA:
        return None
    kind = text(root, f"{DEVICES}/{bdf}/class").otherwise("")
    if kind.startswith(GPU_CLASSES):
        return "gpu"
    return "nvswitch" if kind.startswith(BRIDGE_CLASS) else None


def _above(root: Path, bdf: str) -> tuple[str, ...]:
    """The bridges above a device: its place in /sys names them, the root port first."""
    place = os.path.realpath(root / DEVICES / bdf)
    return tuple(_BDF.findall(place)[:-1])


def _bridge(root: Path, bdf: str, above: dict[str, tuple[str, ...]]) -> Function:
    chain = next(chain for chain in above.values() if bdf in chain)
    place = chain.index(bdf)
    kind = pciconfig.port(_space(root, bdf).otherwise(b"")) or ("bridge" if place else "root port")
    return _function(root, bdf, kind, chain[:place])


def _function(root: Path, bdf: str, kind: str, above: tuple[str, ...]) -> Function:
    here = f"{DEVICES}/{bdf}"
    space = _space(root, bdf)
    group, group_type = _iommu(root, bdf)
    index, window = _window(root, bdf)
    ids = (text(root, f"{here}/{name}").otherwise("0x????").removeprefix("0x") for name in ("vendor", "device"))
    return Function(
        bdf=bdf,
        kind=kind,
        id=":".join(ids),
        above=above,
        driver=_link(root, f"{here}/driver"),
        present=_present(space),
        iommu_group=group,
        iommu_type=group_type,
        acs=_acs(space),
        speed=parsed(text(root, f"{here}/current_link_speed"), _speed),
        speed_max=parsed(text(root, f"{here}/max_link_speed"), _speed),
        width=parsed(text(root, f"{here}/current_link_width"), int),
        width_max=parsed(text(root, f"{here}/max_link_width"), int),
        bar1=window,
        bar1_max=_largest(space, index),
        numa=parsed(text(root, f"{here}/numa_node"), int),
        power_control=text(root, f"{here}/power/control"),
        aer_fatal=parsed(text(root, f"{here}/aer_dev_fatal"), _total),
        aer_nonfatal=parsed(text(root, f"{here}/aer_dev_nonfatal"), _total),
        aer_correctable=parsed(text(root, f"{here}/aer_dev_correctable"), _total),
    )


def _space(root: Path, bdf: str) -> Fact[bytes]:
    path = f"{DEVICES}/{bdf}/config"
    try:
        with (root / path).open("rb") as file:
            return known(file.read(pciconfig.WHOLE))
    except OSError as error:
        return missing(path, error)


def _present(space: Fact[bytes]) -> Fact[bool]:
    return known(not pciconfig.gone(space.get())) if space.known else unknown(str(space.unknown))


def _acs(space: Fact[bytes]) -> Fact[tuple[str, ...] | None]:
    return known(pciconfig.acs(space.get())) if _whole(space) else unknown(_cut(space))


def _largest(space: Fact[bytes], index: int) -> Fact[int]:
    if not _whole(space):
        return unknown(_cut(space))
    size = pciconfig.largest_bar(space.get(), index)
    return unknown("it has no resizable-BAR capability") if size is None else known(size)


def _whole(space: Fact[bytes]) -> bool:
    return space.known and len(space.get()) > pciconfig.CLASSIC


def _cut(space: Fact[bytes]) -> str:
    return f"only {len(space.get())} bytes {AS_ROOT}" if space.known else str(space.unknown)


def _link(root: Path, path: str) -> Fact[str | None]:
    try:
        return known(os.path.basename(os.readlink(root / path)))  # noqa: PTH115, PTH119  the text, not a path
    except FileNotFoundError:
        return known(None)
    except OSError as error:
        return missing(path, error)


def _iommu(root: Path, bdf: str) -> tuple[Fact[str | None], Fact[str | None]]:
    """The group of a device and its type; None where there is no translation."""
    group = _link(root, f"{DEVICES}/{bdf}/iommu_group")
    if not group.known or group.get() is None:
        return group, group
    kind = text(root, f"sys/kernel/iommu_groups/{group.get()}/type")
    return group, known(kind.get()) if kind.known else unknown(str(kind.unknown))


def _window(root: Path, bdf: str) -> tuple[int, Fact[int]]:
    """Number and size of the largest window: the one through which peers reach the memory."""
    said = text(root, f"{DEVICES}/{bdf}/resource")
    sizes = parsed(said, lambda rows: [_size(row) for row in rows.splitlines()[:6]])
    if not sizes.known:
        return 0, unknown(str(sizes.unknown))
    size = max(sizes.get(), default=0)
    return sizes.get().index(size) if size else 0, known(size)


def _size(row: str) -> int:
    start, end, _ = (int(word, 16) for word in row.split())
    return end - start + 1 if end else 0


def _speed(said: str) -> float:
    return float(said.split()[0])  # "32.0 GT/s PCIe", or "Unknown"


def _total(said: str) -> int:
    return int(re.findall(r"^TOTAL_ERR\w* (\d+)", said, re.MULTILINE)[-1])
