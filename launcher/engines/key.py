"""How an engine is given its API key, so that it stands in no argument list, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """By a file that an option names, or by a variable: the one that is not empty."""

    option: str = ""  # names the file
    file: str = ""  # what that file holds, with %s for the key
    variable: str = ""
