"""What a command prints on a terminal of so many columns, or into a pipe: run in this process, for
a law that looks at hundreds of screens.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from launcher import cli

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
        mock.patch.object(sys, "argv", ["glm5-serve", *words]),
        contextlib.redirect_stdout(made),
        contextlib.redirect_stderr(made),
        _inside(folder),
    ):
        cli._run()
    return COLOUR.sub("", made.getvalue()) if columns else made.getvalue()


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
