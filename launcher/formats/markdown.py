"""What stands between the fences of Markdown: each block of a text that has some. Pure."""

from __future__ import annotations

import re

MOST = 100  # blocks of a text
FENCE = re.compile(
    r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL
)

# Code within a paragraph, whose lines are one, or on lines of its own between two marks.
_INLINE = re.compile(
    r"(?<![\w`\\=\"'(])`((?:[^`\n]|\n(?![ \t]*(?:\n|[-*+>#][ \t]|\d{1,9}[.)][ \t])))+)`(?!`)"
    r"|^[ \t]*`[ \t]*\n([^`]+)^[ \t]*`[ \t]*$",
    re.MULTILINE,
)
_OPTION = re.compile(r"\s--?[A-Za-z]")
_SETS = re.compile(r"^[ \t]*(?:[$>%][ \t]+)?(?:export[ \t]+)?[A-Za-z_]\w*=\S", re.MULTILINE)
_BREAK = re.compile(r"\\?\n")


def blocks(text: str) -> list[tuple[int, int]]:
    """Where each block begins and ends that has an option, or sets what others may read; none where
    none has an option.
    """
    found = [*FENCE.finditer(text)]
    if not any("--" in one[2] for one in found):
        return []
    return [one.span(2) for one in found if "--" in one[2] or _SETS.search(one[2])][:MOST]


def inline(text: str, sought: re.Pattern[str]) -> list[tuple[int, str]]:
    """Each code in a paragraph that has what is sought, and options: where it begins, and the code
    with as many characters, on one line.
    """
    made = []
    for found in _INLINE.finditer(text):
        code = found[found.lastindex or 0]
        if _OPTION.search(code) and sought.search(code):
            if found.lastindex == 1:
                code = _BREAK.sub(lambda end: " " * len(end[0]), code)
            made.append((found.start(found.lastindex or 0), code))
    return made[:MOST]


def blanked_blocks(text: str) -> str:
    """Only what stands outside of fences."""
    return FENCE.sub(blanked_match, text)


def blanked_match(found: re.Match[str]) -> str:
    """As many blanks as there are characters, lines kept."""
    return blanked(found[0])


def blanked(text: str) -> str:
    """As many blanks as there are characters, lines kept."""
    return re.sub(r"[^\n]", " ", text)
