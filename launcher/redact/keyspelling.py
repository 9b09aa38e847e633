r"""A key in every spelling that a log gives it, and how to leave it out.

As it is, and each of its characters by itself as URLs write it (`%2F`, `%252f`), JSON and Python
(`\/`, `\u002f`, `\x2f`, `\057`), HTML (`&#47;`, `&sol;`), or a shell (`\=`), escaped once or
several times; in base64 (also of `user:key`) and hexadecimal digits; and with colours, NULs or ends
of lines between any two characters. A key that is reversed, encrypted, hashed, compressed, in other
case or with other words in it is not known again. A part of it is known by one of its ends: most of
it, or FEW characters with a mark behind them that the rest was cut off.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

HIDDEN = "[redacted]"
# characters that tell that a key begins: a text that ends in fewer is none that may hold half a key
FEWEST = 4
SHORTEST = 6  # characters of what is looked for in base64 or hexadecimal digits
FEW = 8  # characters of a key before such a mark
MOST_OF = 12  # characters of a key without one, and half of it at least
WIDEST = 24  # characters that one character of a key may take
_MARKS, _NAMED = (
    "-._+/=&<>\"'@:$",
    "hyphen period lowbar plus sol equals amp lt gt quot apos commat colon dollar",
)
_NAMES = dict(zip(_MARKS, _NAMED.split(), strict=True))  # as HTML has them
_ESCAPES = ("%", "\\", "&")
_HIDES = ("\n", "\r", "\x1b", "\x00")  # one of them is in all that nobody sees
_ESCAPED = re.compile(r"[%\\&]+")
# The end of a line with the blanks behind it, colours, titles.
_UNSEEN = re.compile(
    r"\n[ \t\r\n]*+|\r[ \t\r\n]*+|\x00++"
    r"|\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b\r\n]{0,200}+(?:\x07|\x1b\\))"
)
_CUT_OFF = re.compile(r"[\"']?(?:\.\.|\u2026|\*\*|\\u2026|[\[<(][\w ]{0,20}(?:cut|trunc|redact))")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*+=*+")
# what may be left of a character at the end
_CUT = re.compile(r"(?:[%\\&\x1b][^\s\x1b]{0,24}+|[ \t]++)?\Z")


class Spellings:
    """What finds secrets in texts, however they are spelled.

    The time that it takes grows with the text alone.
    """

    def __init__(self, *secrets: str, also: Iterable[str] = ()) -> None:
        """`also`: those that are looked for letter by letter alone, in neither base64 nor
        hexadecimal digits.
        """
        plain = {form for secret in secrets for form in _forms(secret)} | {
            form for it in also for form in _in_json(it)
        }
        self._base64 = {form for secret in secrets for form in _in_base64(secret)}
        self._words = tuple(sorted({*plain, *self._base64}, key=len, reverse=True))
        self._secrets = [secret for secret in secrets if len(secret) > FEW]
        self._window = WIDEST * max(map(len, self._words), default=0)
        self._ends = {word[:n][-FEWEST:] for word in self._words for n in range(1, len(word))}

    def hide(self, text: str, before: str = "", *, goes_on: bool = False) -> str:
        """`text` without the secrets, its lines kept; one may begin in `before`, the end of the
        line before. Where it `goes_on` the beginning of one at its end stays: what follows tells.
        """
        whole = f"{before}\n{text}" if before else text
        begin = at = len(whole) - len(text)
        parts = []
        for start, end in self._spans(whole, goes_on=goes_on):
            if end > begin:
                ends = whole.count("\n", max(start, begin), end)
                parts += [whole[at : max(start, at)], HIDDEN, "\n" * ends]
                at = end
        return "".join(parts) + whole[at:] if parts else text

    def half(self, text: str) -> tuple[int, int]:
        """Where at the end of a text a secret may begin, and how many of its characters stand
        there.

        One that is cut counts. None where it ends in an escape that may become the first one, or in
        nothing of it.
        """
        text = text.rstrip(" \t")
        last = text[-WIDEST:]
        if not (
            _has(last, _ESCAPES)
            or _has(last, _HIDES)
            or any(last[-n:] in self._ends for n in range(1, FEWEST + 1))
        ):
            return len(text), 0
        tail = text[-self._window :]
        if not (_has(tail, _ESCAPES) or _has(tail, _HIDES)):
            known = max(
                n for word in self._words for n in range(len(word)) if tail.endswith(word[:n])
            )
            return len(text) - known, known
        seen, places = _seen(tail)
        cut = _CUT.search(seen, max(0, len(seen) - WIDEST))
        begin, most = len(text) - len(tail) + _place(places, cut.start() if cut else len(seen)), 0
        for start, word in _begun(seen, self._words, 1, 0, len(seen)):
            known, end = _reach(word, seen, start)
            if known < len(word) and _CUT.match(seen, end):
                begin = min(begin, len(text) - len(tail) + _place(places, start))
                most = max(most, known + (end < len(seen)))
        return begin, most

    def _spans(self, text: str, *, goes_on: bool) -> list[tuple[int, int]]:
        """Where secrets stand, in order; none overlap."""
        spans, escaped, hides = [*self._as_they_are(text)], _has(text, _ESCAPES), _has(text, _HIDES)
        parts = [*self._parts(text)]
        if goes_on and parts:
            begin, known = self.half(text)
            parts = [part for part in parts if not known or part[1] <= begin]
        spans += parts
        if escaped and (not hides or "\x1b" in text):  # what looks like a title may be none
            spans += self._escaped(text)
        if hides:
            seen, places = _seen(text)
            more = [*self._as_they_are(seen), *(self._escaped(seen) if escaped else ())]
            spans += [(_place(places, start), _place(places, end - 1) + 1) for start, end in more]
        return _apart(spans)

    def _as_they_are(self, text: str) -> Iterator[tuple[int, int]]:
        for word in self._words:
            at = text.find(word)
            while at >= 0:
                end = self._end(word, text, at + len(word))
                yield at, end
                at = text.find(word, end)

    def _parts(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the beginning or the end of a secret stands."""
        for secret in self._secrets:
            enough = max(MOST_OF, len(secret) // 2)
            at = text.find(secret[:FEW])
            while at >= 0:
                end = at + _shared(secret, text[at : at + len(secret)])
                is_part = end - at >= enough or _CUT_OFF.match(text, end)
                if is_part:
                    yield at, end
                at = text.find(secret[:FEW], end if is_part else at + 1)
            rest = secret[-enough:] if len(secret) > enough else ""
            at = text.find(rest) if rest else -1
            while at >= 0:
                end, before = at + len(rest), text[max(0, at - len(secret) + enough) : at]
                yield at - _shared(secret[:-enough][::-1], before[::-1]), end
                at = text.find(rest, end)

    def _escaped(self, text: str) -> Iterator[tuple[int, int]]:
        done, longest = 0, self._window // WIDEST
        for at, stop in _near_escapes(text, longest):
            for start, word in _begun(text, self._words, FEWEST - 1, at, stop):
                known, end = _reach(word, text, start) if start >= done else (0, 0)
                if known == len(word):
                    done = self._end(word, text, end)
                    yield start, done

    def _end(self, word: str, text: str, end: int) -> int:
        """The end of what a word is part of: what is left of base64 may be of the key, too."""
        rest = _BASE64.match(text, end) if word in self._base64 else None
        return rest.end() if rest else end


@lru_cache(maxsize=64)
def spellings(*secrets: str) -> Spellings:
    """What finds these secrets."""
    return Spellings(*secrets)


def _shared(a: str, b: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = zip(a, b, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(a), len(b)))


def _forms(secret: str) -> set[str]:
    """As it is, as JSON writes it, and in hexadecimal digits."""
    digits = secret.encode("utf-8", "surrogatepass").hex()
    return _in_json(secret) | ({digits, digits.upper()} if len(secret) >= SHORTEST else set())


def _in_json(secret: str) -> set[str]:
    return {secret, json.dumps(secret)[1:-1]} - {""}


def _in_base64(secret: str) -> set[str]:
    """What is the same in base64 of all texts that have the secret in them: three words, by where
    it begins.
    """
    found = set()
    raw = secret.encode("utf-8", "surrogatepass")
    for before, first in enumerate((0, 2, 3)):
        word = b64encode(b"\0" * before + raw).decode()[first : (before + len(raw)) * 8 // 6]
        found |= {word, word.translate({43: 45, 47: 95})} if len(word) >= SHORTEST else set()
    return found


def _has(text: str, marks: Collection[str]) -> bool:
    return any(map(text.__contains__, marks))


def _near_escapes(text: str, before: int) -> Iterator[tuple[int, int]]:
    """Where something may begin that has an escape among its first `before` characters."""
    start = stop = 0
    for escapes in _ESCAPED.finditer(text):
        if escapes.start() - before > stop:
            yield start, stop
            start = escapes.start() - before
        stop = escapes.end()
    yield start, stop


def _seen(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without what nobody sees, and for each part that is left its place there and in the
    text.
    """
    parts, places, at, length = [], [(0, 0)], 0, 0
    for unseen in _UNSEEN.finditer(text):
        part = text[at : unseen.start()]
        parts.append(part.rstrip(" \t") if text[unseen.start()] in "\r\n" else part)
        length += len(parts[-1])
        at = unseen.end()
        places.append((length, at))
    return "".join([*parts, text[at:]]), places


def _place(places: list[tuple[int, int]], at: int) -> int:
    """The place in a text of what stands at a place of the text that is seen."""
    there, here = places[bisect_right(places, (at, 1 << 62)) - 1]
    return here + at - there


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if made and start < made[-1][1]:
            made[-1] = made[-1][0], max(end, made[-1][1])
        else:
            made.append((start, end))
    return made


def _reach(word: str, text: str, at: int) -> tuple[int, int]:
    """How many characters of a word are spelled from a place on, and where they end."""
    for known, character in enumerate(word):
        found = _spelled(character).match(text, at)
        if found is None:
            return known, at
        at = found.end()
    return len(word), at


def _begun(
    text: str, words: tuple[str, ...], most: int, at: int, stop: int
) -> Iterator[tuple[int, str]]:
    """Where at most `most` characters of which word are spelled, from `at` on and before `stop`."""
    pattern, by_beginning = _beginnings(words, most)
    while (
        at < stop
        and (found := pattern.search(text, at, stop + WIDEST * most))
        and found.start() < stop
    ):
        at = found.start() + 1
        for word in by_beginning[(found.lastindex or 1) - 1]:
            yield found.start(), word


@lru_cache(maxsize=64)
def _beginnings(words: tuple[str, ...], most: int) -> tuple[re.Pattern[str], list[list[str]]]:
    """What finds the first characters of words, a group each, and the words that begin so."""
    firsts = sorted({word[:most] for word in words}, key=len, reverse=True)
    pattern = "|".join(f"({''.join(map(_source, first))})" for first in firsts)
    return re.compile(pattern or "(?!)"), [
        [word for word in words if word[:most] == first] for first in firsts
    ]


@lru_cache(maxsize=256)
def _spelled(character: str) -> re.Pattern[str]:
    return re.compile(_source(character))


def _source(character: str) -> str:
    """A pattern for one character.

    Each way begins with a letter of its own, so that the search is quick.
    """
    number = ord(character)
    octets = character.encode("utf-8", "surrogatepass")
    percent = r"%(?:25)*+".join(map(_hex, (f"{octet:02x}" for octet in octets)))
    units = character.encode("utf-16-be", "surrogatepass").hex()
    unicode = r"(?:\\|%5[cC]){1,16}+".join(
        f"u{_hex(units[n : n + 4])}" for n in range(0, len(units), 4)
    )
    slashed = [unicode, rf"u\{{0*+{_hex(f'{number:x}')}\}}", f"U{_hex(f'{number:08x}')}"]
    slashed += [f"x{_hex(f'{number:02x}')}", f"{number:03o}"] if number < 256 else []
    slashed += [re.escape(character)] if not character.isalnum() and character != "\\" else []
    html = rf"(?:\#|%23)(?:0*+{number}|[xX]0*+{_hex(f'{number:x}')})(?:;|%3[bB])"
    html = f"(?:{html}|{_NAMES[character]}(?:;|%3[bB]))" if character in _NAMES else html
    backslash = f"(?:{'|'.join(slashed)})"
    amp = r"(?:amp(?:;|%3[bB]))*+"
    return (
        f"(?:{re.escape(character)}|%(?:25)*+(?:{percent}|5[cC](?:\\\\|%5[cC]){{0,15}}+{backslash}|26{amp}{html})"
        rf"|\\(?<!\\\\)(?:\\|%5[cC])*+(?:{backslash}|u0026{amp}{html})|&{amp}{html})"
    )


def _hex(digits: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)
