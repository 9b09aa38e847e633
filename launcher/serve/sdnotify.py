"""systemd's notification protocol (sd_notify(3)): ready, status, watchdog, more time.

Silent without systemd.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Mapping

from launcher import printable

# What systemd gives to the launcher alone: a server that inherits it could answer in the launcher's
# name.
PRIVATE = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "CREDENTIALS_DIRECTORY",
    "LISTEN_FDS",
    "LISTEN_PID",
)


class Notifier:
    """Talks to the service manager that `environ` names, if there is one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = re.sub("^@", "\0", environ.get("NOTIFY_SOCKET", ""))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        #: Seconds between signs of life: half of what the watchdog waits; None without one.
        self.every = int(usec) / 2e6 if usec.isdigit() and mine and self._socket else None

    def tell(self, *words: str) -> None:
        """Send `READY=1`, `STATUS=...` and the like. Never raises, and never waits."""
        if self._socket:
            with contextlib.suppress(OSError):
                lines = map(printable.line, words)  # a second line would be another word
                self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)

    def extend(self, seconds: float) -> None:
        """Ask for so much more time for the start or the stop that is under way."""
        self.tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket:
            self._socket.close()
