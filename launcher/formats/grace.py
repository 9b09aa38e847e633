"""How long whoever stops a server waits before it kills it: compose, Kubernetes, `docker run`,
systemd.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.formats.nodes import Table
from launcher.formats.yamltext import of, word

# Seconds where nothing is said, by form: Docker's and podman's, Kubernetes', systemd's.
_DEFAULTS = {
    "compose": ("stop_grace_period", 10),
    "docker": ("--stop-timeout", 10),
    "kubernetes": ("terminationGracePeriodSeconds", 30),
    "quadlet": ("StopTimeout", 10),
    "systemd": ("TimeoutStopSec", 90),
}
_UNITS = {"h": 3600, "hr": 3600, "m": 60, "min": 60, "s": 1, "sec": 1, "": 1}
_PART = re.compile(r"[ \t]*(\d{1,6})[ \t]*(hr|h|min|m|sec|s|)(?![a-z])")


@dataclass(frozen=True)
class Grace:
    """So many seconds, and the words that say so; `is_default`: nobody said it."""

    seconds: int
    name: str
    value: str
    is_default: bool = False


def said(name: str, value: str) -> Grace | None:
    """By a duration as compose and systemd write it, `1m30s` or `90`; None for none that ends."""
    parts, at, seconds = [*_PART.finditer(value.strip().strip("\"'"))], 0, 0
    for part in parts:
        if part.start() != at:
            return None
        at, seconds = part.end(), seconds + int(part[1]) * _UNITS[part[2]]
    is_read = bool(parts) and at == len(value.strip().strip("\"'"))
    return Grace(seconds, name, value.strip()) if is_read and seconds else None


def of_tables(tables: Sequence[Table], above: Sequence[Table]) -> Grace | None:
    """By a service of compose, or the pod of a container."""
    found = ("stop_grace_period", tables), ("terminationGracePeriodSeconds", [*reversed(above)])
    for name, where in found:
        if told := said(name, word(of(where, name.lower()))):
            return told
    return None


def default(form: str) -> Grace | None:
    """What holds where nothing is said; None for a form that nobody stops so."""
    for name, (key, seconds) in _DEFAULTS.items():
        if form.startswith(name):
            return Grace(seconds, key, f"{seconds} s where nothing is said", is_default=True)
    return None
