"""Somebody's launch command, in whatever form it is passed on: what it would run, and with which
variables.

Shell scripts, `docker run`, compose and Kubernetes files, systemd units, a bare list of options.
Nothing is run; what cannot be read is noted, and the rest is still used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import yaml

from launcher.formats.shell import (
    ASSIGNED,
    MOST_NOTES,
    Launch,
    Room,
    expanded_all,
    launch_of,
    launches_in,
    logical_lines,
    references,
    release_of,
    split_words,
    unfenced,
)

MOST = 1 << 18  # characters; a launch script has some thousand
MOST_WORDS, MOST_VARIABLES = 2000, 500  # of a launch that are looked at: a command has some dozen
MERGED = 16  # tables that one takes over from others (`<<: *common`)
UNIT = re.compile(r"^[ \t]*ExecStart[ \t]*=", re.MULTILINE)
SERVICE = re.compile(r"^[ \t]*(-[ \t]+)?[\"']?(command|args|entrypoint)[\"']?[ \t]*:", re.MULTILINE)
QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u00a0": " "})


def read(text: str) -> Launch | None:
    """The launch that a text describes, None where there is none."""
    length = len(text)
    text = text[:MOST].translate(QUOTES).replace("\r\n", "\n").replace("\0", "")
    found = next(_launches(text), None)
    if found:
        found = _of_a_size(found)
        names = dict.fromkeys(
            name[1] or name[3] for word in found.words for name in references(word)
        )
        found = _noting(
            found, *(f"${name} is not set in this text" for name in [*names][:MOST_NOTES])
        )
    if found and length > MOST:
        found = _noting(found, f"only the first {MOST} characters were read")
    return found


def _of_a_size(found: Launch) -> Launch:
    """A launch of no more words and variables than can be judged."""
    env, hidden = (dict([*some.items()][:MOST_VARIABLES]) for some in (found.env, found.hidden))
    less = replace(found, words=found.words[:MOST_WORDS], env=env, hidden=hidden)
    if less.words == found.words and len(less.env) == len(found.env):
        return less
    return _noting(
        less, f"only the first {MOST_WORDS} words and {MOST_VARIABLES} variables were read"
    )


def _launches(text: str) -> Iterator[Launch]:
    notes: list[str] = []
    room = Room()
    if UNIT.search(text):
        yield from _unit(text, room)
    if SERVICE.search(text) or text.lstrip()[:1] in ("[", "{"):
        try:
            # Every scalar as it is written: what YAML makes of 0755, `yes` and 1:30 is not what was
            # meant, and the numbers that it knows may take as long to read as somebody likes.
            for document in yaml.load_all(text, yaml.BaseLoader):
                yield from _tree(document, set(), room)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            line = getattr(getattr(error, "problem_mark", None), "line", None)
            notes.append(
                "it is no valid YAML" + (f" (line {line + 1})" if line is not None else "")
            )
    for found in launches_in(unfenced(text), {}, room=room):
        yield _noting(found, *notes)
    bare = [word for line in logical_lines(unfenced(text))[0] for word in split_words(line)[0]]
    if any(word.startswith("--") for word in bare):
        first = next(at for at, word in enumerate(bare) if word.startswith("--"))
        env = {match[1]: match[2] for word in bare[:first] if (match := ASSIGNED.fullmatch(word))}
        yield Launch(tuple(bare[first:]), env, "options", notes=tuple(notes))


def _noting(found: Launch, *notes: str) -> Launch:
    return replace(found, notes=(*found.notes, *notes))


def _unit(text: str, room: Room) -> Iterator[Launch]:
    """A systemd unit's ExecStart, with its Environment lines; a value in a file is not read."""
    env: dict[str, str] = {}
    notes: list[str] = []
    commands = []
    for line in logical_lines(text)[0]:
        key, _, value = line.strip().partition("=")
        match key.strip():
            case "Environment" if len(env) <= MOST_VARIABLES:
                env |= {
                    match[1]: match[2]
                    for word in split_words(value)[0]
                    if (match := ASSIGNED.fullmatch(word))
                }
            case "EnvironmentFile" if len(notes) < MOST_NOTES:
                notes.append(f"variables of {value.strip().lstrip('-')} are not read")
            case "ExecStart":
                commands.append(value.strip().lstrip("-@:+!"))
    for command in commands:
        for found in launches_in(command, env, room=room):
            yield replace(
                found,
                env={**env, **found.env},
                form="systemd",
                hidden={},
                notes=(*found.notes, *notes),
            )


def _tree(node: Any, seen: set[object], room: Room) -> Iterator[Launch]:
    """Every launch in a compose or Kubernetes file, or in a list of words; what aliases repeat is
    `seen` once.
    """
    if id(node) in seen or not isinstance(node, list | dict):
        return
    if isinstance(node, list) and not seen and node and all(isinstance(word, str) for word in node):
        yield from _words(list(node), {}, "options", room)
    seen.add(id(node))
    if isinstance(node, dict):
        tables = _merged(node)
        said = [_of(tables, key) for key in ("entrypoint", "command", "args")]
        parts = tuple(map(id, said))
        words = [word for one in said for word in _word_list(one)] if parts not in seen else []
        if words:
            seen.add(parts)
            kind = (
                "kubernetes"
                if isinstance(_of(tables, "env"), list) or said[2] is not None
                else "compose"
            )
            tag = release_of(str(_of(tables, "image")))
            for found in _words(words, _tree_variables(tables), kind, room):
                yield replace(found, release=found.release or tag)
    for item in node.values() if isinstance(node, dict) else node:
        yield from _tree(item, seen, room)


def _merged(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A table, and those that it takes over, the nearest first."""
    tables = [node]
    for table in tables:
        more = table.get("<<")
        others = more if isinstance(more, list) else [more]
        tables += [other for other in others[:MERGED] if isinstance(other, dict)]
        if len(tables) > MERGED:
            break
    return tables[:MERGED]


def _of(tables: Sequence[Mapping[str, Any]], key: str) -> Any:
    return next((table[key] for table in tables if key in table), None)


def _word_list(said: Any) -> list[str]:
    if isinstance(said, str):
        return split_words(said.replace("\\\n", " ").replace("\n", " "))[0]
    return [_scalar(word) for word in said[: MOST_WORDS + 1]] if isinstance(said, list) else []


def _words(words: list[str], env: Mapping[str, str], kind: str, room: Room) -> Iterator[Launch]:
    made = expanded_all((word.replace("$$", "$") for word in words), env, room)
    found = list(launch_of(made, env, 0, room))
    if not found and made and made[0].startswith("--") and any("model" in word for word in made):
        found = [Launch(tuple(made), env)]  # the image's own entry point is the program
    for one in found:
        yield replace(one, env={**env, **one.env}, form=kind, hidden={})


def _tree_variables(tables: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """`environment` of compose, a table or a list of `NAME=value`, and `env` of Kubernetes, a list
    of tables.
    """
    made: dict[str, str] = {}
    for said in (_of(tables, "environment"), _of(tables, "env")):
        for table in reversed(_merged(said) if isinstance(said, dict) else []):
            most = islice(table.items(), MOST_VARIABLES + 1)
            made |= {str(name): _scalar(value) for name, value in most if name != "<<"}
        for item in said[: MOST_VARIABLES + 1] if isinstance(said, list) else ():
            if isinstance(item, dict) and "name" in item:
                made[str(item["name"])] = _scalar(item.get("value"))
            elif isinstance(item, str) and (match := ASSIGNED.fullmatch(item)):
                made[match[1]] = match[2]
    return made


def _scalar(value: Any) -> str:
    """A value as the program gets it: as it is written, nothing where that is YAML's word for
    nothing.
    """
    return value if isinstance(value, str) and value not in ("null", "~") else ""
