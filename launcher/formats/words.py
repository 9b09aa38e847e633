"""Words of a launch, and where in the author's text each of their characters stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

BLANKS = " \t\r\n"


@dataclass(frozen=True)
class Piece:
    """Characters that stand together.

    `at`: where in the source, in characters; None for what was computed. Not `known`: filled in
    from outside, and kept as it is written. `fixed`: no shell splits it at blanks.
    """

    text: str
    at: int | None = None
    known: bool = True
    fixed: bool = True

    def part(self, start: int, end: int) -> Piece:
        """Some of its characters."""
        at = None if self.at is None else self.at + start
        return replace(self, text=self.text[start:end], at=at)


Text = tuple[Piece, ...]


def text_of(pieces: Iterable[Piece]) -> str:
    """What the pieces say."""
    return "".join([piece.text for piece in pieces])


@dataclass(frozen=True)
class Word:
    """One argument of a program, or the value of a variable."""

    pieces: Text

    @classmethod
    def of(cls, text: str) -> Word:
        """A word that stands nowhere."""
        return cls((Piece(text),))

    @property
    def value(self) -> str:
        """As the program gets it; what comes from outside as it is written."""
        return text_of(self.pieces)

    @property
    def known(self) -> bool:
        """Whether nothing in it comes from outside."""
        return all(piece.known for piece in self.pieces)

    @property
    def span(self) -> tuple[int, int] | None:
        """Where all of it stands in a row in the source; None where it does not."""
        seen = [piece for piece in self.pieces if piece.text]
        if not seen or any(piece.at is None for piece in seen):
            return None
        end = seen[0].at
        for piece in seen:
            if piece.at != end:
                return None
            end = (end or 0) + len(piece.text)
        return (seen[0].at or 0, end or 0)


def rest_of(word: Word, start: int) -> Word:
    """The rest of a word behind so many characters."""
    made: list[Piece] = []
    for piece in word.pieces:
        if start < len(piece.text) or (start <= 0 and not piece.text):
            made.append(piece.part(max(start, 0), len(piece.text)))
        start -= len(piece.text)
    return Word(tuple(made) or (Piece(""),))


def split(text: Text) -> Iterator[Word]:
    """The words that a shell makes of an expansion: split at the blanks of what is not `fixed`."""
    word: list[Piece] = []
    for piece in text:
        if piece.fixed:
            word.append(piece)
            continue
        at = 0
        for start, end in _between_blanks(piece.text):
            if start > at and word:
                yield Word(tuple(word))
                word = []
            word.append(piece.part(start, end))
            at = end
        if at < len(piece.text) and word:
            yield Word(tuple(word))
            word = []
    if word:
        yield Word(tuple(word))


def _between_blanks(text: str) -> Iterator[tuple[int, int]]:
    start = None
    for at, char in enumerate(text):
        if char in BLANKS:
            if start is not None:
                yield start, at
            start = None
        elif start is None:
            start = at
    if start is not None:
        yield start, len(text)


def moved(word: Word, offset: int | None) -> Word:
    """A word of a part of a text that begins so many characters further on; None: nowhere."""
    return Word(
        tuple(
            replace(piece, at=None if offset is None or piece.at is None else piece.at + offset)
            for piece in word.pieces
        )
    )


def values(words: Sequence[Word]) -> list[str]:
    """What each of them says."""
    return [word.value for word in words]
