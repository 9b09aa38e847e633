"""The journal's own protocol: a message with fields, as systemd.io/JOURNAL_NATIVE_PROTOCOL has it.

`journalctl GLM5_EVENT=death` finds what happened.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Mapping
from typing import TextIO

SOCKET = "/run/systemd/journal/socket"


def is_connected(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether what is written to `stream` lands in the journal: `$JOURNAL_STREAM` names its device
    and inode.
    """
    try:
        seen = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{seen.st_dev}:{seen.st_ino}"


def send(message: str, fields: Mapping[str, object]) -> None:
    """Log a message; a field is upper case, a value becomes text. Never raises."""
    data = b"".join(
        _field(name, str(value)) for name, value in {"MESSAGE": message, **fields}.items()
    )
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.sendto(data, socket.MSG_DONTWAIT, SOCKET)


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="replace")
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
