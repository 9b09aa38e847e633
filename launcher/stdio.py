"""Descriptors 0 to 2, taken for granted by every program: the next file gets the number of a closed
one.
"""

from __future__ import annotations

import codecs
import io
import os
import sys

PLAIN = {"✓": "+", "…": "...", "█": "#", "░": ".", "·": "-"}  # where a terminal has no such signs
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


def show_all() -> None:
    """Have standard output and error show whatever is printed: our own signs by plain ones, and
    names that no terminal can show by escapes.
    """
    codecs.register_error("glm5-serve", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="glm5-serve")


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    if all(char in PLAIN or _is_spinner(char) for char in text):
        return "".join(PLAIN.get(char, "*") for char in text), error.end
    return codecs.backslashreplace_errors(error)


def _is_spinner(char: str) -> bool:
    """Whether it is of the braille patterns, which rich turns while something goes on."""
    return "\u2800" <= char <= "\u28ff"
