"""The one capability that a unit may give the launcher: CAP_SYS_PTRACE, for the stacks of a server
that hangs.

Ambient, it would go to every program that the launcher starts, and the server could have it start
what it likes: the plan's file is of the same user. So it is laid down at once, and taken up only to
start py-spy. Without it, none of this does anything.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_PR_CAP_AMBIENT, _RAISE, _CLEAR_ALL = 47, 2, 4
_CAP_SYS_PTRACE = 19


def drop_ambient() -> None:
    """From here on, no program that this thread (and those that it begins) starts has it."""
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)


def raise_ambient() -> None:
    """The next programs that this thread starts have it, if this one has."""
    ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _RAISE, _CAP_SYS_PTRACE, 0, 0)


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """What this thread starts meanwhile has it."""
    raise_ambient()
    try:
        yield
    finally:
        drop_ambient()
