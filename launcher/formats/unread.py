"""Files that a launch takes variables from, and that nobody read: what they may set is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ENVIRONMENT = re.compile(r"(?:.*/)?activate|.*/conda\.sh")  # they set PATH, and no server's words
_NOTE = re.compile(r"variables of .+ are not read|(.+) is sourced, and not read")


def of_variables(name: str) -> str:
    """The note on a file of variables, or on a map of Kubernetes'."""
    return f"variables of {name} are not read"


def of_source(path: str) -> str:
    """The note on a file that a script sources."""
    return f"{path} is sourced, and not read"


def sets_variables(notes: Iterable[str]) -> bool:
    """Whether one of the notes of a launch is on a file that may set any variable."""
    found = (_NOTE.fullmatch(note) for note in notes)
    return any(one and not _ENVIRONMENT.fullmatch(one[1] or "") for one in found)
