"""Which commands launch a server: by its program, in a container, or in another shell's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice

from launcher.engines.engine import NAMES, dialect
from launcher.formats.bash import Command, Script
from launcher.formats.scope import Scope
from launcher.formats.words import Piece, Word, values
from launcher.plan.plan import ENGINE

MOST = 200  # of a text
ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
CONTAINERS = ("docker", "podman", "nerdctl")
SHELLS = ("bash", "sh", "dash", "zsh", "ash")
# They print, look or wait: what their words look like is not run.
INERT = frozenset(
    "alias apt apt-get awk cat cd chmod chown cp curl die echo egrep error exit fail false fatal"
    " fgrep git grep head help info install kill killall less ln log ls mkdir mv pgrep pip pip3"
    " pkill printf ps read return rm sed sleep tail tee test touch trap true type usage wait warn"
    " wget which [ [[ :".split()
)
# Options of `docker run` and podman-run(1) that take no value.
SWITCHES = frozenset(
    "d detach i interactive t tty it ti dit itd rm privileged init P publish-all read-only help"
    " no-healthcheck oom-kill-disable sig-proxy disable-content-trust q quiet replace no-hosts"
    " tls-verify".split()
)
TAG = re.compile(r":v?(\d+\.\d+\.\d+)")
# How engines are started: words that stand together. Of vLLM that it is one, and no more, is known.
PROGRAMS = (
    *((name, words) for name in NAMES for words in dialect(name).programs),
    ("vllm", ("vllm", "serve")),
    ("vllm", ("vllm.entrypoints.openai.api_server",)),
    ("vllm", ("dynamo.vllm",)),
)
SOUGHT = re.compile("|".join(re.escape(" ".join(words)) for _, words in PROGRAMS))
IMAGES = dict.fromkeys((*NAMES, "vllm"))  # as their names have them
_OF_INTEREST = re.compile(rf"^(?:--|\u2014)|{'|'.join(IMAGES)}|launch_server|\bserve\b")


@dataclass(frozen=True)
class Launch:
    """One launch of a server: the words after the program, its variables, and what was noted on the
    way.
    """

    arguments: tuple[Word, ...]
    variables: Mapping[str, Word] = field(default_factory=dict)
    form: str = "shell"
    engine: str = ENGINE
    release: str | None = None  # that the tag of its image names
    # set, but not exported: the server does not get them
    hidden: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    name: str = ""  # of the service, container or function; "" where the text has no name for it
    line: int = 0  # where it stands, from 1

    @classmethod
    def of(cls, words: Sequence[str], env: Mapping[str, str] | None = None) -> Launch:
        """A launch that stands nowhere."""
        given = {name: Word.of(value) for name, value in (env or {}).items()}
        return cls(tuple(map(Word.of, words)), given)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """What the program gets."""
        return tuple(values(self.arguments))

    @cached_property
    def outside(self) -> frozenset[str]:
        """Values that are not known here: the environment, a template, another file has them."""
        texts = (word.value for word in self.arguments if not word.known)
        parts = (part for text in texts for part in (text, text.partition("=")[2]))
        return frozenset(filter(None, parts))

    @cached_property
    def references(self) -> tuple[str, ...]:
        """What stands for values that are not known here: `$TP`, `{{ port }}`, `valueFrom ...`."""
        words = (*self.arguments, *self.variables.values())
        pieces = (piece for word in words for piece in word.pieces)
        return tuple(dict.fromkeys(piece.text for piece in pieces if not piece.known))

    @property
    def env(self) -> dict[str, str]:
        """The variables that are known to reach it."""
        return {name: word.value for name, word in self.variables.items()}

    def noting(self, *notes: str) -> Launch:
        """With more to say of how it was read."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))


def is_of_interest(word: Word) -> bool:
    """Whether a command with this word may be a launch, or a list of options."""
    return _OF_INTEREST.search(word.value) is not None


def of_script(script: Script, form: str = "shell") -> Iterator[Launch]:
    """The launches of a shell script, each with what was exported before it."""
    all_of_them = (
        launch for command in script.commands() for launch in of_command(command, script, form)
    )
    found = list(islice(all_of_them, MOST))
    for launch in found:
        hidden = {name: word for name, word in launch.hidden.items() if name not in script.used}
        notes = [f"{path} is sourced, and not read" for path in dict.fromkeys(script.unread)]
        if script.budget.is_spent:
            notes.append("variables make so much of this text that not all are put in")
        yield replace(launch, hidden=hidden).noting(*script.notes, *notes)


def of_command(command: Command, script: Script, form: str) -> Iterator[Launch]:
    """The launches that a simple command comes to."""
    words = tuple(map(dashed, command.words))
    name = words[0].value.rpartition("/")[2]
    if name in INERT:
        return
    shell = {name: word.value for name, word in command.hidden.items()}
    found = of_words(words, command.env, form)
    if found:
        hidden = shell | dict(found.hidden)
        yield replace(found, hidden=hidden, line=command.line, name=found.name or command.within)
        return
    yield from _nested(words, command, script, form)


def _nested(words: Sequence[Word], command: Command, script: Script, form: str) -> Iterator[Launch]:
    """Launches in a word that is a script, or in what a shell reads from its input."""
    container = _container(words)
    env = {**(container.variables if container else command.env)}
    scope = Scope({name: (word.pieces,) for name, word in env.items()}, set(env))
    scripts = [
        word.pieces for word in words if SOUGHT.search(word.value) and re.search(r"\s", word.value)
    ]
    if command.script and (set(values(words[:1])) & {*SHELLS, "ssh", *CONTAINERS}):
        scripts.append((Piece(command.script),))
    for text in scripts:
        for inner in script.nested(text, scope.copy()):
            for found in of_command(replace(inner, line=command.line), script, form):
                made = (
                    replace(found, form=container.form, release=found.release or container.release)
                    if container
                    else found
                )
                yield replace(
                    made, name=made.name or (container.name if container else command.within)
                )


def of_words(words: Sequence[Word], env: Mapping[str, Word], form: str) -> Launch | None:
    """The launch that the words of a command are; None where they are none."""
    said = values(words)
    at, length, engine = program(said)
    container = _container(words)
    given = dict(container.variables if container else env)
    outer = {name: word.value for name, word in env.items()} if container else {}
    if at is None:
        if (
            container
            and container.arguments
            and said[-len(container.arguments)].startswith("-")
            and container.engine
        ):
            return replace(container, hidden=outer)
        return None
    given |= {
        match[1]: rest_of(word, match.start(2))
        for word in words[:at]
        if (match := ASSIGNED.fullmatch(word.value)) and not container
    }
    made = Launch(tuple(words[at + length :]), given, form, engine, hidden=outer)
    if container:
        made = replace(
            made,
            form=container.form,
            release=container.release,
            name=container.name,
            notes=container.notes,
        )
    return made


def rest_of(word: Word, start: int) -> Word:
    """The rest of a word behind so many characters."""
    made: list[Piece] = []
    for piece in word.pieces:
        if start < len(piece.text) or (start <= 0 and not piece.text):
            made.append(piece.part(max(start, 0), len(piece.text)))
        start -= len(piece.text)
    return Word(tuple(made) or (Piece(""),))


def program(words: Sequence[str]) -> tuple[int | None, int, str]:
    """Where the program stands, how many words it takes, and whose it is."""
    for at, word in enumerate(words):
        name = word.rpartition("/")[2]
        for engine, (first, *rest) in PROGRAMS:
            if name == first and list(words[at + 1 : at + 1 + len(rest)]) == rest:
                return at, 1 + len(rest), engine
    return None, 0, ""


def dashed(word: Word) -> Word:
    """Forums make one long dash of two: `—tp`."""
    if word.value[:1] in ("\u2013", "\u2014"):
        return Word((Piece("--"), *rest_of(word, 1).pieces))
    return word


def _container(words: Sequence[Word]) -> Launch | None:
    """What `docker run` gives to its image: arguments and variables; None for any other command."""
    said = values(words)
    start = next(
        (at for at, word in enumerate(said) if word.rpartition("/")[2] in CONTAINERS), None
    )
    if start is None:
        return None
    verb = next(
        (at for at in range(start + 1, len(said)) if said[at] in ("run", "exec", "create")), None
    )
    if verb is None:
        return None
    options, image = _docker_options(words, verb + 1)
    variables: dict[str, Word] = {}
    notes = []
    for option, value in options:
        if option in ("e", "env") and value:
            name, equals, _ = value.value.partition("=")
            variables[name] = (
                rest_of(value, len(name) + 1) if equals else Word((Piece(f"${name}", known=False),))
            )
        elif option == "env-file" and value:
            notes.append(f"variables of {value.value} are not read")
    name = next((value.value for option, value in options if option == "name" and value), "")
    label = said[image] if image < len(said) else ""
    return Launch(
        tuple(words[image + 1 :]),
        variables,
        f"docker {said[verb]}",
        engine_of(label),
        release_of(label),
        notes=tuple(notes),
        name=name,
    )


def _docker_options(words: Sequence[Word], at: int) -> tuple[list[tuple[str, Word | None]], int]:
    """The options of `docker run`, and where its image stands."""
    options: list[tuple[str, Word | None]] = []
    while at < len(words) and words[at].value.startswith("-") and words[at].value != "--":
        text = words[at].value
        name, equals, _ = text.lstrip("-").partition("=")
        if equals:
            options.append((name, rest_of(words[at], text.index("=") + 1)))
        elif name in SWITCHES:
            options.append((name, None))
        elif not text.startswith("--") and len(name) > 1:  # -eA=b
            options.append((name[0], rest_of(words[at], 2)))
        else:
            at += 1
            options.append((name, words[at] if at < len(words) else None))
        at += 1
    return options, at


def engine_of(image: str) -> str:
    """The engine that an image is of, "" for others."""
    return next((engine for engine in IMAGES if engine in image.lower()), "")


def release_of(image: str) -> str | None:
    """The release that the tag of an engine's image names."""
    engine = engine_of(image)
    if not engine or re.search(r"\s", image):
        return None
    tags = TAG.findall(image, image.lower().find(engine))
    return str(tags[-1]) if tags else None
