"""The programs of a supervisord.conf(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from launcher.formats import launches
from launcher.formats.bash import Command, Script
from launcher.formats.launches import Launch
from launcher.formats.systemd import split_words
from launcher.formats.words import Piece, Text, Word, text_of

PROGRAM = re.compile(r"^\[program:([^\]\n]+)\]", re.MULTILINE)
_KEY = re.compile(r"([A-Za-z_]+)[ \t]*[=:][ \t]*")
_VARIABLE = re.compile(r"""(\w+)=(?:"([^"]*)"|'([^']*)'|([^,\n]*))""")
_FILLED = re.compile(r"%\([A-Za-z_0-9]+\)[sd]")


def read(text: str) -> Iterator[Launch]:
    """The launches of a text, each with the variables of its own program."""
    sections = [*PROGRAM.finditer(text)]
    for found, following in zip(sections, [*sections[1:], None], strict=True):
        end = following.start() if following else len(text)
        yield from _program(found[1], text, found.end(), end)


def _program(name: str, text: str, start: int, end: int) -> Iterator[Launch]:
    keys = dict(_keys(text, start, end))
    words = tuple(split_words(keys.get("command", ())))
    if not words:
        return
    env = {
        one[1]: Word(_filled((Piece(one[2] or one[3] or one[4] or ""),)))
        for one in _VARIABLE.finditer(text_of(keys.get("environment", ())))
    }
    at = next((piece.at for word in words for piece in word.pieces if piece.at is not None), start)
    made = Command(words, env, {}, text.count("\n", 0, at) + 1)
    for launch in launches.of_command(made, Script(""), "supervisord"):
        yield replace(launch, name=launch.name or name)


def _keys(text: str, start: int, end: int) -> Iterator[tuple[str, Text]]:
    """Each `key=value`; a line that begins with a blank goes on with the one before it."""
    key, pieces = "", []
    at = start
    for line in text[start:end].split("\n"):
        bare = line.split(" ;", 1)[0].removesuffix("\r").removesuffix("\\")
        if key and line[:1] in (" ", "\t"):
            pieces += [Piece(" "), *_filled((Piece(bare, at),))]
        elif found := _KEY.match(bare):
            yield key, tuple(pieces)
            key, pieces = found[1], [*_filled((Piece(bare[found.end() :], at + found.end()),))]
        at += len(line) + 1
    yield key, tuple(pieces)


def _filled(text: Text) -> Text:
    """`%(ENV_X)s` is supervisord's to fill in."""
    made: list[Piece] = []
    for piece in text:
        at = 0
        for found in _FILLED.finditer(piece.text):
            made += [piece.part(at, found.start())] if found.start() > at else []
            made.append(replace(piece.part(*found.span()), known=False))
            at = found.end()
        made += [piece.part(at, len(piece.text))] if at < len(piece.text) or not made else []
    return tuple(made)
