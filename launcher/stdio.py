"""What every program takes for granted of who started it: descriptors 0 to 2, for the next file
gets the number of a closed one, and a umask with which it can read what it writes, and strangers
cannot write it.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any

PLAIN = {
    "✓": "+",
    "…": "...",
    "█": "#",
    "▓": "=",
    "▒": ":",
    "▚": "%",
    "░": ".",
    "·": "-",
}  # where a terminal has no such signs
closed: set[int] = set()  # those that ensure_open found closed
unread: set[int] = set()  # pipes whose reader is gone


class _Output(io.FileIO):
    """A descriptor that is written to, be it that nobody reads there any more: who has seen enough
    (`| head`) changes nothing of what a command does, nor of its exit status.
    """

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            unread.add(self.fileno())
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


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


def mend_umask() -> None:
    """Have files and folders that this program makes, and those that it starts make, be its own
    user's to read and write, whatever is masked (0777), and no stranger's to write where nothing
    is (0000). What it says of the group is as it was, if it says anything.
    """
    masked = os.umask(0o077)
    least = 0 if masked & 0o002 else 0o022
    os.umask((masked | least) & ~0o700)


def show_all() -> None:
    """Have standard output and error show whatever is printed, to whom still reads it: our own
    signs by plain ones, and names that no terminal can show by escapes.
    """
    codecs.register_error("glm5-serve", _plainly)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="glm5-serve")
        if stream.fileno() == number:
            setattr(sys, name, _patient(stream))


def _patient(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same over an `_Output`."""
    raw: Any = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


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
