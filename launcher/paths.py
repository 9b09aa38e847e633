"""Where users keep things: the base directories of XDG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher import printable
from launcher.errors import UserError


def home(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    """An XDG base directory of ours: `$variable/glm5-serve`, or the one the specification falls
    back to.

    One that is relative is none, says the specification: it would be another one in each folder.
    Raises UserError for one that nobody could read, or write into a unit or a script.
    """
    for name in (variable, "HOME"):
        require_readable(name, environ.get(name, ""))
    base, owner = Path(environ.get(variable, "")), Path(environ.get("HOME", ""))
    if not base.is_absolute():
        base = (owner if owner.is_absolute() else Path("/")) / fallback
    return base / "glm5-serve"


def require_readable(by: str, folder: str) -> None:
    """Raise UserError where a variable names a folder with a line end, or another character that
    no reader sees: what is printed to be run must be what runs.
    """
    if "\n" in folder or "\t" in folder or printable.odd(folder):
        raise UserError(
            f"{by} has a character in it that nobody would see: {printable.line(folder)}",
            fix=f"set {by} to a folder whose name can be read",
        )
