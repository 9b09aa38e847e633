"""The launch of a Dockerfile: its ENTRYPOINT and CMD, with ENV and the tag of its image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from launcher import nesting
from launcher.formats import bash, launches
from launcher.formats.bash import Script
from launcher.formats.container import engine_of, enters, release_of, starts
from launcher.formats.launches import Launch
from launcher.formats.scope import Scope
from launcher.formats.words import Piece, Text, Word

FROM = re.compile(r"^[ \t]*FROM[ \t]+\S", re.MULTILINE)
_INSTRUCTION = re.compile(r"[ \t]*(FROM|ENV|ENTRYPOINT|CMD|ARG)[ \t]+", re.IGNORECASE)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def read(text: str) -> Iterator[Launch]:
    """What an image of this file starts. Of several ENTRYPOINTs or CMDs the last one counts."""
    image = ""
    entry: tuple[Word, ...] = ()
    is_shell = False  # the CMD is a shell's
    command: tuple[Word, ...] = ()
    env: dict[str, Word] = {}
    for name, start, value in _instructions(text):
        match name:
            case "FROM":
                image = value.split()[0] if value.split() else ""
            case "ENV":
                env |= dict(_variables(text, start, value))
            case "ENTRYPOINT":
                entry = _words(text, start, value)
            case "CMD":
                command = _words(text, start, value)
                is_shell = not value.lstrip().startswith("[")
    words = [*entry, *command]
    line = text.count("\n", 0, next((w.span[0] for w in words if w.span), 0)) + 1
    made = bash.Command(tuple(words), env, {}, line) if words else None
    engine, release = engine_of(image), release_of(image)
    found = list(launches.of_command(made, Script(""), "dockerfile")) if made else []
    is_own = not entry and starts(image)
    if not found and (
        (not entry and enters(image, words))
        or (is_own and launches.is_serving([word.value for word in words]))
    ):
        engine = engine or launches.engine_by([word.value for word in words])
        found = [Launch(tuple(words), env, "dockerfile", engine, line=line)]
    if is_own and is_shell:
        found = [replace(launch, under="/bin/sh -c") for launch in found]
    elif is_own:
        found = [launches.entered(words, launch) for launch in found]
    for launch in found:
        yield replace(
            launch, form="dockerfile", release=launch.release or release, image=image, hidden={}
        )


def _instructions(text: str) -> Iterator[tuple[str, int, str]]:
    """Each instruction: its name, where its arguments begin, and these, continued lines and all."""
    at = 0
    while at < len(text):
        end = _end(text, at)
        if found := _INSTRUCTION.match(text, at, end):
            yield found[1].upper(), found.end(), text[found.end() : end]
        at = end + 1


def _end(text: str, at: int) -> int:
    """Where an instruction ends: at the end of the first line that is not continued."""
    while True:
        end = text.find("\n", at)
        if end < 0:
            return len(text)
        line = text[at:end].rstrip()
        if not line.endswith("\\") and not line.lstrip().startswith("#"):
            return end
        if line.lstrip().startswith("#") and not text[:at].rstrip("\n").rstrip().endswith("\\"):
            return end
        at = end + 1


def _words(text: str, start: int, value: str) -> tuple[Word, ...]:
    """The words of the JSON form, or of a shell's."""
    if value.lstrip().startswith("["):
        return tuple(_string(found, start) for found in _STRING.finditer(value))
    script = Script(value, Scope(), lambda at: start + at)
    return next((command.words for command in script.commands()), ())


def _string(found: re.Match[str], start: int) -> Word:
    if "\\" not in found[1]:
        return Word((Piece(found[1], start + found.start(1)),))
    try:
        return Word((Piece(str(nesting.of_json(found[0]))),))
    except ValueError:
        return Word((Piece(found[1]),))


def _variables(text: str, start: int, value: str) -> Iterator[tuple[str, Word]]:
    """Those of `ENV A=b C=d`, and of the old `ENV A b`."""
    if "=" not in value.split(maxsplit=1)[0]:
        name, _, rest = value.strip().partition(" ")
        yield (
            name,
            Word(
                (Piece(rest.strip(), start + value.index(rest.strip()) if rest.strip() else None),)
            ),
        )
        return
    script = Script(f"export {value}", Scope(), lambda at: start + at - len("export "))
    list(script.commands())
    for name in script.scope.exported:
        pieces: Text = script.scope.variables.get(name, ((),))[0]
        yield name, Word(pieces)
