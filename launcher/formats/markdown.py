"""What stands between the fences of Markdown: each block of a text that has some. Pure."""

from __future__ import annotations

import re

MOST = 100  # blocks of a text
FENCE = re.compile(
    r"^[ \t]*(```|~~~)[^\n]*\n(.*?)(?:^[ \t]*\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL
)


def blocks(text: str) -> list[tuple[int, int]]:
    """Where each block begins and ends, those that have no option left out."""
    return [found.span(2) for found in FENCE.finditer(text) if "--" in found[2]][:MOST]


def blanked_match(found: re.Match[str]) -> str:
    """As many blanks as there are characters, lines kept."""
    return blanked(found[0])


def blanked(text: str) -> str:
    """As many blanks as there are characters, lines kept."""
    return re.sub(r"[^\n]", " ", text)
