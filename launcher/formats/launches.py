"""Which commands launch a server: by its program, in a container, or in another shell's words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import islice, takewhile

from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import Given, Release
from launcher.formats import mounts, unread
from launcher.formats.around import Around, of_slurm
from launcher.formats.bash import Command, Script
from launcher.formats.container import CONTAINERS, IMAGES, Container, container, release_of
from launcher.formats.scope import Scope
from launcher.formats.words import Piece, Word, rest_of, text_of, values
from launcher.knowledge import models
from launcher.plan.plan import ENGINE

MOST = 200  # of a text
ASSIGNED = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
SHELLS = ("bash", "sh", "dash", "zsh", "ash")
# They print, look or wait: what their words look like is not run.
INERT = frozenset(
    "alias apt apt-get awk cat cd chmod chown cp curl die echo egrep error exit fail false fatal"
    " fgrep git grep head help info install kill killall less ln log ls mkdir mv pgrep pip pip3"
    " pkill printf ps read return rm sed sleep tail tee test touch trap true type usage wait warn"
    " wget which [ [[ :".split()
)
# How engines are started: words that stand together.
PROGRAMS = tuple((name, words) for name in NAMES for words in dialect(name).programs)
SOUGHT = re.compile("|".join(re.escape(" ".join(words)) for _, words in PROGRAMS))
# What of a program stands behind its name: `serve`.
_SERVING = {rest for _, words in PROGRAMS for rest in words[1:]}
# Forms whose programs see a container's folders.
BARE = ("options", "config")  # forms of options without a program
INSIDE = ("docker", "compose", "kubernetes", "quadlet")
_BEFORE = ("exec", "-m", "-u")
_OF_INTEREST = re.compile(rf"^(?:--|\u2014)|{'|'.join(IMAGES)}|launch_server|\bserve\b")
_PYTHON = re.compile(r"(?:[\w./-]*/)?python[\d.]*")
# how a program is told from prose: a path, a script, a name of several parts
_OTHER = re.compile(
    r"(?:~|\.{0,2})/[\w./-]+|[\w-]+\.(?:sh|py)|[a-z]\w*[-_][\w-]*[a-z]|torchrun|accelerate|ray"
)

# `bash -c`, `-lc`: what comes next is a script
_IS_SCRIPT = re.compile(r"-[a-z]*c")
_ALL = re.compile(r"\$@|\$\{@\}")
_PARAMETER = re.compile(r"\$\{?([0-9])\}?")


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
    used: frozenset[str] = frozenset()  # variables that its text is made of
    notes: tuple[str, ...] = ()
    name: str = ""  # of the service, container or function; "" where the text has no name for it
    line: int = 0  # where it stands, from 1
    # what it listens on together with others, in words; "": alone, or nobody knows
    shares: str = ""
    around: Around = field(default_factory=Around)  # what its container, or its job, decides
    program: str = ""  # the word that starts it, "dynamo.sglang"; "" where there is none
    again: int = 0  # of its arguments, the first: a program that its image starts by itself
    image: str = ""  # that it runs in
    forks: frozenset[str] = frozenset()  # ids of those of its engine that it may be
    under: str = ""  # what is to run it, where its image's own program gets that for an argument

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
        """Values that are not known here: the environment, a template, another file has them. A
        folder whose last part is a model's name tells which one lies there, wherever that is.
        """
        texts = (
            word.value for word in self.arguments if not (word.known or _names_a_model(word.value))
        )
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

    def given(self, within: Release) -> list[Given]:
        """What a release makes of its arguments; those that say a program again are one word."""
        said = " ".join(self.words[: self.again])
        why = f"the image starts `{self.own}` by itself, and gets this as arguments"
        again = [Given(said, (), None, why, count=self.again)] if self.again else []
        words = self.words[self.again :]
        front = dialect(self.engine).fronts.get(self.program)
        at = front.model_at(words, within.name) if front else None
        if at is None:
            return [*again, *within.given(words)]
        option = within.options[f"--{dialect(self.engine).option_of('model_path')}"]
        model = Given(words[at], (words[at],), option)
        return [*again, *within.given(words[:at]), model, *within.given(words[at + 1 :])]

    @property
    def starter(self) -> str:
        """The word that starts it; where options stand alone, the program that some are of."""
        is_bare = not self.program and self.form in BARE
        of_dynamo = is_bare and any(one.startswith("--dyn-") for one in self.words)
        return f"dynamo.{self.engine}" if of_dynamo else self.program

    @property
    def instead(self) -> str:
        """The server that it starts in its engine's stead, and by which option; "" for none."""
        front = dialect(self.engine).fronts.get(self.program or self.own.partition(" ")[0])
        by = front.started(self.words) if front else ""
        is_known = front and front.of_others and by and any(map(models.by_name, self.words))
        return f"{front.other} ({by})" if front and by and not is_known else ""

    @property
    def own(self) -> str:
        """What an image of its engine starts by itself."""
        return " ".join(dialect(self.engine).programs[0])

    def on_host(self, path: str) -> str:
        """Where a folder that it names is on the host; "" for one that is in its container alone,
        or nobody knows.
        """
        if not path.startswith("/") or not self.form.startswith(INSIDE):
            return path
        return mounts.on_host(path, self.around.mounts)

    def mounted(self, path: str) -> str:
        """What the text mounts where a path of its container is, in its words; "" for nothing."""
        return mounts.mounted(path, self.around.mounts) if path.startswith("/") else ""

    def noting(self, *notes: str) -> Launch:
        """With more to say of how it was read."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))


def _names_a_model(path: str) -> bool:
    folder, slash, name = path.rpartition("/")
    is_plain = re.fullmatch(r"[\w.-]+", name) is not None
    return bool(folder and slash) and is_plain and models.by_name(name) is not None


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
        notes = [unread.of_source(path) for path in dict.fromkeys(script.unread)]
        if script.budget.is_spent:
            notes.append("variables make so much of this text that not all are put in")
        made = replace(launch, hidden=hidden, used=frozenset(script.used))
        yield made.noting(*script.notes, *notes)


def printed(script: Script) -> Iterator[Launch]:
    """The launches that a script prints with `echo`, and does not run."""
    for command in script.commands():
        if command.words[0].value in ("echo", "printf") and (
            text := " ".join(values(command.words[1:]))
        ):
            for inner in script.nested((Piece(text),), script.scope.copy()):
                for found in of_command(replace(inner, line=command.line), script, "shell"):
                    yield found.noting("the script prints this command, and does not run it")


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
        made = replace(found, hidden=hidden, line=command.line, name=found.name or command.within)
        yield made.noting(*command.notes)
        return
    for inner in _nested(words, command, script, form):
        yield inner.noting(*command.notes)


def _nested(words: Sequence[Word], command: Command, script: Script, form: str) -> Iterator[Launch]:
    """Launches in a word that is a script, or in what a shell reads from its input."""
    within = container(words)
    env = {**(within.variables if within else command.env)}
    scope = Scope({name: (word.pieces,) for name, word in env.items()}, set(env))
    scripts = [
        word.pieces for word in words if SOUGHT.search(own := _own(word)) and re.search(r"\s", own)
    ]
    if command.script and (set(values(words[:1])) & {*SHELLS, "ssh", *CONTAINERS}):
        scripts.append(command.script)
    for text in scripts:
        for inner in script.nested(text, scope.copy()):
            for found in of_command(replace(inner, line=command.line), script, form):
                found = handed(found, within.words if within else words)
                made = _of_container(found, within) if within else found
                if within and within.starts:
                    made = replace(made, under=under(within.words))
                yield replace(made, name=made.name or command.within)


def handed(found: Launch, words: Sequence[Word]) -> Launch:
    """A launch within the script of `sh -c SCRIPT NAME ARGUMENT...`, with what these words hand on
    to it: its `"$@"` is the arguments, its `"$0"` the name.
    """
    said = values(words)
    at = next((at for at, one in enumerate(said) if _IS_SCRIPT.fullmatch(one)), None)
    if not at or said[at - 1].rpartition("/")[2] not in SHELLS or len(words) < at + 3:
        return found
    name, *arguments = words[at + 2 :]
    made: list[Word] = []
    for one in found.arguments:
        text = one.value if not one.known else ""
        number = _PARAMETER.fullmatch(text)
        if arguments and _ALL.fullmatch(text):  # without any, others may add them
            made += arguments
        elif number and int(number[1]) <= len(arguments):
            made.append((name, *arguments)[int(number[1])])
        else:
            made.append(one)
    return replace(found, arguments=tuple(made))


def _own(word: Word) -> str:
    """What a word says itself: the commands whose output it has are looked at where they stand."""
    return "".join(piece.text for piece in word.pieces if not piece.text.startswith(("`", "$(")))


def of_words(words: Sequence[Word], env: Mapping[str, Word], form: str) -> Launch | None:
    """The launch that the words of a command are; None where they are none."""
    within = container(words)
    before = within.words if within else words
    said = values(before)
    at, length, engine = program(said)
    outer = {name: word.value for name, word in env.items()} if within else {}
    if at is None:
        if within and within.enters:
            made = Launch(within.words, within.variables, form, within.engine, hidden=outer)
            return _of_container(entered(within.words, made), within)
        return _of_verb(within, form) if within else None
    given = dict(within.variables if within else env) | _exported(before[:at])
    given |= {
        match[1]: rest_of(word, match.start(2))
        for word in before[:at]
        if (match := ASSIGNED.fullmatch(word.value))
    }
    release = next(filter(None, map(release_of, said[:at])), None)
    around = Around(of_slurm(" ".join(said[:at])) if "srun" in said[:at] else None)
    made = Launch(
        tuple(before[at + length :]), given, form, engine, release, hidden=outer, around=around
    )
    made = replace(made, program=said[at].rpartition("/")[2])
    if within and within.starts:
        made = entered(within.words, made)
    return _of_container(made, within) if within else made


def _exported(words: Sequence[Word]) -> dict[str, Word]:
    """What a shell exports before it becomes the words behind its script: `sh -c '... exec "$@"'`,
    a name, and these.
    """
    shell, *rest = values(words[:3]) or [""]
    if shell.rpartition("/")[2] not in SHELLS or rest[:1] != ["-c"] or '"$@"' not in rest[-1]:
        return {}
    text = words[2].pieces
    script = Script(text_of(text), place=partial(Script.placed, text))
    for _ in script.commands():
        pass
    variables, exported = script.scope.variables, script.scope.exported
    return {name: Word(variables[name][0]) for name in exported if variables.get(name)}


def _of_verb(within: Container, form: str) -> Launch | None:
    """`IMAGE serve MODEL`: of an image that is not known, and has the program's name alone."""
    verb, *rest = within.words or (Word(()),)
    if verb.value not in _SERVING or within.form == "docker exec":
        return None
    engine = within.engine or _serving(verb.value, values(rest))
    whole = Launch(within.words, within.variables, form, engine)
    if within.starts:
        return _of_container(entered(within.words, whole), within)
    first = dialect(engine).programs[0][0]
    note = (
        f"`{verb.value}` is right where the image starts `{first}` by itself;"
        f" leave it out where that is `{whole.own}`"
    )
    return _of_container(replace(whole, arguments=tuple(rest)).noting(note), within)


def _serving(verb: str, words: Sequence[str]) -> str:
    """The engine that takes its model without a name where the first word is one."""
    engines = [name for name, (_, *rest) in PROGRAMS if verb in rest and dialect(name).positional]
    is_model = bool(words) and not words[0].startswith("-")
    return engines[0] if engines and is_model else engine_by(words)


def entered(words: Sequence[Word], found: Launch) -> Launch:
    """A launch in words that are arguments of what their image starts by itself."""
    said = values(words)
    at, length, _ = program(said)
    if at is None and found.arguments != tuple(words):
        return replace(found, under=under(words))
    if at is None:
        return replace(found, again=int(is_serving(said)))
    if all(_PYTHON.fullmatch(word) or word in _BEFORE for word in said[:at]):
        return replace(found, arguments=tuple(words), again=at + length)
    return replace(found, under=" ".join(said[:at]))


def is_serving(words: Sequence[str]) -> bool:
    """Whether words begin with what stands behind a program's name."""
    return bool(words) and words[0] in _SERVING


def under(words: Sequence[Word]) -> str:
    """What stands before a script among words, the script's first word where nothing does."""
    said = values(words)
    return " ".join(takewhile(lambda word: not SOUGHT.search(word), said)) or said[0].split()[0]


def _of_container(made: Launch, within: Container) -> Launch:
    return replace(
        made,
        form=within.form,
        release=made.release or release_of(within.image),
        image=within.image,
        name=made.name or within.name,
        shares=within.shares,
        around=within.around,
    ).noting(*within.notes)


def program(words: Sequence[str]) -> tuple[int | None, int, str]:
    """Where the program stands, how many words it takes, and whose it is."""
    for at, word in enumerate(words):
        name = word.rpartition("/")[2]
        for engine, (first, *rest) in PROGRAMS:
            if name == first and list(words[at + 1 : at + 1 + len(rest)]) == rest:
                return at, 1 + len(rest), engine
    return None, 0, ""


def engine_by(words: Sequence[str]) -> str:
    """The engine whose options most of the words are, where nothing else tells it."""

    def known(engine: str) -> tuple[int, int]:
        """How many it takes, and how many of these are spelled as it does first."""
        catalogue = dialect(engine).options
        given = (catalogue.reads(word, "").name for word in words if word.startswith("-"))
        taken = [name[2:] for name in given if catalogue.has(name)]
        return len(taken), sum(catalogue.canonical(name) == name for name in taken)

    is_model = bool(words) and not words[0].startswith("-")
    engines = [name for name in (ENGINE, *NAMES) if not is_model or dialect(name).positional]
    return max(engines, key=known)


def other_program(words: Sequence[Word]) -> str:
    """The program that a command starts, where it is none that serves; "" where none is to be
    seen: options alone, or prose before them.
    """
    within = container(words)
    said = [word for word in values(within.words if within else words) if not ASSIGNED.match(word)]
    runs = [at for at, word in enumerate(said) if _PYTHON.fullmatch(word)]
    if runs and said[runs[0] + 1 : runs[0] + 3][:1] == ["-m"]:
        return "".join(said[runs[0] + 2 : runs[0] + 3])
    if runs:
        return "".join(said[runs[0] : runs[0] + 1])
    first = said[0] if said else ""
    if first in IMAGES:
        return " ".join(said[:2])
    if within and first.startswith("-"):
        return within.image
    return first if within or _OTHER.fullmatch(first) else ""


def meant(program: str) -> str:
    """The program that a misspelt one is meant to be; "" where none is near."""
    names = [" ".join(words) for _, words in PROGRAMS]
    return next(iter(get_close_matches(program, names, 1, 0.85)), "")


def dashed(word: Word) -> Word:
    """Forums make one long dash of two: `—tp`."""
    if word.value[:1] in ("\u2013", "\u2014"):
        return Word((Piece("--"), *rest_of(word, 1).pieces))
    return word
