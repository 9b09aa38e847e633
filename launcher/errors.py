"""What stands in the way of an operator, and the exit statuses that say so to a script."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of every command (sysexits.h numbers where it has one)."""

    FINE = 0
    NO = 1  # a finding, or a server that is not there or not well
    USAGE = 2  # the words on the command line
    BUG = 70  # EX_SOFTWARE: ours
    CONFIG = 78  # EX_CONFIG: systemd's RestartPreventExitStatus keeps it from trying again


def in_words(error: BaseException) -> str:
    """What an exception says to an operator, to follow a name and a colon: `connection refused`,
    without Python's name for it, its number and its file.

    Of a text that was to be read it says what is wrong with that, and nothing of how it is read.
    """
    words = (isinstance(error, OSError) and error.strerror) or str(error)
    if isinstance(error, MemoryError):
        words = "no memory"
    if isinstance(error, RecursionError):
        words = "it nests too deep"
    if "integer string conversion" in words:
        words = "it has a number of thousands of digits"
    return words[:1].lower() + words[1:] or type(error).__name__


def with_file(error: BaseException) -> str:
    """The same, and the file that it is about, where there is one."""
    file = isinstance(error, OSError) and error.filename
    return f"{in_words(error)}: {file}" if file else in_words(error)


class UserError(Exception):
    """A clear no: what is, what was wanted, what to do.

    Printed as it stands, never with a traceback.
    """

    def __init__(self, what: str, *, fix: str, status: Exit = Exit.CONFIG) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.status = status
