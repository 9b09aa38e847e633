"""PCI configuration space: what its bytes mean, by the PCI Express base specification."""

from __future__ import annotations

import struct

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
# bytes that others, root without extended space, and root can read
HEADER, CLASSIC, WHOLE = (
    64,
    256,
    4096,
)
PCI_EXPRESS, ACS, RESIZABLE_BAR = 0x10, 0x0D, 0x15  # capability ids; the last two are extended ones


def gone(space: bytes) -> bool:
    """Whether the device fell off the bus: ids or revision read all ones."""
    return space[:4] == b"\xff\xff\xff\xff" or space[8:9] == b"\xff"


def hidden(space: bytes, capability: int) -> str | None:
    """Why nobody can say what an extended capability holds, or that there is none; None if one
    can.
    """
    if gone(space):
        return "configuration space reads all ones"
    if len(space) < WHOLE:
        why = "run as root" if len(space) <= HEADER else "there is no extended space"
        return f"only {len(space)} bytes of configuration space are readable: {why}"
    places, sound = _extended(space)
    return (
        None if sound or capability in places else "the list of its extended capabilities is broken"
    )


def port(space: bytes) -> str | None:
    """The kind of a bridge: root port, switch upstream, switch downstream; None where the bytes do
    not say.
    """
    if len(space) < CLASSIC or gone(space):
        return None
    at = _classic(space).get(PCI_EXPRESS)
    if at is None:
        return "bridge"
    (flags,) = struct.unpack_from("<H", space, at + 2)
    return PORTS.get((flags >> 4) & 0xF, "bridge")


def acs(space: bytes) -> tuple[str, ...] | None:
    """The access control bits that are set; None if the device has no such capability."""
    at = _extended(space)[0].get(ACS)
    if at is None or at + 8 > len(space):
        return None
    (control,) = struct.unpack_from("<H", space, at + 6)
    return tuple(name for bit, name in ACS_BITS.items() if control & bit)


def largest_bar(space: bytes, bar: int) -> int | None:
    """The largest size in bytes that a resizable BAR offers; None if it cannot be resized."""
    at = _extended(space)[0].get(RESIZABLE_BAR)
    if at is None or at + 12 > len(space):
        return None
    count = (struct.unpack_from("<I", space, at + 8)[0] >> 5) & 7
    for entry in range(min(count, 6)):
        if at + 12 + 8 * entry > len(space):
            return None
        capability, control = struct.unpack_from("<II", space, at + 4 + 8 * entry)
        if control & 7 == bar:
            # Bits 4-31 of the capability are 1 MiB to 128 TiB, those above 16 of the control go on
            # from there.
            sizes = (capability >> 4) | (control >> 16) << 28
            return 1 << (20 + sizes.bit_length() - 1) if sizes else None
    return None


def _classic(space: bytes) -> dict[int, int]:
    """Place of each capability in the first 256 bytes, by its id."""
    places: dict[int, int] = {}
    at, seen = space[0x34] & 0xFC if space[6] & 0x10 else 0, set()
    while HEADER <= at < CLASSIC and at not in seen:
        seen.add(at)
        places.setdefault(space[at], at)
        at = space[at + 1] & 0xFC
    return places


def _extended(space: bytes) -> tuple[dict[int, int], bool]:
    """Place of each capability beyond the first 256 bytes, by its id; and whether the list came to
    its end.
    """
    places: dict[int, int] = {}
    at, seen = CLASSIC, set()
    while CLASSIC <= at <= len(space) - 8 and at not in seen:
        seen.add(at)
        (header,) = struct.unpack_from("<I", space, at)
        if header in (0, 0xFFFFFFFF):
            return places, header == 0
        places.setdefault(header & 0xFFFF, at)
        at = (header >> 20) & 0xFFC
    return places, at == 0
