"""Which name somebody may have meant: one that he mistyped, never another word. Pure.

Words are compared part by part, `-` and `_` alike and capitals as small letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MOST = 2  # slips of a name that is still the same
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # of a keyboard, each half a key further right
VOWELS = "aeiou"
LONGEST = 100  # letters; no option is called by as many

Parts = tuple[str, ...]


def near(word: str, names: Iterable[str]) -> str | None:
    """The name of which a word is a slip: letters swapped, missing or doubled, a key beside the
    right one, `_` for `-`; None for another word, or where two names are as near.
    """
    if len(word) > LONGEST:
        return None
    told = _parts(word)
    near = [(count, name) for name in names if (count := _slips(told, _parts(name))) is not None]
    least = min((count for count, _ in near), default=0)
    nearest = [name for count, name in near if count == least]
    return nearest[0] if len(nearest) == 1 else None


@lru_cache(maxsize=4096)  # more than there are names of options
def _parts(name: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[-_]+", name.lower()) if part)


def _slips(told: Parts, meant: Parts) -> int | None:
    """How many slips make the one of the other; None for more than a few."""
    if abs(sum(map(len, told)) - sum(map(len, meant))) > MOST:  # a slip is a letter, or none
        return None
    if "".join(told) == "".join(meant):  # a dash is missing, or one too many
        return int(told != meant)
    if len(told) != len(meant):
        return None
    counts = [_of_part(*pair) for pair in zip(told, meant, strict=True)]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) and sum(known) <= MOST else None


def _of_part(told: str, meant: str) -> int | None:
    """The same for a part of a name. Another digit is another thing: fp4 is no slip of fp8."""
    if told == meant:
        return 0
    if re.findall(r"\d", told) != re.findall(r"\d", meant):
        return None
    if len(told) == len(meant):
        return 1 if _is_swapped(told, meant) or _is_beside(told, meant) else None
    if abs(len(told) - len(meant)) == 1:
        return 1 if _is_missing(*sorted((told, meant), key=len)) else None
    return 2 if len(meant) - len(told) == 2 and _is_shortened(told, meant) else None


def _is_swapped(told: str, meant: str) -> bool:
    at = _first_difference(told, meant)
    return told[at : at + 2] == meant[at : at + 2][::-1] and told[at + 2 :] == meant[at + 2 :]


def _is_beside(told: str, meant: str) -> bool:
    """One letter is that of a key beside the right one, or a vowel is another."""
    at = _first_difference(told, meant)
    if len(told) < 5 or told[at + 1 :] != meant[at + 1 :]:
        return False
    pair = (told[at], meant[at])
    return all(letter in VOWELS for letter in pair) or _are_neighbours(*pair)


def _are_neighbours(one: str, other: str) -> bool:
    places = {
        key: (row, at + row / 2) for row, keys in enumerate(ROWS) for at, key in enumerate(keys)
    }
    if not {one, other} <= places.keys():
        return False
    (row, at), (other_row, other_at) = places[one], places[other]
    return abs(row - other_row) <= 1 and abs(at - other_at) <= 1


def _is_missing(short: str, long: str) -> bool:
    """One letter more; in words of two and three letters it doubles the one before it."""
    at = _first_difference(short, long)
    is_doubled = at > 0 and long[at] == long[at - 1]
    return short[at:] == long[at + 1 :] and (len(long) > 3 or is_doubled)


def _is_shortened(told: str, meant: str) -> bool:
    """Letters are missing within: `lvl` for `level`."""
    letters = iter(meant)
    has_all = all(letter in letters for letter in told)
    return len(told) > 2 and has_all and (told[0], told[-1]) == (meant[0], meant[-1])


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
