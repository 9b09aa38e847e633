"""Names that are replaced wherever they stand alone, however many there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

MOST = 10_000  # names
LONGEST = 255  # characters of a name, as DNS has it
MOST_PARTS = (
    32  # words of a name, and the marks between them: ip-10-0-0-1.us-west-2.compute.internal has 21
)
FEW = 100  # words that names begin with
_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[^\W_]+|[\W_]")
_END = (  # where a name ends in the tree: what stands for it, and its letters if their case matters
    ""
)


class Names:
    """A tree of names, a word or mark at each branch: a text is gone through once for all of
    them.
    """

    def __init__(self) -> None:
        self._tree: dict[str, Any] = {}
        self._count = 0

    @property
    def is_full(self) -> bool:
        """Whether it learns no more."""
        return self._count >= MOST

    def learn(self, name: str, instead: str, *, any_case: bool = True) -> None:
        """Replace a name from now on. One that is longer than any is not learned."""
        parts = _PART.findall(name.strip("._-")) if len(name) <= LONGEST else []
        if not 0 < len(parts) <= MOST_PARTS or self.is_full:
            return
        branch = self._tree
        for part in parts:
            branch = branch.setdefault(part.lower(), {})
        self._count += _END not in branch
        branch[_END] = instead, None if any_case else "".join(parts)

    def replace(self, text: str) -> str:
        """A text in which something else stands for each name, the longest where several begin."""
        parts, done = [], 0
        for start, end, instead in self._found(text):
            parts += [text[done:start], instead]
            done = end
        return "".join(parts) + text[done:] if parts else text

    def _found(self, text: str) -> Iterator[tuple[int, int, str]]:
        done = 0
        for word in self._beginnings(text):
            branch = self._tree.get(word[0].lower()) if word.start() >= done else None
            if branch and (found := self._follow(branch, text, word)):
                done, instead = found
                yield word.start(), done, instead

    def _beginnings(self, text: str) -> Iterator[re.Match[str]]:
        """The words with which a name may begin.

        The few that most know of are found faster by themselves.
        """
        small = text.lower()
        if len(self._tree) > FEW or len(small) != len(text):
            return _WORD.finditer(text)
        begun = [
            match for name in self._tree if name in small for match in _places(name).finditer(small)
        ]
        starts = sorted({match.start() for match in begun})
        return filter(None, (_WORD.match(text, start) for start in starts))

    def _follow(
        self, branch: dict[str, Any], text: str, part: re.Match[str]
    ) -> tuple[int, str] | None:
        """The end of the longest name that begins with a word, and what stands for it."""
        start, found = part.start(), None
        while True:
            if _END in branch:
                instead, exact = branch[_END]
                found = (
                    (part.end(), instead) if exact in (None, text[start : part.end()]) else found
                )
            following = _PART.match(text, part.end())
            if not following or (branch := branch.get(following[0].lower(), {})) == {}:
                return found
            part = following


@lru_cache(maxsize=FEW)
def _places(word: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(word)}(?<![^\W_]{'.' * len(word)})(?![^\W_])", re.DOTALL)
