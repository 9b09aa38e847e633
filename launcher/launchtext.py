"""Somebody's launch command, in whatever form it is passed on: what it would run, and with which variables.

Shell scripts, `docker run`, compose and Kubernetes files, systemd units, a bare list of options. Nothing is run;
what cannot be read is noted, and the rest is still used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from launcher.shelltext import (
    ASSIGNED,
    IMAGE,
    REFERENCE,
    Launch,
    expanded,
    launch_of,
    launches_in,
    logical_lines,
    split_words,
    unfenced,
)

MOST = 1 << 20  # characters; a launch script has some thousand
SERVICE = re.compile(r"^\s*(-\s+)?[\"']?(command|args|entrypoint)[\"']?\s*:", re.MULTILINE)
QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u00a0": " "})


def read(text: str) -> Launch | None:
    """The launch that a text describes, None where there is none."""
    text = text[:MOST].translate(QUOTES).replace("\r\n", "\n").replace("\0", "")
    found = next(_launches(text), None)
    if found:
        names = dict.fromkeys(name[1] or name[3] for word in found.words for name in REFERENCE.finditer(word))
        found = _noting(found, *(f"${name} is not set in this text" for name in names))
    if found and len(text) == MOST:
        found = _noting(found, f"only the first {MOST} characters were read")
    return found


def _launches(text: str) -> Iterator[Launch]:
    notes: list[str] = []
    if re.search(r"^\s*ExecStart\s*=", text, re.MULTILINE):
        yield from _unit(text)
    if (
        re.search(r"^\s*(-\s+)?[\"']?(command|args|entrypoint)[\"']?\s*:", text, re.MULTILINE)
        or text.lstrip()[:1] in "[{"
    ):
        try:
            for document in yaml.safe_load_all(text):
                yield from _tree(document, set())
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            line = getattr(getattr(error, "problem_mark", None), "line", None)
            notes.append("it is no valid YAML" + (f" (line {line + 1})" if line is not None else ""))
    for found in launches_in(unfenced(text), {}):
        yield _noting(found, *notes)
    bare = [word for line in logical_lines(unfenced(text))[0] for word in split_words(line)[0]]
    if any(word.startswith("--") for word in bare):
        first = next(at for at, word in enumerate(bare) if word.startswith("--"))
        env = {match[1]: match[2] for word in bare[:first] if (match := ASSIGNED.fullmatch(word))}
        yield Launch(tuple(bare[first:]), env, "options", notes=tuple(notes))


def _noting(found: Launch, *notes: str) -> Launch:
    return replace(found, notes=(*found.notes, *notes))


def _unit(text: str) -> Iterator[Launch]:
    """A systemd unit's ExecStart, with its Environment lines; a value in a file is not read."""
    env: dict[str, str] = {}
    notes: list[str] = []
    commands = []
    for line in logical_lines(text)[0]:
        key, _, value = line.strip().partition("=")
        match key.strip():
            case "Environment":
                env |= {
                    match[1]: match[2] for word in split_words(value)[0] if (match := ASSIGNED.fullmatch(word))
                }
            case "EnvironmentFile":
                notes.append(f"variables of {value.strip().lstrip('-')} are not read")
            case "ExecStart":
                commands.append(value.strip().lstrip("-@:+!"))
    for command in commands:
        for found in launches_in(command, env):
            yield replace(found, env={**env, **found.env}, form="systemd", hidden={}, notes=(*found.notes, *notes))


def _tree(node: Any, seen: set[int]) -> Iterator[Launch]:
    """Every launch in a compose or Kubernetes file, or in a list of words; what aliases repeat is `seen` once."""
    if id(node) in seen or not isinstance(node, list | dict):
        return
    if isinstance(node, list) and not seen and node and all(isinstance(word, str) for word in node):
        yield from _words(list(node), {}, "options")
    seen.add(id(node))
    if isinstance(node, dict):
        words = [word for key in ("entrypoint", "command", "args") for word in _word_list(node.get(key))]
        if words:
            kind = "kubernetes" if isinstance(node.get("env"), list) or "args" in node else "compose"
            tag = IMAGE.fullmatch(str(node.get("image", "")))
            for found in _words(words, _tree_variables(node), kind):
                yield replace(found, release=found.release or (tag[1] if tag else None))
    for item in node.values() if isinstance(node, dict) else node:
        yield from _tree(item, seen)


def _word_list(said: Any) -> list[str]:
    if isinstance(said, str):
        return split_words(said.replace("\\\n", " ").replace("\n", " "))[0]
    return (
        [str(word).lower() if isinstance(word, bool) else str(word) for word in said]
        if isinstance(said, list)
        else []
    )


def _words(words: list[str], env: Mapping[str, str], kind: str) -> Iterator[Launch]:
    made = [part for word in words for part in expanded(word.replace("$$", "$"), env)]
    found = list(launch_of(made, env, 0))
    if not found and made[0].startswith("--") and any("model" in word for word in made):
        found = [Launch(tuple(made), env)]  # the image's own entry point is the program
    for one in found:
        yield replace(one, env={**env, **one.env}, form=kind, hidden={})


def _tree_variables(node: Mapping[str, Any]) -> dict[str, str]:
    """`environment` of compose, a table or a list of `NAME=value`, and `env` of Kubernetes, a list of tables."""
    made: dict[str, str] = {}
    for said in (node.get("environment"), node.get("env")):
        if isinstance(said, dict):
            made |= {str(name): _scalar(value) for name, value in said.items()}
        for item in said if isinstance(said, list) else ():
            if isinstance(item, dict) and "name" in item:
                made[str(item["name"])] = _scalar(item.get("value"))
            elif isinstance(item, str) and (match := ASSIGNED.fullmatch(item)):
                made[match[1]] = match[2]
    return made


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
