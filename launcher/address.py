"""A host as somebody writes it: an address, with or without brackets, or a name.

Nothing is resolved.
"""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DOTTED = re.compile(r"\d+(\.\d+){3,}")  # as an address has them: no name
LAST_PORT = 65535
LOCAL = "localhost"  # the one name that is this host everywhere


def numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, ::ffff:1.2.3.4 as 1.2.3.4; None for a name."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def is_host(text: str) -> bool:
    """Whether it can be the address, or the name, of a host."""
    is_name = bool(_NAME.fullmatch(text)) and not _DOTTED.fullmatch(text)
    return numeric(text) is not None or is_name


def canonical(host: str) -> str:
    """A host's name or address in one spelling: `[::1]` and `0:0::1` are ::1, and ::ffff:1.2.3.4 is
    1.2.3.4.
    """
    bare = host.strip("[]").rstrip(".").lower()
    return str(numeric(bare) or bare)


def is_loopback(host: str) -> bool:
    """Whether it stays on this host; of names only `localhost` does for certain."""
    address = numeric(host)
    return address.is_loopback if address else canonical(host) == LOCAL


def is_any(host: str) -> bool:
    """Whether who listens there listens at all addresses: 0.0.0.0, ::, or nothing said."""
    address = numeric(host)
    return address.is_unspecified if address else not host


def to_ask(host: str) -> str:
    """Where to ask, from this host, who listens at `host`."""
    if not is_any(host):
        return host
    return "::1" if isinstance(numeric(host), ipaddress.IPv6Address) else "127.0.0.1"


def listening(text: str) -> tuple[str, int]:
    """Where to listen, of `127.0.0.1:8001` or `[::1]:8001`. Raises ValueError for what is no
    address with a port.
    """
    host, _, port = text.rpartition(":")
    bare = host.strip("[]")
    if not (numeric(bare) or is_loopback(bare)) or not (
        port.isascii() and port.isdigit() and 0 < int(port) <= LAST_PORT
    ):
        raise ValueError("wanted an address and a port: 127.0.0.1:8001, [::1]:8001, 0.0.0.0:8001")
    return bare, int(port)


def bracketed(host: str) -> str:
    """A host as it stands before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
