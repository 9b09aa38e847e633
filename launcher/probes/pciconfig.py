"""PCI configuration space: what its bytes mean, by the PCI Express base specification."""

from __future__ import annotations

import struct
from collections.abc import Iterator

ACS_BITS = {
    0x01: "SrcValid",
    0x02: "TransBlk",
    0x04: "ReqRedir",
    0x08: "CmpltRedir",
    0x10: "UpstreamFwd",
    0x20: "EgressCtrl",
    0x40: "DirectTrans",
}
PORTS = {4: "root port", 5: "switch upstream", 6: "switch downstream"}
HEADER, CLASSIC, WHOLE = 64, 256, 4096  # bytes that others, old kernels and root can read
PCI_EXPRESS, ACS, RESIZABLE_BAR = 0x10, 0x0D, 0x15  # capability ids; the last two are extended ones


def gone(space: bytes) -> bool:
    """Whether the device fell off the bus: everything reads all ones."""
    return space[:4] == b"\xff\xff\xff\xff"


def port(space: bytes) -> str | None:
    """The kind of a bridge: root port, switch upstream, switch downstream; None where the bytes do not say."""
    at = dict(_classic(space)).get(PCI_EXPRESS)
    if at is None or at + 4 > len(space):
        return None
    (flags,) = struct.unpack_from("<H", space, at + 2)
    return PORTS.get((flags >> 4) & 0xF, "bridge")


def acs(space: bytes) -> tuple[str, ...] | None:
    """The access control bits that are set; None if the device has no such capability."""
    at = dict(_extended(space)).get(ACS)
    if at is None or at + 8 > len(space):
        return None
    (control,) = struct.unpack_from("<H", space, at + 6)
    return tuple(name for bit, name in ACS_BITS.items() if control & bit)


def largest_bar(space: bytes, bar: int) -> int | None:
    """The largest size in bytes that a resizable BAR offers; None if it cannot be resized."""
    at = dict(_extended(space)).get(RESIZABLE_BAR)
    if at is None or at + 12 > len(space):
        return None
    count = (struct.unpack_from("<I", space, at + 8)[0] >> 5) & 7
    for entry in range(min(count, 6)):
        if at + 12 + 8 * entry > len(space):
            return None
        capability, control = struct.unpack_from("<II", space, at + 4 + 8 * entry)
        if control & 7 == bar:
            # Bits 4-31 of the capability are 1 MiB to 128 TiB, those above 16 of the control go on from there.
            sizes = (capability >> 4) | (control >> 16) << 28
            return 1 << (20 + sizes.bit_length() - 1) if sizes else None
    return None


def _classic(space: bytes) -> Iterator[tuple[int, int]]:
    """Id and place of each capability in the first 256 bytes."""
    if len(space) <= HEADER or not space[6] & 0x10:
        return
    at, seen = space[0x34] & 0xFC, set()
    while HEADER <= at < min(len(space), CLASSIC) - 1 and at not in seen:
        seen.add(at)
        yield space[at], at
        at = space[at + 1] & 0xFC


def _extended(space: bytes) -> Iterator[tuple[int, int]]:
    """Id and place of each capability beyond the first 256 bytes."""
    at, seen = CLASSIC, set()
    while CLASSIC <= at <= len(space) - 4 and at not in seen:
        seen.add(at)
        (header,) = struct.unpack_from("<I", space, at)
        if header in (0, 0xFFFFFFFF):
            return
        yield header & 0xFFFF, at
        at = (header >> 20) & 0xFFC
