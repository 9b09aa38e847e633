r"""The one place that makes words of others printable: logs, names of files, answers, profiles.

A terminal obeys what it is shown, and a line ends where its writer says: so what no reader would
see as it is stands there as an escape (`\x1b`, `\u202e`), and a line is one line. Standard library
alone.
"""

from __future__ import annotations

import re

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_KEPT = re.compile(r"(\r\n|\n|\t)")
LONGEST = 1000  # characters of one thing that are shown
_LINE_ENDS = "\u2028\u2029"


def line(text: str) -> str:
    """One line: line ends, control characters and what turns the writing round are shown; a tab is
    blanks.
    """
    return text if text.isprintable() else "".join(map(_shown, text.expandtabs()))


def lines(text: str) -> str:
    """Lines that are meant as such."""
    return "\n".join(map(line, text.split("\n")))


def logged(text: str) -> str:
    """A line of a log: colours, which say nothing there, are left out, and what else a terminal
    obeys is shown.
    """
    return line(_COLOUR.sub("", text))


def program(text: str) -> str:
    """A program's text for who reads it: ends of lines of either kind and tabs stay as they are."""
    return "".join(
        part if part in ("\r\n", "\n", "\t") else line(part) for part in _KEPT.split(text)
    )


def cut(text: str, most: int = LONGEST) -> str:
    """As much of a text as anybody reads, and how much more there is."""
    left = len(text) - most
    return text if left <= 0 else f"{text[:most]}… ({left:,} more characters)"


def odd(text: str) -> str:
    """The first character of a text, line ends and tabs aside, that no reader would see: shown.

    "" without one.
    """
    if text.isprintable():
        return ""
    return next(
        (
            shown
            for char in text
            if char not in "\n\t" and (shown := _shown(char)) not in (char, " ")
        ),
        "",
    )


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    if char > "\x9f" and char.isspace() and char not in _LINE_ENDS:
        return " "
    return char.encode("unicode_escape").decode()
