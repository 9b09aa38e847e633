"""A shell script read as a shell would: the launches in it, each with its environment. Nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

DEEPEST = 40  # levels of commands within commands
MOST = 1 << 16  # characters of a word; a variable that holds itself twice would double with each line
MOST_LINES = 100  # of one quoted text
REDIRECTION = re.compile(r"[<>&]*[<>][<>&]*")
ENDS = {";", "&&", "||", "|", "&", "(", ")", "{", "}", "|&", ";;"}
ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
REFERENCE = re.compile(r"\$(?:\{(\w+)(?:\[[@*]\])?(?::?-([^}]*))?\}|(\w+))")
IMAGE = re.compile(r"\S*sglang\S*:v?(\d+\.\d+\.\d+)\S*")


@dataclass(frozen=True)
class Launch:
    """One launch of a server: the words after the program, its variables, and what was noted on the way."""

    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    form: str = "shell"
    engine: str = "sglang"
    release: str | None = None  # that the tag of its image names
    hidden: Mapping[str, str] = field(default_factory=dict)  # set, but not exported: the server does not get them
    notes: tuple[str, ...] = ()


def unfenced(text: str) -> str:
    """What stands between fences of Markdown, if a launch does; a prompt before a command is taken away."""
    blocks = re.findall(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", text, re.MULTILINE | re.DOTALL)
    chosen = [block for block in blocks if "--" in block]
    return re.sub(r"^[ \t]*[$>] (?=\S)", "", "\n".join(chosen) if chosen else text, flags=re.MULTILINE)


def logical_lines(text: str) -> tuple[list[str], list[str]]:
    """Logical lines: continued ones joined. What a shell would do otherwise is noted."""
    lines: list[str] = []
    notes: list[str] = []
    joined = ""
    for line in text.split("\n"):
        if joined and line.lstrip().startswith("#"):
            notes.append("a comment inside the continued lines: a shell ends the command there")
            continue
        if re.search(r"\\[ \t]+$", line):
            notes.append(f"a blank after the backslash of {line.strip()[:40]!r}: a shell ends the command there")
            line = line.rstrip()
        if line.endswith("\\"):
            joined += f"{line[:-1]} "
            continue
        lines.append(joined + line)
        joined = ""
    return [*lines, joined] if joined else lines, notes


def split_words(line: str) -> tuple[list[str], str | None]:
    """The words of a line as a shell splits them, comments left out; where quotes do not close, at blanks."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>()")
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words, note = list(lexer), None
    except ValueError as error:
        words, note = line.split(), f"{str(error).lower()} in {line.strip()[:40]!r}"
    comment = next((at for at, word in enumerate(words) if word.startswith("#")), len(words))
    return [_dashes(word) for word in words[:comment]], note


def _dashes(word: str) -> str:
    """Forums make one long dash of two: `—tp`."""
    return re.sub("^[\u2013\u2014]", "--", word)


def launches_in(text: str, variables: Mapping[str, str], depth: int = 0) -> Iterator[Launch]:
    """The launches of a shell script, each with what was exported before it."""
    known, exported, notes = dict(variables), dict(variables), []
    lines, said = logical_lines(text)
    notes += said
    for line in _closed(lines):
        words, note = split_words(line)
        if note and ("--" in line or "=" in line):
            notes.append(note)
        for command in simple_commands(words, known):
            assigned, rest, exports = _assignments(command, known)
            known |= assigned
            if exports:
                exported |= assigned | {name: known[name] for name in rest if name in known}
            if exports or not rest:
                continue
            for found in launch_of(rest, exported | assigned, depth):
                hidden = {name: value for name, value in known.items() if name not in found.env}
                yield replace(found, hidden=found.hidden or hidden, notes=(*notes, *found.notes))


def _closed(lines: Sequence[str]) -> Iterator[str]:
    """Lines whose quotes are open joined with those that close them, where some do."""
    at = 0
    while at < len(lines):
        joined = next(
            (
                "\n".join(lines[at : at + more])
                for more in range(1, MOST_LINES)
                if at + more <= len(lines) and split_words("\n".join(lines[at : at + more]))[1] is None
            ),
            lines[at],
        )
        yield joined
        at += joined.count("\n") + 1


def simple_commands(words: Sequence[str], known: dict[str, str]) -> Iterator[list[str]]:
    """The simple commands of a line; arrays (`A=(...)`) become known, redirections are left out."""
    command: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.endswith("=") and words[at : at + 1] == ["("]:
            end = words.index(")", at) if ")" in words[at:] else len(words)
            known[word[:-1]] = shlex.join(part for item in words[at + 1 : end] for part in expanded(item, known))
            at = end + 1
        elif word in ENDS:
            yield command
            command = []
        elif REDIRECTION.fullmatch(word):
            at += 1  # what follows is its file
        elif word.isdigit() and words[at : at + 1] and REDIRECTION.fullmatch(words[at]):
            continue  # the stream that is redirected
        else:
            command += expanded(word, known)
    yield command


def expanded(word: str, known: Mapping[str, str]) -> list[str]:
    """A word with the variables that are known put in; one that is a variable alone may be many words."""
    whole = REFERENCE.fullmatch(word)
    filled = REFERENCE.sub(lambda found: known.get(found[1] or found[3], found[2] or found[0]), word)
    if len(filled) > MOST:
        return [word]
    if whole and filled != word:
        return split_words(filled)[0]
    return [filled]


def _assignments(command: list[str], known: Mapping[str, str]) -> tuple[dict[str, str], list[str], bool]:
    """Leading `NAME=value` words, what follows, and whether they are exported."""
    exports = command[:1] in (["export"], ["declare"], ["setx"])
    rest = command[1:] if exports else command
    rest = rest[1:] if exports and rest[:1] == ["-x"] else rest
    assigned: dict[str, str] = {}
    while rest and (match := ASSIGNED.fullmatch(rest[0])):
        assigned[match[1]] = match[2]
        rest = rest[1:]
    return assigned, rest, exports


def launch_of(words: list[str], env: Mapping[str, str], depth: int) -> Iterator[Launch]:
    """The launch that a simple command is, if it is one: also inside `docker run` and `bash -c`."""
    at, length, engine = _program(words)
    if at is not None:
        before, after = words[:at], words[at + length :]
        container = {"docker", "podman", "nerdctl"} & set(before)
        inner = dict(_container_variables(before)) if container else _prefix_variables(before)
        image = next((match[1] for word in before if (match := IMAGE.fullmatch(word))), None)
        # A container gets what -e names, and nothing of the shell that starts it.
        given = {name: env.get(name, "") if value is None else value for name, value in inner.items()}
        seen = given if container else {**env, **given}
        form = "docker run" if container else "shell"
        yield Launch(tuple(after), seen, form, engine, image, env if container else {})
        return
    if depth < DEEPEST:
        for word in words:
            if re.search(r"\s", word) and re.search(r"launch_server|sglang serve|vllm serve", word):
                yield from launches_in(word, {**env, **dict(_container_text(words))}, depth + 1)


def _program(words: Sequence[str]) -> tuple[int | None, int, str]:
    """Where the program stands, how many words it takes, and whose it is."""
    for at, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name in ("sglang.launch_server", "launch_server.py"):
            return at, 1, "sglang"
        if name in ("sglang", "vllm") and words[at + 1 : at + 2] == ["serve"]:
            return at, 2, name
        if name == "vllm.entrypoints.openai.api_server":
            return at, 1, "vllm"
    return None, 0, ""


def _prefix_variables(words: Sequence[str]) -> dict[str, str | None]:
    """Those of `env A=b ... program`."""
    return {match[1]: match[2] for word in words if (match := ASSIGNED.fullmatch(word))}


def _container_variables(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Those of -e and --env; None where the value is taken from the shell."""
    for at, word in enumerate(words):
        said = words[at + 1] if word in ("-e", "--env") and at + 1 < len(words) else None
        said = said or next((word[len(start) :] for start in ("--env=", "-e=") if word.startswith(start)), None)
        if said:
            name, equals, value = said.partition("=")
            yield name, value if equals else None


def _container_text(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in _container_variables(words) if value is not None)
