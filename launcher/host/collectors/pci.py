"""The GPUs on the PCI bus, the bridges above them, and the IOMMU: from /sys."""

from __future__ import annotations

import os
import re
from pathlib import Path

from launcher.host.collectors import pciconfig
from launcher.host.collectors.files import missing, names, parsed, text
from launcher.host.facts import Fact, Function, Pcie, known, unknown
from launcher.host.sysfs import chosen

DEVICES = "sys/bus/pci/devices"
NVIDIA = "0x10de"
GPU_CLASSES, BRIDGE_CLASS = ("0x0300", "0x0302"), "0x0680"
GROUPS = "sys/kernel/iommu_groups"
LANES = (0, 1, 2, 4, 8, 12, 16, 32)  # 0: the link is down
NO_GPU: Fact[int] = unknown("it is no GPU")
# the kernel's IORESOURCE_UNSET; IORESOURCE_MEM_64 and IORESOURCE_PREFETCH
UNSET, WIDE = (
    0x20000000,
    0x102000,
)
_BDF = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def pcie(root: Path = Path("/")) -> Pcie:
    """The PCI tree around the GPUs below `root`.

    What cannot be read is an unknown fact that says why.
    """
    return Pcie(
        functions=_functions(root),
        iommus=names(root, "sys/class/iommu"),
        aspm=parsed(text(root, "sys/module/pcie_aspm/parameters/policy"), chosen),
    )


def _functions(root: Path) -> Fact[tuple[Function, ...]]:
    devices = names(root, DEVICES)
    if not devices.known:
        return unknown(str(devices.unknown))
    said = {bdf: _kind(root, bdf) for bdf in devices.get()}
    kinds = {bdf: kind for bdf, fact in said.items() if (kind := fact.otherwise(None))}
    if not kinds and (why := next((fact.unknown for fact in said.values() if fact.unknown), None)):
        return unknown(why)
    above = {bdf: _above(root, bdf) for bdf in kinds}
    bridges = dict.fromkeys(bridge for chain in above.values() for bridge in chain)
    made = [_bridge(root, bdf, above) for bdf in bridges if bdf in devices.get()]
    made += [_function(root, bdf, kind, above[bdf]) for bdf, kind in kinds.items()]
    return known(tuple(made))


def _kind(root: Path, bdf: str) -> Fact[str | None]:
    vendor = text(root, f"{DEVICES}/{bdf}/vendor")
    if vendor.known and vendor.get() != NVIDIA:
        return known(None)
    return parsed(text(root, f"{DEVICES}/{bdf}/class") if vendor.known else vendor, _class)


def _class(said: str) -> str | None:
    if said.startswith(GPU_CLASSES):
        return "gpu"
    return "nvswitch" if said.startswith(BRIDGE_CLASS) else None


def _above(root: Path, bdf: str) -> tuple[str, ...]:
    """The bridges above a device: its place in /sys names them, the root port first."""
    place = os.path.relpath(os.path.realpath(root / DEVICES / bdf), os.path.realpath(root))
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
    window, largest = _windows(root, bdf, space) if kind == "gpu" else (NO_GPU, NO_GPU)
    ids = (
        text(root, f"{here}/{name}").otherwise("0x????").removeprefix("0x")
        for name in ("vendor", "device")
    )
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
        width=parsed(text(root, f"{here}/current_link_width"), _width),
        width_max=parsed(text(root, f"{here}/max_link_width"), _width),
        bar1=window,
        bar1_max=largest,
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
            space = file.read(pciconfig.WHOLE)
    except OSError as error:
        return missing(path, error)
    return (
        known(space)
        if len(space) >= pciconfig.HEADER
        else unknown(f"/{path}: only {len(space)} bytes")
    )


def _present(space: Fact[bytes]) -> Fact[bool]:
    return known(not pciconfig.gone(space.get())) if space.known else unknown(str(space.unknown))


def _acs(space: Fact[bytes]) -> Fact[tuple[str, ...] | None]:
    why = _hidden(space, pciconfig.ACS)
    return unknown(why) if why else known(pciconfig.acs(space.get()))


def _largest(space: Fact[bytes], bar: int) -> Fact[int]:
    if why := _hidden(space, pciconfig.RESIZABLE_BAR):
        return unknown(why)
    size = pciconfig.largest_bar(space.get(), bar)
    return (
        unknown("it has no resizable-BAR capability for this window")
        if size is None
        else known(size)
    )


def _hidden(space: Fact[bytes], capability: int) -> str | None:
    return pciconfig.hidden(space.get(), capability) if space.known else space.unknown


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
    if group == known(None) and names(root, GROUPS).otherwise(()):
        group = unknown(f"/{GROUPS} has groups, and this device is in none")
    if not group.known or group.get() is None:
        return group, group
    kind = text(root, f"{GROUPS}/{group.get()}/type")
    return group, known(kind.get()) if kind.known else unknown(str(kind.unknown))


def _windows(root: Path, bdf: str, space: Fact[bytes]) -> tuple[Fact[int], Fact[int]]:
    """Size of the window through which peers reach the memory (0: none was assigned), and its
    largest.
    """
    sizes = parsed(text(root, f"{DEVICES}/{bdf}/resource"), _sizes)
    if not sizes.known:
        why = str(sizes.unknown)
        return unknown(why), unknown(why)
    bar = max(sizes.get(), key=sizes.get().__getitem__)  # BAR 1 where all are 0
    return known(sizes.get()[bar]), _largest(space, bar)


def _sizes(said: str) -> dict[int, int]:
    """Size by number of BARs 1 to 5: of those that are 64-bit, prefetchable and assigned, else
    0.
    """
    rows = said.splitlines()
    if len(rows) < 6:
        raise ValueError(f"{len(rows)} of 6 windows")
    return {bar: _size(rows[bar]) for bar in range(1, 6)}


def _size(row: str) -> int:
    start, end, flags = (int(word, 16) for word in row.split())
    if end < start:
        raise ValueError(f"{row[:60]!r} is no window")
    return end - start + 1 if flags & WIDE == WIDE and not flags & UNSET else 0


def _speed(said: str) -> float:
    if not (number := re.match(r"([0-9]{1,4}(\.[0-9]+)?) GT/s", said)):
        # the kernel says Unknown for a link that is down
        raise ValueError(f"{said[:40]!r} is no speed")
    return float(number[1])


def _width(said: str) -> int:
    if (lanes := int(said)) not in LANES:
        raise ValueError(f"{lanes} is no number of lanes")  # 63: all ones, the device is gone
    return lanes


def _total(said: str) -> int:
    return int(re.findall(r"^TOTAL_ERR\w* (\d+)", said, re.MULTILINE)[-1])
