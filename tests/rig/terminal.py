"""What a command prints on a terminal of so many columns, or into a pipe: run in this process, for
a law that looks at hundreds of screens.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from launcher import cli

WIDTHS = (40, 80, 120)
ENDLESS = 5000  # columns
# Heads of tables, which stand in blocks below each other where a table has no room.
HEADS = set(
    "name fits from needs what profile state since endpoint reason flag or variable value set"
    " by why started run result seconds".split()
)
# A picture is as long as there is room for it.
PICTURE = re.compile(r"[pdwkcgus]{3,}|[^\w\s]+")
NOW = time.time()
COLOUR = re.compile(r"\x1b\[[\d;?]*[a-zA-Z]")


class Stream(io.StringIO):
    """Standard output and error in one, with an encoding as both have one."""

    encoding = "utf-8"

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


def screen(
    words: tuple[str, ...], columns: int | None, environ: Mapping[str, str], folder: Path
) -> str:
    """What `glm5-serve WORDS` prints, without colours; into a pipe, as it is, where `columns` is
    None.
    """
    made = Stream(is_terminal=columns is not None)
    told = {name: text for name, text in environ.items() if name not in ("COLUMNS", "LINES")}
    told |= {"TERM": "xterm"} | ({"COLUMNS": str(columns)} if columns else {})
    with (
        mock.patch.dict(os.environ, told, clear=True),
        mock.patch.object(time, "time", return_value=NOW),  # "since 3 s" is the same on each screen
        mock.patch.object(sys, "argv", ["glm5-serve", *words]),
        contextlib.redirect_stdout(made),
        contextlib.redirect_stderr(made),
        _inside(folder),
    ):
        cli._run()
    return COLOUR.sub("", made.getvalue()) if columns else made.getvalue()


def told(text: str) -> Counter[str]:
    """Its words, but for pictures, heads of tables, and what is to be pasted next."""
    text = text.partition("\nnext   ")[0]
    return Counter(
        word for word in text.split() if word not in HEADS and not PICTURE.fullmatch(word)
    )


def faults(wide: str, narrow: str, columns: int) -> list[str]:
    """Lines of a narrow screen that are too long, and words that a wide one has more often."""
    shown = narrow.partition("\nnext   ")[0]
    long = [line for line in shown.splitlines() if len(line) > columns]
    had, whole = told(narrow), "".join(shown.split())
    # a word that is longer than what is left beside a head is broken, and told once at least
    lost = [
        word
        for word, times in told(wide).items()
        if had[word] < times and not (len(word) > columns // 2 - 8 and word in whole)
    ]
    return [*(f"too long: {line}" for line in long), *(f"lost: {word}" for word in lost)]


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
