"""What one of several servers of a profile is called: `NAME@2` is the second."""

from __future__ import annotations

import re

_REPLICA = re.compile(r"(.+)@([1-9][0-9]{0,2})")


def split(word: str) -> tuple[str, int]:
    """A profile as somebody names it, and which of its replicas; 0 where none is named."""
    found = _REPLICA.fullmatch(word)
    return (found[1], int(found[2])) if found else (word, 0)
