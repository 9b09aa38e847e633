"""Lists of quoted words, as programs have them that start others: Python, JavaScript, Go, HCL.

No language is parsed: a word in quotes is known, and so is a name that the text gives one such
word, and a number; anything else between two commas comes from outside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from launcher.formats import launches
from launcher.formats.launches import Launch
from launcher.formats.words import Piece, Text, Word

MOST = 20_000  # parts of a text
_PART = re.compile(
    r"(?P<quoted>[rbfuRBFU]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))"
    r"|(?P<open>[\[({])|(?P<close>[\])}])|(?P<comma>,)|(?P<comment>(?<!\S)(?:#|//)[^\n]*)"
    r"|(?P<other>[^\s\[\](){},\"']+|[\"'])",
    re.DOTALL,
)
_SET = re.compile(r"(\w+)[ \t]*(?::[^=\n]{0,40})?:?=[ \t]*$")
_GROWS = re.compile(r"(\w+)[ \t]*(?:\+=|\.(?:extend|append|push)\([ \t]*)[ \t]*\[?$")
_ENVIRON = re.compile(r"""environ\[["'](\w+)["']\][ \t]*=[ \t]*["']([^"'\n]*)["']""")
_ENV = re.compile(r"\benv[ \t]*=[ \t]*\{([^{}]{0,2000})\}")
_PAIR = re.compile(r"""["'](\w+)["'][ \t]*:[ \t]*["']([^"'\n]*)["']""")
_CODE = re.compile(r"^[ \t]*(?:import \w|from [\w.]+ import |def \w+\(|class \w+)", re.MULTILINE)
_OUTSIDE = re.compile(r"\{[^{}\n]*\}")
_CONSTANT = re.compile(
    r"^[ \t]*(?:const[ \t]+|let[ \t]+|var[ \t]+)?([A-Za-z_]\w*)[ \t]*(?::[ \t]*\w+[ \t]*)?=[ \t]*"
    r"(?:([\"'])((?:(?!\2)[^\\\n])*)\2|(\d+(?:\.\d+)?))[ \t]*;?[ \t]*(?:(?:#|//)[^\n]*)?$",
    re.MULTILINE,
)
_NAMED = re.compile(r"(?:str\()?[ \t]*(\w+)[ \t]*\)?")
Constants = dict[str, str]


@dataclass
class _Open:
    """Brackets that are being read: their items, each as it is said so far."""

    start: int
    items: list[list[re.Match[str]]] = field(default_factory=lambda: [[]])
    ends: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class _List:
    """A list of words, and the name that it gets or adds to."""

    words: tuple[Word, ...]
    start: int
    name: str
    grows: bool


def is_code(text: str) -> bool:
    """Whether a text is Python's."""
    return _CODE.search(text) is not None


def read(text: str) -> Iterator[Launch]:
    """The launches of a text whose words stand one by one, with what is added to them later."""
    form = "python" if is_code(text) else "list"
    tables = [found[1] for found in _ENV.finditer(text)]
    set_ = [*_ENVIRON.finditer(text), *(pair for one in tables for pair in _PAIR.finditer(one))]
    env = {found[1]: Word((Piece(found[2]),)) for found in set_}
    made: list[tuple[_List, Launch]] = []
    for one in _lists(text, _constants(text)):
        if one.grows:
            made = [
                (first, replace(launch, arguments=(*launch.arguments, *one.words)))
                if first.name == one.name
                else (first, launch)
                for first, launch in made
            ]
        elif len(one.words) > 2 and (found := launches.of_words(one.words, env, form)):
            line = text.count("\n", 0, one.start) + 1
            made.append((one, replace(found, line=line, hidden={})))
    yield from (launch for _, launch in made)


def _constants(text: str) -> Constants:
    """The names that get one word or number, and nothing else anywhere."""
    found = {one[1]: one[3] if one[2] else one[4] for one in _CONSTANT.finditer(text)}
    given = Counter(re.findall(r"\b(\w+)[ \t]*(?::[^=\n,(){}]{0,40})?[-+*/|]?=(?!=)", text))
    return {name: value for name, value in found.items() if given[name] == 1}


def _value(said: str, constants: Constants) -> str | None:
    """What `NAME`, `str(NAME)` or `8` comes to; None where nobody here knows."""
    found = _NAMED.fullmatch(said.strip())
    if not found or said.count("(") != said.count(")"):
        return None
    return found[1] if found[1].isdecimal() else constants.get(found[1])


@dataclass(frozen=True)
class Quoted:
    """A whole command in quotes, what is added to it, where it begins, and whether `{name}` in it
    is filled in.
    """

    text: Text
    start: int
    is_filled: bool
    form: str

    def told(self, launch: Launch) -> Launch:
        """A launch of it."""
        words = (_outside(word) if self.is_filled else word for word in launch.arguments)
        return replace(launch, arguments=tuple(words), form=self.form)


def scripts(text: str) -> list[Quoted]:
    """The commands that Python has in quotes; in another text those that stand in brackets
    alone.
    """
    made: list[Quoted] = []
    of_python = is_code(text)
    for found in (one for one in _PART.finditer(text) if one["quoted"]):
        before = text[max(0, found.start() - 20) : found.start()].rstrip()
        after = text[found.end() : found.end() + 20].lstrip()
        start, end = _inside(found)
        is_filled = "f" in found[0][:2].lower() or after.startswith(".format(")
        if made and before.endswith("+=") and text[start:end].lstrip().startswith("--"):
            more = (*made[-1].text, Piece(" "), *_unescaped(found))
            made[-1] = replace(made[-1], text=more, is_filled=made[-1].is_filled or is_filled)
        elif (
            (of_python or (before.endswith("[") and after.startswith("]")))
            and launches.SOUGHT.search(text, start, end)
            and re.search(r"\s", text[start:end].strip())
        ):
            made.append(
                Quoted(_unescaped(found), start, is_filled, "python" if of_python else "list")
            )
    return made


def _outside(word: Word) -> Word:
    if not _OUTSIDE.search(word.value):
        return word
    return Word(tuple(replace(piece, known=False) for piece in word.pieces))


def _lists(text: str, constants: Constants) -> Iterator[_List]:
    """Every list that is closed, in the order of their ends."""
    opened: list[_Open] = []
    for number, found in enumerate(_PART.finditer(text)):
        if number > MOST:
            return
        match found.lastgroup:
            case "open":
                opened.append(_Open(found.start()))
            case "close" if opened:
                frame = opened.pop()
                yield from _closed(text, frame, constants)
                if opened:
                    opened[-1].items[-1].append(found)
            case "comma" if opened:
                opened[-1].items.append([])
            case "comment":
                continue
            case _ if opened:
                opened[-1].items[-1].append(found)


def _closed(text: str, frame: _Open, constants: Constants) -> Iterator[_List]:
    before = text[max(0, frame.start - 80) : frame.start + 1]
    bare = before[:-1]
    named, grows = _SET.search(bare), _GROWS.search(before if before[-1:] == "(" else bare)
    words = tuple(word for item in frame.items if item for word in _words(text, item, constants))
    is_own = bool(words) and not (grows and before[-1:] == "(" and _is_list(text, frame.start + 1))
    if is_own and (grows or any(word.known for word in words)):
        found = grows or named
        name = found[1] if found else ""
        yield _List(words, frame.start, name, grows is not None)


def _is_list(text: str, at: int) -> bool:
    return text[at : at + 40].lstrip()[:1] == "["


def _words(text: str, item: Sequence[re.Match[str]], constants: Constants) -> Iterator[Word]:
    """The word of an item: what is quoted is known; `*more` and calls are from outside."""
    if all(part["quoted"] for part in item):
        pieces = [piece for part in item for piece in _quoted(part, constants)]
        yield Word(tuple(pieces) or (Piece(""),))
        return
    start, end = item[0].start(), item[-1].end()
    said = " ".join(text[start:end].split())
    value = _value(said, constants)
    known = None if value is None else Piece(value)
    yield Word((known or Piece(said, start, known=False),))


def _quoted(found: re.Match[str], constants: Constants) -> Text:
    pieces = _unescaped(found)
    if "f" in found[0][:2].lower():
        return tuple(part for piece in pieces for part in _filled(piece, constants))
    return pieces


def _unescaped(found: re.Match[str]) -> Text:
    start, end = _inside(found)
    said = found.string[start:end]
    if re.search(r"\\[\"']", said):
        return (Piece(re.sub(r"\\([\"'])", r"\1", said)),)
    return (Piece(said, start),)


def _inside(found: re.Match[str]) -> tuple[int, int]:
    said = found[0].lstrip("rbfuRBFU")
    length = 3 if said[:3] in ('"""', "'''") else 1
    return found.end() - len(said) + length, found.end() - length


def _filled(piece: Piece, constants: Constants) -> Iterator[Piece]:
    at = 0
    for found in _OUTSIDE.finditer(piece.text) if piece.known else ():
        if found.start() > at:
            yield piece.part(at, found.start())
        value = _value(found[0][1:-1], constants)
        open_ = replace(piece.part(*found.span()), known=False)
        yield open_ if value is None else Piece(value)
        at = found.end()
    if at < len(piece.text) or not at:
        yield piece.part(at, len(piece.text))
