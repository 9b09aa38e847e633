"""One change of a launch, and the ways in which a text may say it: whoever asks reads each back,
and takes the first that means just that.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from launcher.formats.launches import Launch
from launcher.formats.words import Word

QUOTES = "\"'"
_TOKEN = re.compile(r"""(?:[ \t]|\\\r?\n)+(?:"[^"\n]*"|'[^'\n]*'|[^\s'"\\]+)""")
_CONTINUED = re.compile(r"[ \t]*\\[ \t]*(?=\r?\n?\Z)")


@dataclass(frozen=True)
class Edit:
    """One change, and why: `words` in the place of `count` arguments from `at` on, or a variable's
    new value, None to take it away.
    """

    why: str
    at: int = 0
    count: int = 0
    words: tuple[str, ...] = ()
    variable: str = ""
    value: str | None = None

    def applied(self, launch: Launch) -> Launch:
        """The launch after it; words that stay keep their places in the text."""
        if self.variable:
            variables = dict(launch.variables)
            if self.value is None:
                del variables[self.variable]
            else:
                variables[self.variable] = Word.of(self.value)
            return replace(launch, variables=variables)
        before, after = launch.arguments[: self.at], launch.arguments[self.at + self.count :]
        old = {word.value: word for word in launch.arguments[self.at : self.at + self.count]}
        new = (old.get(text) or Word.of(text) for text in self.words)
        again = launch.again if self.at >= launch.again else 0
        return replace(launch, arguments=(*before, *new, *after), again=again)


def candidates(text: str, launch: Launch, edit: Edit) -> Iterator[str]:
    """The text with new words for a launch's arguments, in each way that suits what stands around.

    Words that are replaced one for one stay where they are; more are put behind them, fewer taken
    out with the lines, list items or commas that they leave empty.
    """
    old, new = launch.arguments[edit.at : edit.at + edit.count], edit.words
    shared = min(len(old), len(new))
    made = text
    for at in reversed(range(shared)):  # from the end: what stands before keeps its place
        if old[at].value != new[at]:
            changed = replaced(made, old[at], new[at])
            if changed is None:
                return
            made = changed
    if len(old) > shared:
        yield from _without(made, old, shared)
    elif len(new) > shared:
        yield from _with(made, launch.arguments[: edit.at + shared], new[shared:])
    else:
        yield made


# -- where words stand -----------------------------------------------------------------------------


def extent(text: str, word: Word) -> tuple[int, int] | None:
    """Where a word stands with its quotes; None where it does not stand in one place."""
    seen = [piece for piece in word.pieces if piece.text][is_key(word) :]
    if not seen or any(piece.at is None for piece in seen):
        return None
    start, end = seen[0].at or 0, seen[0].at or 0
    inside = ""
    for piece in seen:
        between = text[end : piece.at]
        if (piece.at or 0) < end or between.strip(QUOTES + "\\\n"):
            return None
        inside += between
        end = (piece.at or 0) + len(piece.text)
    for quote in QUOTES:
        if inside.count(quote) % 2 and text[end : end + 1] == quote:
            end += 1
    while start and text[start - 1] in QUOTES and text[end : end + 1] == text[start - 1]:
        start, end = start - 1, end + 1
    return start, end


def is_default(text: str, at: int) -> bool:
    """Whether it stands in `${name:-...}`: to take it away would leave the variable."""
    return text.rfind("${", 0, at) > text.rfind("}", 0, at)


def is_key(word: Word) -> bool:
    """Whether it is an option that a table names without its dashes."""
    first = word.pieces[0] if word.pieces else None
    return bool(first and len(word.pieces) > 1 and first.text == "--" and first.at is None)


def _extents(text: str, words: Sequence[Word]) -> list[tuple[int, int]] | None:
    """Where each of a flag's words stands; values that come from elsewhere by what stands for
    them.
    """
    found = extent(text, words[0])
    if not found or is_default(text, found[0]):
        return None
    made = [found]
    for word in words[1:]:
        own = extent(text, word)
        if not own or own[0] < made[-1][1] or is_default(text, own[0]):
            token = _TOKEN.match(text, made[-1][1])
            own = (token.end() - len(token[0].lstrip(" \t\\\r\n")), token.end()) if token else None
        if own is None:
            return None
        made.append(own)
    return made


def replaced(text: str, word: Word, new: str) -> str | None:
    """The text with another value of a word; what is the same before a `=` stays as it is."""
    if is_key(word):
        place = extent(text, word)
        return text[: place[0]] + new.removeprefix("--") + text[place[1] :] if place else None
    name, equals, _ = word.value.partition("=")
    if equals and new.startswith(f"{name}="):
        skipped = len(name) + 1
        behind, new = _behind(word, skipped), new[skipped:]
        if behind.span:
            start, end = behind.span
            return text[:start] + new + text[end:]
    if word.span:
        start, end = word.span
        return text[:start] + new + text[end:]
    place = extent(text, word)
    return text[: place[0]] + shlex.quote(new) + text[place[1] :] if place else None


def _behind(word: Word, skipped: int) -> Word:
    pieces = []
    for piece in word.pieces:
        if skipped < len(piece.text):
            pieces.append(piece.part(max(skipped, 0), len(piece.text)))
        skipped -= len(piece.text)
    return Word(tuple(pieces))


# -- less words ------------------------------------------------------------------------------------


def _without(text: str, words: Sequence[Word], kept: int) -> Iterator[str]:
    places = _extents(text, words)
    if not places:
        return
    gone = places[kept:]
    if is_key(words[0]) and not kept:
        yield from cut(text, gone[0][0], _entry_end(text, gone))
    gaps = (text[one[1] : other[0]] for one, other in pairwise(gone))
    if not any(gap.strip(" \t\r\n\\") for gap in gaps):
        yield from cut(text, gone[0][0], gone[-1][1])
    for way in range(3):
        made: str | None = text
        for start, end in reversed(gone):
            ways = [*cut(made or "", start, end)]
            made = ways[min(way, len(ways) - 1)] if made is not None and ways else None
        if made is not None:
            yield made


def _entry_end(text: str, places: Sequence[tuple[int, int]]) -> int:
    """Where a table's entry ends: behind its value, that of a switch as well."""
    if len(places) > 1:
        return places[-1][1]
    found = re.match(r"[ \t]*:[ \t]*[\w\"']+", text[places[-1][1] :])
    return places[-1][1] + (found.end() if found else 0)


def cut(text: str, start: int, end: int) -> Iterator[str]:
    """The text without some characters, nor the line or the comma that would be left of them."""
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    last = len(text) if last < 0 else last
    left, right = text[first:start], text[end:last]
    if left.strip() in ("", "-") and (seen := re.fullmatch(r"[\s,]*\\?\s*(#.*)?", right)):
        before, after = text[:first], text[last + 1 :]
        if "\\" not in right.partition("#")[0]:
            before = _CONTINUED.sub("", before)
        if seen[1]:  # what the author remarked there stays
            yield f"{before}{left.replace('-', ' ')}{seen[1]}\n{after}"
        whole = [before + after, re.sub(r",([ \t]*\\?\r?\n)\Z", r"\1", before) + after]
        was_last = after.lstrip(" \t\r\n\\").startswith("]")
        yield from reversed(whole) if was_last else whole
    if comma := re.match(r"\s*,\s*", text[end:]):
        yield text[:start] + text[end + comma.end() :]
    if comma := re.search(r",\s*\Z", text[:start]):
        yield text[: comma.start()] + text[end:]
    bare = text[:start].rstrip(" \t") if left.strip() else text[:start]
    yield bare + (text[end:] if left.strip() else text[end:].lstrip(" \t"))
    if left.strip() and (line := re.match(r"[ \t]*\\\r?\n[ \t]*", text[end:])):
        yield text[:start] + text[end + line.end() :]


# -- more words ------------------------------------------------------------------------------------


def _with(text: str, before: Sequence[Word], new: Sequence[str]) -> Iterator[str]:
    """New words behind a flag, or behind the model that stands before all of them."""
    flags = (at for at in reversed(range(len(before))) if before[at].value[:1] == "-")
    at = next(flags, len(before) - 1)
    places = _extents(text, before[at:]) if before else None
    if not places:
        return
    start, end = places[-1]
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    last = len(text) if last < 0 else last
    left, right = text[first:start], text[end:last]
    quote = text[end - 1] if text[end - 1] in QUOTES else ""
    joined = " ".join(map(shlex.quote, new))
    if is_key(before[at]):
        value = " ".join(new[1:]) or "true"
        first = text.rfind("\n", 0, places[0][0]) + 1
        yield f"{text[:last]}\n{text[first : places[0][0]]}{new[0][2:]}: {value}{text[last:]}"
        return
    yield from _as_items(text, left, last, quote, new)
    if quote and re.match(r"\s*[,\]]", text[end:]):
        gap = f",\n{left}" if not left.strip() else ", "
        yield text[:end] + "".join(f"{gap}{quote}{word}{quote}" for word in new) + text[end:]
        yield f"{text[:last]}\n{left}{quote}{joined}{quote},{text[last:]}"
    if re.fullmatch(r"\s*\\\s*", right):
        following = text[last + 1 :].split("\n", 1)[0]
        indent = re.match(r"\s*", following if following.strip() else left)
        yield f"{text[:last]}\n{indent[0] if indent else ''}{joined} \\{text[last:]}"
    if not right.strip() and not left.strip():
        goes_on = " \\" if _CONTINUED.search(text[:first].removesuffix("\n")) else ""
        yield f"{text[:end]}{goes_on}\n{left}{joined}{text[end:]}"
    yield f"{text[:end]} {joined}{text[end:]}"


def _as_items(text: str, left: str, last: int, quote: str, new: Sequence[str]) -> Iterator[str]:
    """As items of a YAML list: one for each word, or one for all."""
    if left.strip() != "-":
        return
    mark = left.rstrip() + " "
    for items in (new, [" ".join(new)]):
        lines = "".join(f"\n{mark}{_yaml(item, quote)}" for item in items)
        yield text[:last] + lines + text[last:]


def _yaml(text: str, quote: str) -> str:
    """A word that YAML takes for text."""
    is_text = re.fullmatch(r"[A-Za-z_./-][\w./:=+-]*", text) and not re.fullmatch(
        r"(?i)true|false|yes|no|on|off|null", text
    )
    mark = quote or ("" if is_text else '"')
    return f"{mark}{text}{mark}"
