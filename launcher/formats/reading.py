"""Somebody's launches, in whatever form they are passed on: what would run, with which variables,
and what of the text was not read.

Shell scripts, `docker run`, Dockerfiles, compose and Kubernetes files, systemd units and quadlets,
Helm values, a bare list of options. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from launcher.formats import dockerfile, launches, systemd
from launcher.formats.bash import Script
from launcher.formats.launches import SOUGHT, Launch
from launcher.formats.nodes import NotYamlError
from launcher.formats.tree import Document
from launcher.formats.words import Piece, Word, split

MOST = 1 << 16  # characters; a launch script has some thousand
MOST_WORDS, MOST_VARIABLES, MOST_LAUNCHES = 2000, 500, 100
TREE = re.compile(
    r"^[ \t]*(-[ \t]+)?[\"']?(command|args|entrypoint|services|apiVersion|\w*[aA]rgs)[\"']?[ \t]*:",
    re.MULTILINE,
)
_QUOTED = re.compile(r"""^[ \t]*(["'])(--[^"'\n]*)\1,?[ \t]*$""", re.MULTILINE)


@dataclass(frozen=True)
class Reading:
    """The launches of a text, in its order, and what was found and not read."""

    launches: tuple[Launch, ...] = ()
    unread: tuple[str, ...] = ()


def read(text: str) -> Reading:
    """Everything that a text would launch."""
    notes: list[str] = []
    found = [_of_a_size(launch) for launch in _found(text[:MOST], notes)]
    if len(text) > MOST:
        notes.append(f"only the first {MOST} characters were read")
    if len(found) > MOST_LAUNCHES:
        notes.append(f"only the first {MOST_LAUNCHES} launches were read")
    return Reading(tuple(_once(found[:MOST_LAUNCHES])), tuple(dict.fromkeys(notes)))


def _found(text: str, notes: list[str]) -> list[Launch]:
    """By the first form that has a launch."""
    for reader in (_of_unit, _of_dockerfile, _of_tree, _of_shell, _of_quoted, _of_options):
        if found := list(reader(text, notes)):
            return found
    return []


def _of_unit(text: str, notes: list[str]) -> Iterator[Launch]:
    if systemd.UNIT.search(text):
        yield from systemd.read(text)
        notes += [f"{path} is run by the unit, and not read" for path in systemd.runs_scripts(text)]


def _of_dockerfile(text: str, notes: list[str]) -> Iterator[Launch]:
    if dockerfile.FROM.search(text):
        yield from dockerfile.read(text)


def _of_tree(text: str, notes: list[str]) -> Iterator[Launch]:
    if not systemd.UNIT.search(text) and (TREE.search(text) or text.lstrip()[:1] in ("[", "{")):
        try:
            yield from Document(text).launches()
        except NotYamlError as error:
            notes.append(str(error))


def _of_shell(text: str, notes: list[str]) -> Iterator[Launch]:
    script = Script(text, wanted=launches.is_of_interest)
    yield from launches.of_script(script)
    for name, body in script.files.items():  # a file that it writes, and does not run itself
        if SOUGHT.search(body) and name not in script.sourced:
            yield from (replace(launch, name=launch.name or name) for launch in _found(body, notes))


def _of_quoted(text: str, notes: list[str]) -> Iterator[Launch]:
    """`"--flag value",` a line, as web pages that make commands have them."""
    lines = list(_QUOTED.finditer(text))
    if len(lines) >= 2:
        pieces = [Piece(found[2], found.start(2), fixed=False) for found in lines]
        words = tuple(_template(word) for piece in pieces for word in split((piece,)))
        yield Launch(words, form="options", line=text.count("\n", 0, lines[0].start()) + 1)


def _template(word: Word) -> Word:
    is_filled = re.search(r"\{\{|\$\{|<\w", word.value)
    return Word(tuple(replace(piece, known=False) for piece in word.pieces)) if is_filled else word


def _of_options(text: str, notes: list[str]) -> Iterator[Launch]:
    """Options alone, whatever stands before them."""
    words: list[Word] = []
    env: dict[str, Word] = {}
    line = 0
    for command in Script(text, wanted=launches.is_of_interest).commands():
        first = next(
            (
                at
                for at, word in enumerate(command.words)
                if word.value.startswith(("--", "\u2014"))
            ),
            None,
        )
        if first is not None and (first == 0 or not words):
            words += command.words[first:]
            env |= command.env
            line = line or command.line
    if sum(word.value.startswith("--") for word in words) >= 1:
        yield Launch(tuple(map(launches.dashed, words)), env, "options", line=line)


def _of_a_size(found: Launch) -> Launch:
    """A launch of no more words and variables than can be judged."""
    env = dict([*found.variables.items()][:MOST_VARIABLES])
    hidden = dict([*found.hidden.items()][:MOST_VARIABLES])
    less = replace(found, arguments=found.arguments[:MOST_WORDS], variables=env, hidden=hidden)
    if less.arguments == found.arguments and len(env) == len(found.variables):
        return less
    return less.noting(
        f"only the first {MOST_WORDS} words and {MOST_VARIABLES} variables were read"
    )


def _once(found: list[Launch]) -> Iterator[Launch]:
    """Each launch once: a loop, or a function that is called twice, may repeat it."""
    seen: set[tuple[object, ...]] = set()
    for launch in found:
        key = (launch.name, launch.words, tuple(launch.env.items()), launch.line)
        if key not in seen:
            seen.add(key)
            yield launch
