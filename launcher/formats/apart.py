"""A text with fences of Markdown, in parts that are scripts of their own. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from launcher.formats.bash import Script
from launcher.formats.markdown import blanked, blanked_blocks, blocks
from launcher.formats.masking import unprompted

Span = tuple[int, int]
_HEADING = re.compile(r"^#{1,6}[ \t]", re.MULTILINE)
_SETS = re.compile(r"[ \t]*(?:[$>%][ \t]+)?(?:export[ \t]+)?[A-Za-z_]\w*=\S")
_EXPORTS = re.compile(r"^[ \t]*(?:[$>%][ \t]+)?export[ \t]+\w+=", re.MULTILINE)


def apart(text: str, sought: re.Pattern[str]) -> Iterator[str]:
    """The blocks that go together, for one sets what another reads; then each of them that is no
    script and has what is sought, alone: it would take what comes behind it along. Each part has
    the characters of the text where they stand there, and blanks for all others.
    """
    found = blocks(unprompted(text))
    together = [*_together(text, found, sought)]
    if len(found) < 2 or (len(together) < 2 and not Script(text).root.has_error):
        yield text
        return
    for group in together:
        odd = [one for one in group if Script(text[slice(*one)]).root.has_error]
        yield _only(text, [one for one in group if one not in odd])
        for one in odd:
            if sought.search(text, *one):
                yield _only(text, [one])


def commands(text: str, sought: re.Pattern[str]) -> str:
    """Only the lines of a text that start what is sought, or set what it may read, where all of it
    is no script; "" where it is one.
    """
    if not (sought.search(text) and Script(text).root.has_error):
        return ""
    kept: list[Span] = []
    at, is_open = 0, False
    for line in text.splitlines(keepends=True):
        if is_open or sought.search(line) or _SETS.match(line):
            kept.append((at, at + len(line)))
            is_open = line.rstrip("\r\n").endswith("\\")
        at += len(line)
    return _only(text, kept)


def _together(
    text: str, found: Sequence[Span], sought: re.Pattern[str]
) -> Iterator[Sequence[Span]]:
    """The blocks in groups: those of the sections up to one with a launch. What is exported there
    is of no launch behind that section, which may be of another host; a value that is only set is.
    """
    if not any(_EXPORTS.search(text[slice(*one)]) for one in found):
        yield found
        return
    ends = [one.start() for one in _HEADING.finditer(blanked_blocks(text))]
    kept: list[Span] = []
    group: list[Span] = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        own = [one for one in found if start <= one[0] < end]
        group += own
        if any(sought.search(text, *one) for one in own):
            yield [*kept, *group]
            plain = (one for one in group if not sought.search(text, *one))
            kept += [one for one in plain if not _EXPORTS.search(text[slice(*one)])]
            group = []
    if group:
        yield [*kept, *group]


def _only(text: str, spans: Sequence[Span]) -> str:
    made = blanked(text)
    for start, end in spans:
        made = made[:start] + text[start:end] + made[end:]
    return made
