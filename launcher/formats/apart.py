"""A text with fences of Markdown, in parts that a parser of scripts understands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from launcher.formats.bash import Script
from launcher.formats.markdown import blanked, blocks
from launcher.formats.masking import unprompted

Span = tuple[int, int]


def apart(text: str, sought: re.Pattern[str]) -> Iterator[str]:
    """The blocks that are scripts together, for one sets what another reads; then each that is
    none and has what is sought, alone: it would take what comes behind it along. Each part has the
    characters of the text where they stand there, and blanks for all others.
    """
    found = blocks(unprompted(text))
    if len(found) < 2 or not Script(text).root.has_error:
        yield text
        return
    odd = [one for one in found if Script(text[slice(*one)]).root.has_error]
    yield _only(text, [one for one in found if one not in odd])
    for one in odd:
        if sought.search(text, *one):
            yield _only(text, [one])


def _only(text: str, spans: Sequence[Span]) -> str:
    made = blanked(text)
    for start, end in spans:
        made = made[:start] + text[start:end] + made[end:]
    return made
