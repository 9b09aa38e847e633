"""What somebody does next, below what a command has done: to standard error, to be pasted."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from launcher import folding, printable
from launcher.formats.curl import write
from launcher.plan.plan import Plan

HEAD = "next   "  # as wide as `error` and `fix`, with their blanks


def tell(*steps: tuple[str, str], always: bool = False) -> None:
    """Print commands of ours, each with what it is for; off a terminal, where nobody reads them,
    only `always`.
    """
    if always or sys.stderr.isatty():
        say(*((f"{called()} {words}", meaning) for words, meaning in steps))


def say(*steps: tuple[str, str]) -> None:
    """Print commands, whosever, each with what it is for; above it, where it has no room beside.

    A command is never folded: it could not be pasted then.
    """
    width = max(len(words) for words, _ in steps)
    columns = folding.columns(sys.stderr)
    for at, (words, meaning) in enumerate(steps):
        head = " " * len(HEAD) if at else HEAD
        told = printable.line(f"{head}{words:<{width}}  # {meaning}")
        if columns and len(told) > columns:
            folding.tell(f"{head}# {meaning}", sys.stderr, hanging=len(HEAD) - len(head) + 2)
            told = printable.line(" " * len(HEAD) + words)
        print(told, file=sys.stderr)


def ask(plan: Plan) -> None:
    """Print a request to a server that has become ready; nothing off a terminal, or for a node
    that answers nobody.
    """
    if plan.model_name and not plan.follows and sys.stderr.isatty():
        lines = write(plan).replace("\n", "\n" + " " * len(HEAD))
        print(f"{HEAD}{printable.lines(lines)}", file=sys.stderr)


def called() -> str:
    """How this program is called: by its name where the PATH has it, else as it was called now."""
    given = Path(sys.argv[0])
    if given.name != "glm5-serve" or "/" not in sys.argv[0]:
        return "glm5-serve"
    named = shutil.which("glm5-serve")
    is_found = named is not None and Path(named).resolve() == given.resolve()
    return "glm5-serve" if is_found else sys.argv[0]
