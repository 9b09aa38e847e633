"""Descriptors 0 to 2, taken for granted by every program: the next file gets the number of a closed
one.
"""

from __future__ import annotations

import os
import sys

closed: set[int] = set()  # those that ensure_open found closed


def ensure_open() -> None:
    """Open what is closed of them on /dev/null, for this program and for those that it starts or
    becomes.

    To be called before anything else is opened: a lock on descriptor 1 is lost to the first child
    that prints.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # as Python leaves it where its descriptor was closed
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
