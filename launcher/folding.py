"""Sentences on a terminal: folded between words, and no line longer than it; elsewhere as they are,
for grep. What is drawn more richly comes from `console`; this costs a command no import.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TextIO

from launcher import printable

LEAST = 20  # columns that a text has, however narrow the terminal is
MOST = 1000  # and that a terminal has, whatever it, or COLUMNS, says: what is drawn costs time


def columns(stream: TextIO) -> int:
    """Those of a terminal; 0 where it is none, and nothing is folded."""
    return min(shutil.get_terminal_size().columns, MOST) if stream.isatty() else 0


def tell(text: str, stream: TextIO | None = None, *, hanging: int = 2) -> None:
    """Print words of others as one sentence, `hanging` blanks before its later lines; to standard
    output where no stream is named.
    """
    stream = stream or sys.stdout
    print(folded(printable.line(text), columns(stream), hanging), file=stream, flush=True)


def folded(text: str, width: int, hanging: int) -> str:
    """The lines of `text` in `width` columns, each one's rest behind `hanging` blanks more than it
    has itself; 0 columns: as they are. Only a word that is longer than a line is broken.
    """
    return "\n".join(_folded(line, width, hanging) for line in text.split("\n")) if width else text


def _folded(line: str, width: int, hanging: int) -> str:
    words = line.lstrip()
    own = " " * (len(line) - len(words))
    return textwrap.fill(
        words,
        max(width, LEAST + len(own) + hanging),
        initial_indent=own,
        subsequent_indent=own + " " * hanging,
        break_on_hyphens=False,
    )
