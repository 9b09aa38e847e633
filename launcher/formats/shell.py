"""A plan as text for a shell; and a shell script read as a shell would: the launches in it, each
with its environment.

Nothing is run.
"""

from __future__ import annotations

import re
import shlex
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from launcher import printable
from launcher.engines.engine import NAMES, dialect
from launcher.plan.plan import ENGINE, Plan

DEEPEST = 40  # levels of commands within commands
# characters of a word; a variable that holds itself twice would double with each line
MOST = 1 << 16
MOST_TOGETHER = 1 << 20  # characters that variables may make of a script
MOST_VARIABLES = 1000  # a script has some dozen; others are not known
MOST_NOTES = 20
MOST_LINES = 100  # of one quoted text
REDIRECTION = re.compile(r"[<>&]*[<>][<>&]*")
ENDS = {";", "&&", "||", "|", "&", "(", ")", "{", "}", "|&", ";;"}
ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
SHORT_REFERENCE = re.compile(r"\$(?:(?!)(.)(.)|(\w+))")  # with the groups of the other
REFERENCE = re.compile(r"\$(?:\{(\w+)(?:\[[@*]\])?(?::?-([^}]*))?\}|(\w+))")
_SPECIAL = re.compile(r"['\"\\]")
_BLANKS = " \t\r\n"
_BARE = rf"[^{_BLANKS}'\"\\;&|<>()]+"
# of a word: bare letters, what is quoted in one of three ways; or what ends it
_PIECE = re.compile(
    rf"""(?P<bare>{_BARE})|'(?P<single>[^']*)'|"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|\\(?P<one>.)"""
    rf"|(?P<mark>[;&|<>()]+)|(?P<blank>[{_BLANKS}]+)",
    re.DOTALL,
)
TAG = re.compile(r":v?(\d+\.\d+\.\d+)")
# How engines are started: words that stand together. Of vLLM that it is one, and no more, is known.
PROGRAMS = (
    *((name, words) for name in NAMES for words in dialect(name).programs),
    ("vllm", ("vllm", "serve")),
    ("vllm", ("vllm.entrypoints.openai.api_server",)),
)
_STARTED = re.compile("|".join(re.escape(" ".join(words)) for _, words in PROGRAMS))


@dataclass(frozen=True)
class Launch:
    """One launch of a server: the words after the program, its variables, and what was noted on the
    way.
    """

    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    form: str = "shell"
    engine: str = ENGINE
    release: str | None = None  # that the tag of its image names
    # set, but not exported: the server does not get them
    hidden: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write(plan: Plan) -> str:
    """The plan as text to paste into a shell: the same bytes reach the same program as under
    `up`.
    """
    engine = dialect(plan.engine)
    head = [
        f"# glm5-serve: profile {plan.name}",
        plan.arch,
        f"{engine.name} {plan.release}" if plan.release else None,
    ]
    lines = [printable.line(", ".join(part for part in head if part))]
    # a second line would be a command
    lines += [printable.line(f"# note: {note}") for note in plan.notes]
    if plan.key_config:
        # The braces keep the umask of the shell it is pasted into.
        folder, key, config = map(
            shlex.quote,
            (plan.key_config.rpartition("/")[0], plan.key_file or "", plan.key_config),
        )
        form = shlex.quote(engine.key_file.replace("\n", "\\n"))
        lines.append(f"(umask 077 && mkdir -p {folder} &&")
        lines.append(f"  printf {form} \"$(tr -d '[:space:]' < {key})\" > {config})")
    words = [f"{name}={shlex.quote(value)}" for name, value in plan.env.items()]
    words.append(shlex.join(plan.program))
    words.extend(_options(plan.arguments))
    return "\n".join([*lines, " \\\n  ".join(words)]) + "\n"


def _options(arguments: Sequence[str]) -> list[str]:
    lines: list[list[str]] = []
    for word in arguments:
        if word.startswith("--") or not lines:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return [" ".join(line) for line in lines]


class Room:
    """How much variables may still make of one text: each that holds another may be many times as
    long.
    """

    def __init__(self, left: int = MOST_TOGETHER) -> None:
        self.left = left

    def takes(self, length: int) -> bool:
        """Whether so many characters are still to be had; they are taken."""
        self.left -= length
        return self.left >= 0


def unfenced(text: str) -> str:
    """What stands between fences of Markdown, if a launch does; a prompt before a command is taken
    away.
    """
    blocks = re.findall(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", text, re.MULTILINE | re.DOTALL)
    chosen = [block for block in blocks if "--" in block]
    return re.sub(
        r"^[ \t]*[$>] (?=\S)", "", "\n".join(chosen) if chosen else text, flags=re.MULTILINE
    )


def logical_lines(text: str) -> tuple[list[str], list[str]]:
    """Logical lines: continued ones joined. What a shell would do otherwise is noted."""
    lines: list[str] = []
    notes: list[str] = []
    joined: list[str] = []
    for line in text.split("\n"):
        if joined and line.lstrip().startswith("#"):
            notes.append("a comment inside the continued lines: a shell ends the command there")
            continue
        if re.search(r"\\[ \t]+\Z", line):
            notes.append(
                f"a blank after the backslash of {line.strip()[:40]!r}: a shell ends the command"
                " there"
            )
            line = line.rstrip()
        if line.endswith("\\"):
            joined.append(f"{line[:-1]} ")
            continue
        lines.append("".join([*joined, line]))
        joined = []
    return [*lines, "".join(joined)] if joined else lines, notes[:MOST_NOTES]


def split_words(line: str) -> tuple[list[str], str | None]:
    """The words of a line as a shell splits them, comments left out; where quotes do not close, at
    blanks.
    """
    words = _words(line)
    note = f"{words} in {line.strip()[:40]!r}" if isinstance(words, str) else None
    known = line.split() if isinstance(words, str) else words
    comment = next((at for at, word in enumerate(known) if word.startswith("#")), len(known))
    return [_dashes(word) for word in known[:comment]], note


def _words(line: str) -> list[str] | str:
    """The words and operators of a line as `shlex` has them, in time that grows with it; or what is
    not closed.
    """
    words: list[str] = []
    word: list[str] = []
    at = 0
    while at < len(line):
        found = _PIECE.match(line, at)
        if found is None:
            return "no escaped character" if line[at] == "\\" else "no closing quotation"
        at = found.end()
        kind = str(found.lastgroup)
        if kind in ("mark", "blank"):
            words += ["".join(word)] * bool(word) + [found[0]] * (kind == "mark")
            word = []
        else:
            word.append(
                re.sub(r'\\(["\\])', r"\1", found[kind]) if kind == "double" else found[kind]
            )
    return [*words, "".join(word)] if word else words


def _dashes(word: str) -> str:
    """Forums make one long dash of two: `—tp`."""
    return re.sub("^[\u2013\u2014]", "--", word)


def launches_in(
    text: str, variables: Mapping[str, str], depth: int = 0, room: Room | None = None
) -> Iterator[Launch]:
    """The launches of a shell script, each with what was exported before it."""
    room = room or Room()
    known, exported, notes = dict(variables), dict(variables), []
    lines, said = logical_lines(text)
    notes += said
    for line in _closed(lines):
        words, note = split_words(line)
        if note and ("--" in line or "=" in line) and len(notes) < MOST_NOTES:
            notes.append(note)
        for command in simple_commands(words, known, room):
            assigned, rest, exports = _assignments(command)
            if len(known) < MOST_VARIABLES:
                known |= assigned
            if exports:
                exported |= {name: known[name] for name in (*assigned, *rest) if name in known}
            if exports or not rest:
                continue
            for found in launch_of(rest, ChainMap(assigned, exported), depth, room):
                hidden = {name: value for name, value in known.items() if name not in found.env}
                full = ["variables make so much of this text that not all are put in"] * (
                    room.left < 0
                )
                yield replace(
                    found, hidden=found.hidden or hidden, notes=(*notes, *full, *found.notes)
                )


def _closed(lines: Sequence[str]) -> Iterator[str]:
    """Lines whose quotes are open joined with those that close them, where some do."""
    ends = _ends(lines)
    at = 0
    while at < len(lines):
        end = ends[at] if ends[at] - at < MOST_LINES - 1 else at
        yield "\n".join(lines[at : end + 1])
        at = end + 1


def _ends(lines: Sequence[str]) -> list[int]:
    """For each line that of its own end, or of the first that closes the quotes which it opens.

    From the last line to the first: where a line is in quotes when it begins, the lines after it
    were looked at.
    """
    never = len(lines) + MOST_LINES
    after = {"": never, "'": never, '"': never}
    ends = []
    for at in range(len(lines) - 1, -1, -1):
        states = {quote: _state(lines[at], quote) for quote in after}
        after = {quote: at if state is None else after[state] for quote, state in states.items()}
        ends.append(after[""])
    return ends[::-1]


def _state(line: str, quote: str) -> str | None:
    """The quote in which a line ends that begins in `quote`, or in none (""); None where nothing is
    open.
    """
    escaped = -1
    for found in _SPECIAL.finditer(line):
        if found.start() == escaped:
            continue
        if found[0] == "\\":
            escaped = found.end() if quote != "'" else -1
        elif not quote:
            quote = found[0]
        elif found[0] == quote:
            quote = ""
    return quote if quote or escaped == len(line) else None


def simple_commands(words: Sequence[str], known: dict[str, str], room: Room) -> Iterator[list[str]]:
    """The simple commands of a line; arrays (`A=(...)`) become known, redirections are left out."""
    command: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word.endswith("=") and words[at : at + 1] == ["("]:
            end = next((end for end in range(at, len(words)) if words[end] == ")"), len(words))
            if len(known) < MOST_VARIABLES:
                known[word[:-1]] = shlex.join(expanded_all(words[at + 1 : end], known, room))
            at = end + 1
        elif word in ENDS:
            yield command
            command = []
        elif REDIRECTION.fullmatch(word):
            at += 1  # what follows is its file
        elif word.isdigit() and words[at : at + 1] and REDIRECTION.fullmatch(words[at]):
            continue  # the stream that is redirected
        else:
            command += expanded(word, known, room)
    yield command


def expanded_all(words: Iterable[str], known: Mapping[str, str], room: Room) -> list[str]:
    """Words with the variables that are known put in."""
    return [part for word in words for part in expanded(word, known, room)]


def expanded(word: str, known: Mapping[str, str], room: Room) -> list[str]:
    """A word with the variables that are known put in; one that is a variable alone may be many
    words.
    """
    if "$" not in word:
        return [word]
    values = [
        (found, known.get(found[1] or found[3], found[2] or found[0])) for found in references(word)
    ]
    length = len(word) + sum(len(value) - len(found[0]) for found, value in values)
    if length > MOST or not room.takes(length):
        return [word]
    filled = "".join(_filled(word, values))
    whole = len(values) == 1 and values[0][0][0] == word
    return split_words(filled)[0] if whole and filled != word else [filled]


def references(word: str) -> Iterator[re.Match[str]]:
    """The variables in a word, in order.

    Behind the last brace that closes, none is looked for that opens.
    """
    braced = word.rfind("}") + 1
    yield from REFERENCE.finditer(word, 0, braced)
    yield from SHORT_REFERENCE.finditer(word, braced)


def _filled(word: str, values: Iterable[tuple[re.Match[str], str]]) -> Iterator[str]:
    at = 0
    for found, value in values:
        yield from (word[at : found.start()], value)
        at = found.end()
    yield word[at:]


def _assignments(command: list[str]) -> tuple[dict[str, str], list[str], bool]:
    """Leading `NAME=value` words, what follows, and whether they are exported."""
    exports = command[:1] in (["export"], ["declare"], ["setx"])
    rest = command[1:] if exports else command
    rest = rest[1:] if exports and rest[:1] == ["-x"] else rest
    assigned: dict[str, str] = {}
    for at, word in enumerate(rest):
        if not (match := ASSIGNED.fullmatch(word)):
            return assigned, rest[at:], exports
        assigned[match[1]] = match[2]
    return assigned, [], exports


def launch_of(words: list[str], env: Mapping[str, str], depth: int, room: Room) -> Iterator[Launch]:
    """The launch that a simple command is, if it is one: also inside `docker run` and `bash -c`."""
    at, length, engine = _program(words)
    if at is not None:
        before, after = words[:at], words[at + length :]
        container = {"docker", "podman", "nerdctl"} & set(before)
        inner = dict(_container_variables(before)) if container else _prefix_variables(before)
        image = next(filter(None, map(release_of, before)), None)
        # A container gets what -e names, and nothing of the shell that starts it.
        given = {
            name: env.get(name, "") if value is None else value for name, value in inner.items()
        }
        seen = given if container else {**env, **given}
        form = "docker run" if container else "shell"
        yield Launch(tuple(after), seen, form, engine, image, dict(env) if container else {})
        return
    if depth < DEEPEST:
        for word in words:
            if re.search(r"\s", word) and _STARTED.search(word):
                yield from launches_in(
                    word, {**env, **dict(_container_text(words))}, depth + 1, room
                )


def _program(words: Sequence[str]) -> tuple[int | None, int, str]:
    """Where the program stands, how many words it takes, and whose it is."""
    for at, word in enumerate(words):
        name = word.rpartition("/")[2]
        for engine, program in PROGRAMS:
            if (name, *words[at + 1 : at + len(program)]) == program:
                return at, len(program), engine
    return None, 0, ""


def release_of(image: str) -> str | None:
    """The release of an engine that the tag of an image names."""
    for package in (dialect(name).package for name in NAMES):
        if package in image and not re.search(r"\s", image):
            tags = TAG.findall(image, image.find(package))
            return str(tags[-1]) if tags else None
    return None


def _prefix_variables(words: Sequence[str]) -> dict[str, str | None]:
    """Those of `env A=b ... program`."""
    return {match[1]: match[2] for word in words if (match := ASSIGNED.fullmatch(word))}


def _container_variables(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Those of -e and --env; None where the value is taken from the shell."""
    for at, word in enumerate(words):
        said = words[at + 1] if word in ("-e", "--env") and at + 1 < len(words) else None
        said = said or next(
            (word[len(start) :] for start in ("--env=", "-e=") if word.startswith(start)), None
        )
        if said:
            name, equals, value = said.partition("=")
            yield name, value if equals else None


def _container_text(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in _container_variables(words) if value is not None)
