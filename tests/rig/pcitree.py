"""Trees of /sys and /proc for hosts with GPUs, with real configuration space: `lspci` reads them,
too.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

SPEEDS = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0"}
ROOT_PORT, UPSTREAM, DOWNSTREAM, ENDPOINT = 4, 5, 6, 0
BRIDGE_CLASS, GPU_CLASS = 0x060400, 0x030200
# the kernel's flags of a 32-bit window, and of a 64-bit prefetchable one
NARROW, WIDE = (
    0x40200,
    0x14220C,
)


@dataclass
class Tree:
    """A host: GPUs behind root ports, or in pairs behind switches; dictionaries change functions by
    address.
    """

    gpus: int = 8
    sockets: int = 2
    switches: bool = False
    iommu: str | None = "identity"  # the type of every group; None: no IOMMU
    acs: int = 0x11  # control bits of every bridge: SrcValid and UpstreamFwd
    gen: int = 5
    bar1: int = 128 << 30
    driver: str | None = "nvidia"
    cmdline: str = "BOOT_IMAGE=/vmlinuz ro quiet iommu=pt"
    iommu_of: dict[str, str] = field(default_factory=dict)
    acs_of: dict[str, int] = field(default_factory=dict)
    gen_of: dict[str, int] = field(default_factory=dict)  # the present generation
    width_of: dict[str, int] = field(default_factory=dict)
    # bytes of configuration space that can be read
    space_of: dict[str, int] = field(default_factory=dict)
    gone: Iterable[str] = ()


def gpu_address(index: int) -> str:
    """The address of a GPU in every tree."""
    return f"0000:{0x10 * index + 0x04:02x}:00.0"


def port_address(index: int) -> str:
    """The address of the root port above a GPU that has no switch."""
    return f"0000:{0x10 * index:02x}:01.1"


def build(folder: Path, tree: Tree) -> Path:
    """Write the tree below a folder, and give the folder."""
    (folder / "sys/bus/pci/devices").mkdir(parents=True)
    (folder / "sys/class/iommu").mkdir(parents=True)
    (folder / "sys/kernel/iommu_groups").mkdir(parents=True)
    for unit in ("ivhd0", "ivhd1") if tree.iommu else ():
        (folder / "sys/class/iommu" / unit).mkdir()
    _text(
        folder / "sys/module/pcie_aspm/parameters/policy",
        "[default] performance powersave powersupersave",
    )
    _text(folder / "proc/cmdline", tree.cmdline)
    for index in range(tree.gpus):
        _branch(folder, tree, index)
    return folder


def _branch(folder: Path, tree: Tree, index: int) -> None:
    """What hangs on one socket's port: a GPU, or a switch with two."""
    bus = 0x10 * index
    base = folder / f"sys/devices/pci0000:{bus:02x}"
    numa = index * tree.sockets // tree.gpus
    if not tree.switches:
        port = _bridge(
            base, folder, tree, port_address(index), ROOT_PORT, (bus, bus + 4, bus + 4), numa
        )
        _gpu(port, folder, tree, gpu_address(index), numa)
        return
    if index % 2:
        return
    port = _bridge(
        base, folder, tree, port_address(index), ROOT_PORT, (bus, bus + 1, bus + 0x1F), numa
    )
    up_address = f"0000:{bus + 1:02x}:00.0"
    up = _bridge(port, folder, tree, up_address, UPSTREAM, (bus + 1, bus + 2, bus + 0x1F), numa)
    for slot in range(min(2, tree.gpus - index)):
        below = 0x10 * (index + slot) + 4
        address = f"0000:{bus + 2:02x}:{slot:02x}.0"
        down = _bridge(up, folder, tree, address, DOWNSTREAM, (bus + 2, below, below), numa)
        _gpu(down, folder, tree, gpu_address(index + slot), numa)


def _bridge(
    above: Path,
    folder: Path,
    tree: Tree,
    address: str,
    port: int,
    buses: tuple[int, int, int],
    numa: int,
) -> Path:
    vendor, device = (0x1022, 0x153E) if port == ROOT_PORT else (0x1000, 0xC030)
    space = configuration(tree, address, vendor, device, BRIDGE_CLASS, port=port, buses=buses)
    rows = ["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * 13
    return _device(
        above, folder, tree, address, space, (vendor, device, BRIDGE_CLASS), rows, numa, "pcieport"
    )


def _gpu(above: Path, folder: Path, tree: Tree, address: str, numa: int) -> None:
    space = configuration(tree, address, 0x10DE, 0x2BB5, GPU_CLASS)
    start = 0x20_0000_0000 * (1 + int(address[5:7], 16))
    big, small = (start, tree.bar1, WIDE), (start + tree.bar1, 32 << 20, WIDE)
    windows = [(0xB0000000, 64 << 20, NARROW), big, (0, 0, 0), small] + [(0, 0, 0)] * 9
    rows = [
        f"0x{at:016x} 0x{max(at + size - 1, 0):016x} 0x{flags:016x}" for at, size, flags in windows
    ]
    _device(
        above, folder, tree, address, space, (0x10DE, 0x2BB5, GPU_CLASS), rows, numa, tree.driver
    )


def _device(
    above: Path,
    folder: Path,
    tree: Tree,
    address: str,
    space: bytes,
    ids: tuple[int, int, int],
    rows: list[str],
    numa: int,
    driver: str | None,
) -> Path:
    here = above / address
    gone = address in tree.gone
    now = "Unknown" if gone else f"{SPEEDS[tree.gen_of.get(address, tree.gen)]} GT/s PCIe"
    texts = {
        "vendor": f"0x{ids[0]:04x}",
        "device": f"0x{ids[1]:04x}",
        "class": f"0x{ids[2]:06x}",
        "subsystem_vendor": f"0x{ids[0]:04x}",
        "subsystem_device": "0x204e",
        "revision": "0xa1",
        "irq": "0",
        "resource": "\n".join(rows),
        "current_link_speed": now,
        "max_link_speed": f"{SPEEDS[tree.gen]} GT/s PCIe",
        "current_link_width": str(63 if gone else tree.width_of.get(address, 16)),
        "max_link_width": "16",
        "numa_node": str(numa),
        "power/control": "on",
        "aer_dev_fatal": "SDES 0\nTOTAL_ERR_FATAL 0",
        "aer_dev_nonfatal": "Undefined 0\nTOTAL_ERR_NONFATAL 0",
        "aer_dev_correctable": "RxErr 3\nTOTAL_ERR_COR 3",
    }
    for name, text in texts.items():
        _text(here / name, text)
    (here / "config").write_bytes(b"\xff" * 4096 if gone else space)
    _link(folder / "sys/bus/pci/devices" / address, here)
    if driver:
        (folder / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        _link(here / "driver", folder / "sys/bus/pci/drivers" / driver)
    if kind := tree.iommu_of.get(address, tree.iommu):
        group = (
            folder
            / "sys/kernel/iommu_groups"
            / str(int(address[5:7], 16) * 8 + int(address[8:10], 16))
        )
        _text(group / "type", kind)
        _link(here / "iommu_group", group)
        _link(group / "devices" / address, here)
    return here


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def _link(path: Path, to: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(to, path.parent))


def configuration(
    tree: Tree,
    address: str,
    vendor: int,
    device: int,
    kind: int,
    *,
    port: int = ENDPOINT,
    buses: tuple[int, int, int] = (0, 0, 0),
) -> bytes:
    """Configuration space: header, power management, PCI Express; AER, then ACS or resizable
    BAR.
    """
    space = bytearray(4096)
    bridge = port != ENDPOINT
    struct.pack_into("<HHHHI", space, 0, vendor, device, 0x0006, 0x0010, kind << 8 | 0xA1)
    space[0x0E] = 1 if bridge else 0
    if bridge:
        space[0x18:0x1B] = bytes(bus & 0xFF for bus in buses)
    space[0x34] = 0x60
    struct.pack_into("<BBH", space, 0x60, 0x01, 0x68, 3)
    _express(space, 0x68, port, tree, address)
    _aer_and_more(space, tree, address, bridge)
    return bytes(space[: tree.space_of.get(address, 4096)])


def _express(space: bytearray, at: int, port: int, tree: Tree, address: str) -> None:
    slot = 0x100 if port in (ROOT_PORT, DOWNSTREAM) else 0
    now, width = tree.gen_of.get(address, tree.gen), tree.width_of.get(address, 16)
    struct.pack_into("<BBHIH", space, at, 0x10, 0, 2 | port << 4 | slot, 0x8002, 0x2830)
    struct.pack_into("<IHH", space, at + 0xC, tree.gen | 16 << 4, 0x40, now | width << 4)
    struct.pack_into("<IH", space, at + 0x2C, (1 << tree.gen + 1) - 2, tree.gen)


def _aer_and_more(space: bytearray, tree: Tree, address: str, bridge: bool) -> None:
    struct.pack_into("<I", space, 0x100, 0x0001 | 2 << 16 | 0x150 << 20)
    if bridge:
        struct.pack_into(
            "<IHH", space, 0x150, 0x000D | 1 << 16, 0x5F, tree.acs_of.get(address, tree.acs)
        )
        return
    now = tree.bar1.bit_length() - 21
    sizes = 0x1FFFF << 4 << 2  # 4 MiB and up, to 256 GiB
    struct.pack_into("<III", space, 0x150, 0x0015 | 1 << 16, sizes, 1 | 1 << 5 | now << 8)
