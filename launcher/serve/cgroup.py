"""A control group of the server's own, where this launcher may make one: then the kernel knows who
belongs to it.

Whoever the server starts is in it, whatever becomes of the launcher, and all of them are killed at
once (cgroup.kill, Linux 5.14). A service manager hands a group on with `Delegate=yes`; without that
nobody may divide it, not even root, and the environment's mark and the reaper have to do.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# systemd's extended attributes of a group that it handed on
DELEGATED = (
    "user.delegate",
    "trusted.delegate",
)


def make(mark: str) -> Path | None:
    """A new group for one run of the server; None where this process may not make one."""
    with contextlib.suppress(OSError):
        ours = _own()
        if ours and any(_attribute(ours, name) == b"1" for name in DELEGATED):
            made = ours / f"glm5-server-{mark[:12]}"
            made.mkdir()
            return made
    return None


def kill(group: Path) -> None:
    """SIGKILL to all of a group at once; nothing where the kernel has no word for it."""
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def remove(group: Path) -> None:
    """Take an empty group away."""
    with contextlib.suppress(OSError):
        group.rmdir()


def _own() -> Path | None:
    """The group of this process in the unified hierarchy."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::/")), None)
    return ROOT / path.lstrip("/") if path and (ROOT / "cgroup.controllers").exists() else None


def _attribute(path: Path, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""
