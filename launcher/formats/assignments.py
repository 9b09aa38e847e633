"""The ways in which a text may give a launch a variable, another value of one, or none."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from launcher.formats.edits import Edit, cut, extent, replaced
from launcher.formats.launches import Launch
from launcher.formats.words import Word

# What stands between a variable's name and its value, in any form.
_BETWEEN = r"""["']?(?:[ \t]*[:=][ \t]*|[ \t]+|["',]*\s*["']?value["']?[ \t]*:[ \t]*)["']?"""
# What stands before the name and goes with it.
_BEFORE = re.compile(
    r"""(?:(?:export|declare[ \t]+-x)[ \t]+|(?:-e|--env)[ \t=]+|ENV[ \t]+|Environment=)["']?\Z"""
    r"""|(?:-[ \t]+)?\{?[ \t]*["']?name["']?[ \t]*:[ \t]*["']?\Z"""
)
MOST_BETWEEN = 400  # characters of a name and what stands between it and its value
_RUN = re.compile(r"\b(?:docker|podman|nerdctl)\s+(?:container\s+)?run\b")
_COMMAND = re.compile(r"^[ \t]*(?:ExecStart|Exec|ENTRYPOINT|CMD)\b", re.MULTILINE)


def candidates(text: str, launch: Launch, edit: Edit) -> Iterator[str]:
    """The text with the variable, in each way that suits its form."""
    word = launch.variables.get(edit.variable)
    if word and edit.value is None:
        for start, end in _assignments(text, edit.variable, word):
            yield from cut(text, start, end)
    elif word and edit.value is not None:
        made = replaced(text, word, edit.value)
        if made is not None:
            yield made
    elif edit.value is not None:
        yield from _beside(text, launch, edit.variable, edit.value)
        yield from _before(text, launch, edit.variable, edit.value)


def _assignments(text: str, name: str, word: Word) -> list[tuple[int, int]]:
    """Where a variable is given its value: with what makes it one (`export`, `-e`, `- name:`), and
    by its name and value alone.
    """
    place = extent(text, word)
    least = max(0, place[0] - MOST_BETWEEN) if place else 0
    found = place and re.search(rf"{re.escape(name)}{_BETWEEN}\Z", text[least : place[0]])
    if not place or not found:
        return []
    start, end = least + found.start(), place[1]
    while text[start - 1 : start] in ("'", '"') and text[end : end + 1] == text[start - 1]:
        start, end = start - 1, end + 1
    alone = (start, end)
    before = _BEFORE.search(text[text.rfind("\n", 0, start) + 1 : start])
    start -= len(before[0]) if before else 0
    if before and "{" in before[0]:  # the rest of an item in braces
        closing = re.match(r"[^{}\n]*\}", text[end:])
        end += closing.end() if closing else 0
    return [(start, end), alone]


def _beside(text: str, launch: Launch, name: str, value: str) -> Iterator[str]:
    """As the launch's other variables are given: a line, an item or a word like one of theirs."""
    for other, word in reversed([*launch.variables.items()]):
        places = _assignments(text, other, word) if word.known else []
        if not places:
            continue
        start, end = places[0]
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", end)
        last = len(text) if last < 0 else last
        like = text[start:end]
        for written in (value, f'"{value}"'):
            made = like.replace(other, name, 1)
            at = made.rfind(word.value)
            made = made[:at] + written + made[at + len(word.value) :]
            if not text[first:start].strip(" \t-"):
                yield f"{text[:last]}\n{text[first:start]}{made}{text[end:last]}{text[last:]}"
            yield f"{text[:end]} {made}{text[end:]}"
            yield f"{text[:end]}, {made}{text[end:]}"


def _before(text: str, launch: Launch, name: str, value: str) -> Iterator[str]:
    """On a line of its own before the launch, or behind `docker run`."""
    assigned = f"{name}={shlex.quote(value)}"
    lines = text.split("\n")
    at = sum(len(line) + 1 for line in lines[: launch.line - 1])
    if run := _RUN.search(text, at):
        yield f"{text[: run.end()]} -e {assigned}{text[run.end() :]}"
    for command in _COMMAND.finditer(text):
        key = "Environment=" if "Exec" in command[0] else "ENV "
        yield f"{text[: command.start()]}{key}{assigned}\n{text[command.start() :]}"
    indent = re.match(r"[ \t]*", text[at:])
    yield f"{text[:at]}{indent[0] if indent else ''}export {assigned}\n{text[at:]}"
    yield from _in_tree(text, name, value)


def _in_tree(text: str, name: str, value: str) -> Iterator[str]:
    """As a container's first variable."""
    for command in re.finditer(
        r"^([ \t]*)(-[ \t]+)?(?:command|args|image)[ \t]*:", text, re.MULTILINE
    ):
        indent = command[1] + " " * len(command[2] or "")
        start = command.start() + len(command[1] + (command[2] or ""))
        for block in (
            f'environment:\n{indent}  {name}: "{value}"\n{indent}',
            f'env:\n{indent}- name: {name}\n{indent}  value: "{value}"\n{indent}',
        ):
            yield text[:start] + block + text[start:]
