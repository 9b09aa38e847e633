"""What stands between the fences of Markdown: each block of a text that has some. Pure."""

from __future__ import annotations

import re

MOST = 100  # blocks of a text
FENCE = re.compile(
    r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL
)

# code within a line, or on lines of its own between two marks
_INLINE = re.compile(
    r"(?<![\w`\\=\"'(])`([^`\n]+)`(?!`)|^[ \t]*`[ \t]*\n([^`]+)^[ \t]*`[ \t]*$", re.MULTILINE
)


def blocks(text: str) -> list[tuple[int, int]]:
    """Where each block begins and ends, those that have no option left out."""
    return [found.span(2) for found in FENCE.finditer(text) if "--" in found[2]][:MOST]


def inline(text: str, sought: re.Pattern[str]) -> list[tuple[int, int]]:
    """Where each code in a line begins and ends that has what is sought, and options."""
    spans = (found.span(found.lastindex or 0) for found in _INLINE.finditer(text))
    return [(a, b) for a, b in spans if "--" in text[a:b] and sought.search(text, a, b)][:MOST]


def blanked_blocks(text: str) -> str:
    """Only what stands outside of fences."""
    return FENCE.sub(blanked_match, text)


def blanked_match(found: re.Match[str]) -> str:
    """As many blanks as there are characters, lines kept."""
    return blanked(found[0])


def blanked(text: str) -> str:
    """As many blanks as there are characters, lines kept."""
    return re.sub(r"[^\n]", " ", text)
