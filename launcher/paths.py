"""Where users keep things: the base directories of XDG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def home(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    """An XDG base directory of ours: `$variable/glm5-serve`, or the one the specification falls
    back to.

    One that is relative is none, says the specification: it would be another one in each folder.
    """
    base, owner = Path(environ.get(variable, "")), Path(environ.get("HOME", ""))
    if not base.is_absolute():
        base = (owner if owner.is_absolute() else Path("/")) / fallback
    return base / "glm5-serve"
