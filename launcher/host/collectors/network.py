"""The networks of this host, its clock, and whether the nodes of a plan could meet from here."""

from __future__ import annotations

import ctypes
import socket

import psutil

from launcher.host import port
from launcher.host.facts import Fact, Interface, known, unknown
from launcher.plan.plan import Plan

MEET_WITHIN = 3.0  # seconds for a connection to the first node
# An address that is never asked: a UDP socket that is connected sends nothing, and is how SGLang
# and vLLM find the address that they tell the other nodes.
OUTWARD = ("8.8.8.8", 80)
UNSYNCHRONISED = 5  # what adjtimex(2) returns then: TIME_ERROR


def interfaces() -> Fact[tuple[Interface, ...]]:
    """Those with an address, the loopback left out."""
    try:
        addresses, stats = psutil.net_if_addrs(), psutil.net_if_stats()
    except OSError as error:
        return unknown(f"the interfaces cannot be listed: {error}")
    found = [
        Interface(
            name,
            tuple(one.address.partition("%")[0] for one in told if one.family in FAMILIES),
            stats[name].mtu if name in stats else None,
            name in stats and stats[name].isup,
        )
        for name, told in sorted(addresses.items())
    ]
    return known(tuple(one for one in found if one.addresses and one.name != "lo"))


FAMILIES = (socket.AF_INET, socket.AF_INET6)


def outward() -> Fact[str | None]:
    """The address of the interface of the default route; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.connect(OUTWARD)
            return known(str(asked.getsockname()[0]))
    except OSError:
        return known(None)


class _Timex(ctypes.Structure):
    """The beginning of the kernel's struct timex; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # microseconds
        ("rest", ctypes.c_byte * 256),
    )


def clock_error() -> Fact[float | None]:
    """Seconds by which the clock may be wrong, as the kernel knows it; None where nothing keeps
    it.
    """
    try:
        said = _Timex()
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(said))
    except (OSError, AttributeError) as error:
        return unknown(f"adjtimex cannot be asked: {error}")
    if state < 0:
        return unknown(f"adjtimex was refused: errno {ctypes.get_errno()}")
    return known(None if state == UNSYNCHRONISED else said.maxerror / 1e6)


def rendezvous(plan: Plan) -> Fact[str | None]:
    """Why the nodes of a plan cannot meet, seen from this one: the first node's port is taken, or
    is not reached. That nobody listens there yet is no obstacle.
    """
    if not plan.nodes:
        return known(None)
    first = plan.nodes[0].address
    if not plan.follows:
        held = port.obstacle(first, plan.rendezvous)
        return known(held.strerror if held else None)
    try:
        with socket.create_connection((first, plan.rendezvous), MEET_WITHIN):
            return known(None)
    except ConnectionRefusedError:
        return known(None)
    except OSError as error:
        why = error.strerror or f"no answer within {MEET_WITHIN:g} s"
        return known(f"{first} port {plan.rendezvous} is not reached: {why}")
