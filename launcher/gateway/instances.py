"""What the instances of a state home run, by their plans."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from launcher.files import guarded
from launcher.gateway import NAME
from launcher.plan.plan import Plan, loads
from launcher.statedir.folder import StateDir


def plan_of(instance: StateDir) -> Plan | None:
    """What an instance of this user runs, or ran; None where it cannot be read. Of another user's
    nothing is believed: it would say where requests, and a key, go.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if instance.folder.lstat().st_uid != os.geteuid():
            return None
        return loads(guarded.read(instance.plan).decode())
    return None


def gateway_of(home: Path, name: str) -> Plan | None:
    """The plan of a gateway that is up; None where there is no such."""
    instance = StateDir(home, name)
    made = plan_of(instance) if instance.is_held() else None
    return made if made and made.engine == NAME else None
