"""What somebody does next, below what a command has done: to standard error, to be pasted."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from launcher import printable

HEAD = "next   "  # as wide as `error` and `fix`, with their blanks


def tell(*steps: tuple[str, str], always: bool = False) -> None:
    """Print commands, each with what it is for; off a terminal, where nobody reads them, only
    `always`.
    """
    if not steps or not (always or sys.stderr.isatty()):
        return
    lines = [f"{called()} {words}" for words, _ in steps]
    width = max(map(len, lines))
    columns = shutil.get_terminal_size().columns if sys.stderr.isatty() else 1000
    for at, (line, (_, meaning)) in enumerate(zip(lines, steps, strict=True)):
        head = " " * len(HEAD) if at else HEAD
        told = f"{head}{line:<{width}}  # {meaning}" if meaning else f"{head}{line}"
        # a command that is folded by us could not be pasted
        print(printable.line(told if len(told) <= columns else head + line), file=sys.stderr)


def called() -> str:
    """How this program is called: by its name where the PATH has it, else as it was called now."""
    given = Path(sys.argv[0])
    if given.name != "glm5-serve" or "/" not in sys.argv[0]:
        return "glm5-serve"
    named = shutil.which("glm5-serve")
    is_found = named is not None and Path(named).resolve() == given.resolve()
    return "glm5-serve" if is_found else sys.argv[0]
