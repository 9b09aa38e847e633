"""Somebody's launches, in whatever form they are passed on: what would run, with which variables,
and what of the text was not read.

Shell scripts, `docker run`, Dockerfiles, compose and Kubernetes files and their kin, systemd units
and quadlets, supervisord's programs, lists of words in Python, options in YAML, notebooks,
Markdown with any of these, a bare list of options. Nothing is run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, islice, pairwise

from launcher import counting
from launcher.engines.engine import dialect
from launcher.formats import (
    arguments,
    dockerfile,
    fragments,
    launches,
    lists,
    notebook,
    supervisor,
    systemd,
    together,
)
from launcher.formats.apart import apart, commands
from launcher.formats.around import of_slurm
from launcher.formats.bash import TANGLED, Script
from launcher.formats.container import container, pinned, unreleased
from launcher.formats.launches import SOUGHT, Launch
from launcher.formats.markdown import blanked, blanked_blocks, blocks, inline
from launcher.formats.masking import unprompted
from launcher.formats.nodes import NotYamlError
from launcher.formats.tree import Document
from launcher.formats.words import Piece, Text, Word, moved, split, text_of, values
from launcher.knowledge import forks, gpu_names

MOST = 1 << 16  # characters; a launch script has some thousand
MOST_WORDS, MOST_VARIABLES, MOST_LAUNCHES = 2000, 500, 100
MOST_SCRIPTS = 10
DEEPEST = 3  # files within files
TREE = re.compile(
    r"^[ \t]*(?:-[ \t]+)?[\"']?[A-Za-z_][\w./-]*[\"']?[ \t]*:(?:[ \t\r]|$)", re.MULTILINE
)
_QUOTED = re.compile(r"""^[ \t]*(["'])(--[^"'\n]*)\1,?[ \t]*$""", re.MULTILINE)
# what a text has that is meant to be YAML with a launch in it
CONTAINER = re.compile(
    r"^[ \t]*(-[ \t]+)?[\"']?(command|args|entrypoint|services|apiVersion|\w*[aA]rgs)[\"']?[ \t]*:",
    re.MULTILINE,
)
_BETWEEN = re.compile(r"[ \t>]*(?:#.*|```.*|~~~.*)?$")  # two paragraphs
_OPTION = re.compile(r"(?:--|\u2014)[A-Za-z]")
_IN_PYTHON = re.compile(r"\b\w+\.Engine\(|\bServerArgs\(")
# `glm5-serve up`, its words apart as scripts, YAML and units write them.
OURS = re.compile(r"\bglm5-serve[\"']?(?=\s)[^#]{0,400}?[\s\"'=]up(?=[\s\"'])")
ELIDED = frozenset(("...", "\u2026", "[...]"))
Notes = list[str]
WINDOWS = (
    "the lines end as Windows ends them: a shell takes the carriage return for a part of the last"
    " word (dos2unix)"
)


@dataclass(frozen=True)
class Reading:
    """The launches of a text, in its order, and what was found and not read."""

    launches: tuple[Launch, ...] = ()
    unread: tuple[str, ...] = ()


def read(text: str) -> Reading:
    """Everything that a text would launch."""
    notes: Notes = []
    whole, text = text, _whole_lines(text)
    found = [_noted(_of_a_size(launch)) for launch in _found(text, notes)]
    if not found and (said := _IN_PYTHON.search(text)):
        notes.append(f"{said[0]}...) is Python's, and no command line: not read")
    if len(whole) > len(text):
        count = counting.of(text.count("\n"), "line")
        notes.append(f"only the first {MOST} characters were read: {count}")
    notes += arguments.untold(text, found)
    if len(found) > MOST_LAUNCHES:
        notes.append(f"only the first {MOST_LAUNCHES} launches were read")
    ours = _ours(_of_engines(_few(found[:MOST_LAUNCHES], notes), text, notes), notes)
    ours = [*_of_forks(_released(ours, pinned(text)), text)]
    noted, named = together.noted([*_once(ours)]), gpu_names.named(text)
    told = (replace(one, around=replace(one.around, named=named)) for one in noted)
    return Reading(tuple(told), tuple(dict.fromkeys(notes)))


def _whole_lines(text: str) -> str:
    """As much of a text as is read, no command of it in part: up to the end of a line that does not
    go on.
    """
    if len(text) <= MOST:
        return text
    ends = [found.end() for found in re.finditer(r"(?<!\\)\r?\n", text[:MOST])]
    return text[: ends[-1] if ends else 0]


def _found(text: str, notes: Notes, depth: int = 0) -> list[Launch]:
    """By the first form that has a launch; blocks of Markdown that have one of their own by it."""
    if source := notebook.source(text):
        return [_elsewhere(launch, None, 0) for launch in _found(source, notes, depth)]
    made: list[Launch] = []
    complaints: Notes = []
    rest = text
    seen = unprompted(text)
    for start, end in blocks(seen) or [(0, len(text))]:
        block = (seen if (start, end) != (0, len(text)) else text)[start:end]
        if found := _of_form(block, notes, complaints):
            lines = text.count("\n", 0, start)
            made += [_elsewhere(launch, start, lines) for launch in found]
            rest = rest[:start] + blanked(rest[start:end]) + rest[end:]
    for start, code in inline(blanked_blocks(rest), SOUGHT):
        lines, end = text.count("\n", 0, start), start + len(code)
        inner = _of_shell(code, notes, depth)
        told = (one for one in inner if not fragments.is_mention(one.words, one.engine))
        made += [_elsewhere(launch, start, lines) for launch in told]
        rest = rest[:start] + blanked(rest[start:end]) + rest[end:]
    for reader in (_of_shell, _of_lines, _of_quoted, _of_arguments, _of_options, _of_printed):
        if found := list(reader(rest, notes, depth)) if not made or reader is _of_shell else []:
            return sorted([*made, *found], key=lambda launch: launch.line) if made else found
    notes += [] if made else [*complaints, *islice(_run_elsewhere(rest), MOST_SCRIPTS)]
    return made


def _of_form(text: str, notes: Notes, complaints: Notes) -> list[Launch]:
    """The launches of a text that is all of one form, and no script; `complaints` are what matters
    where there is no launch at all.
    """
    for reader in (_of_unit, _of_supervisor, _of_dockerfile, _of_tree, _of_lists):
        if found := list(reader(text, complaints if reader is _of_tree else notes)):
            return found
    return []


def _of_engines(found: list[Launch], text: str, notes: Notes) -> list[Launch]:
    """The launches but for those of `glm5-serve up`, which chooses words where it runs."""
    if not OURS.search(text):
        return found
    notes.append("`glm5-serve up` is started: `glm5-serve render` prints its command")
    return [one for one in found if not _is_own(one)]


def _is_own(launch: Launch) -> bool:
    first = launch.words[0] if launch.words else ""
    is_option = launch.form == "options" and first in ("--profile", "-p")
    return is_option or first.rpartition("/")[2] == "glm5-serve"


def _ours(found: list[Launch], notes: Notes) -> list[Launch]:
    """The launches with options; all, where there is none of them. One whose words are left out
    in part is an example, and no command.
    """
    for launch in found:
        if ELIDED & {*launch.words}:
            notes.append(f"line {launch.line} leaves words of a launch out (...): not judged")
    found = [launch for launch in found if not ELIDED & {*launch.words}]
    for launch in found:
        if launch.instead:
            notes.append(f"line {launch.line} starts {launch.instead}: not judged")
    found = [launch for launch in found if not launch.instead]
    ours = [launch for launch in found if launch.words]
    for launch in found if ours else ():
        if not launch.words:
            name = dialect(launch.engine).name
            notes.append(f"{name} is also started with no options that were read: not judged")
    return ours or found


def _released(found: list[Launch], pins: Mapping[str, str]) -> Iterator[Launch]:
    """Each launch with its release: where none names one itself, the one that the text pins."""
    is_named = any(launch.release for launch in found)
    for launch in found:
        release = None if is_named else pins.get(launch.engine)
        if release is None:
            yield launch
            continue
        told = f"the release is {release}, which this text names for {launch.engine}"
        yield replace(launch, release=release).noting(told)


def _of_forks(found: Iterable[Launch], text: str) -> Iterator[Launch]:
    """Each launch with the forks that it may be: those that the text installs, or its image has;
    an image that is not a release of its engine may have any.
    """
    installed = forks.installed_by(text)
    for launch in found:
        is_odd = bool(launch.image and unreleased(launch.image))
        every = {one.id for one in forks.table().rows} if is_odd else set()
        yield replace(launch, forks=installed | forks.of_image(launch.image) | every)


def _elsewhere(launch: Launch, offset: int | None, lines: int) -> Launch:
    """A launch of a part of a text, where it stands in all of it; None: in no place of its own."""
    if not offset and offset is not None:
        return launch
    variables = {name: moved(word, offset) for name, word in launch.variables.items()}
    arguments = tuple(moved(word, offset) for word in launch.arguments)
    return replace(launch, arguments=arguments, variables=variables, line=launch.line + lines)


def _of_unit(text: str, notes: Notes) -> Iterator[Launch]:
    if systemd.is_unit(text):
        yield from systemd.read(text)
        notes += [f"{path} is run by the unit, and not read" for path in systemd.runs_scripts(text)]


def _of_supervisor(text: str, notes: Notes) -> Iterator[Launch]:
    if supervisor.PROGRAM.search(text):
        yield from supervisor.read(text)


def _of_dockerfile(text: str, notes: Notes) -> Iterator[Launch]:
    if dockerfile.FROM.search(text):
        yield from dockerfile.read(text)


def _of_tree(text: str, notes: Notes) -> Iterator[Launch]:
    if systemd.UNIT.search(text) or not (TREE.search(text) or text.lstrip()[:1] in ("[", "{")):
        return
    try:
        yield from Document(text).launches()
    except NotYamlError as error:
        if CONTAINER.search(text):
            notes.append(str(error))


def _of_lists(text: str, notes: Notes) -> Iterator[Launch]:
    yield from lists.read(text)
    for said in lists.scripts(text):
        script = Script(text_of(said.text), place=partial(Script.placed, said.text))
        lines = text.count("\n", 0, said.start)
        for launch in launches.of_script(script):
            yield replace(said.told(launch), line=launch.line + lines)


def _of_shell(text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    parts = [*apart(text, SOUGHT)]
    found = [launch for part in parts for launch in _of_script(part, notes, depth)]
    yield from sorted(found, key=lambda launch: launch.line) if len(parts) > 1 else found


def _of_lines(text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    """The commands among the lines of a text that is prose, and no script."""
    if found := commands(text, SOUGHT):
        yield from _of_script(found, notes, depth)


def _of_script(text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    script = Script(text, wanted=launches.is_of_interest)
    job = of_slurm("\n".join(re.findall(r"^#SBATCH\s.*", text, re.MULTILINE)))
    for launch in launches.of_script(script):
        if fragments.is_prose(launch.words):
            notes.append(f"line {launch.line} reads as a sentence, and no command: not judged")
            continue
        around = replace(launch.around, gpus=launch.around.gpus or job)
        windows = [WINDOWS] if "\r\n" in text and "^\r\n" not in text else []
        yield replace(launch, around=around).noting(*windows)
    notes += [TANGLED] if TANGLED in script.notes else []
    for name, body in script.files.items():  # a file that it writes, and does not run itself
        if SOUGHT.search(text_of(body)) and name not in script.sourced and depth < DEEPEST:
            yield from (
                replace(launch, name=launch.name or name)
                for launch in _of_file(body, text, notes, depth)
            )


def _of_file(body: Text, text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    """The launches of a file that a script has in it."""
    start = next((piece.at for piece in body if piece.at is not None), 0)
    offset = start if Word(body).span else None
    for launch in _found(text_of(body), notes, depth + 1):
        yield _elsewhere(launch, offset, text.count("\n", 0, start))


# What may stand before a script that is run: `exec env A=1 bash -e run.sh`.
_STARTS = re.compile(
    rf"(?:.*/)?(?:{'|'.join(launches.SHELLS)})|-.*|\w+=.*"
    r"|exec|command|env|nohup|nice|setsid|sudo|time|srun|sbatch|source|\."
)


def _run_elsewhere(text: str) -> Iterator[str]:
    """The scripts that a text without a launch runs."""
    for command in Script(text).commands():
        words = (word.value for word in command.words)
        script = next((word for word in words if not _STARTS.fullmatch(word)), "")
        if script.endswith((".sh", ".bash", ".sbatch")):
            yield f"{script} is run, and not read"


def _of_printed(text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    yield from launches.printed(Script(text))


def _of_quoted(text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    """`"--flag value",` a line, as web pages that make commands have them."""
    lines = list(_QUOTED.finditer(text))
    if len(lines) >= 2:
        pieces = [Piece(found[2], found.start(2), fixed=False) for found in lines]
        words = tuple(_template(word) for piece in pieces for word in split((piece,)))
        line = text.count("\n", 0, lines[0].start()) + 1
        if fragments.is_engines([word.value for word in words]):
            yield _of_whom(Launch(words, form="options", line=line))


def _of_arguments(text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    """`SGLANG_ARGS="--tp 8 ..."`: options that a variable hands to whoever starts the server."""
    for found in arguments.variables(text):
        words = tuple(split((Piece(found.value, found.at, fixed=False),)))
        made = _of_whom(Launch(words, form="options", line=found.line, name=found.name))
        yield made.noting(f"the options in {found.name}, for whoever starts a server with them")


def _template(word: Word) -> Word:
    is_filled = re.search(r"\{\{|\$\{|<\w", word.value)
    return Word(tuple(replace(piece, known=False) for piece in word.pieces)) if is_filled else word


def _of_options(text: str, notes: Notes, depth: int) -> Iterator[Launch]:
    """Options alone, whatever stands before them; a paragraph that gives one of them again is
    another launch.
    """
    made: list[Launch] = []
    paragraphs, lines, at = _paragraphs(text), text.split("\n"), -1
    open_text = fragments.open_to_options(text)
    for command in Script(open_text, wanted=launches.is_of_interest).commands():
        first = _first_option(command.words)
        if first is None or (first and (made or _is_inert(command.words))):
            continue
        words = tuple(map(launches.dashed, command.words[first:]))
        said = values(words)
        if first and (program := launches.other_program(command.words)):
            near = launches.meant(program)
            hint = f" known: did you mean {near}?" if near else " known"
            notes.append(f"{program} is started, and is no server that is{hint}")
            continue
        if first and not fragments.tell_one(said):
            continue
        is_told = fragments.is_told(lines[command.line - 1])
        if is_told and fragments.is_nobodys(said):
            continue
        before, at = at, paragraphs[command.line - 1]
        if (
            not made
            or (at != before and _names(made[-1].arguments) & _names(words))
            or (is_told and _is_anothers(made[-1].words, said))
        ):
            made.append(Launch((), {}, "options", line=command.line))
        made[-1] = replace(
            made[-1],
            arguments=(*made[-1].arguments, *words),
            variables={**made[-1].variables, **command.env},
        )
    yield from (_of_whom(one) for one in made if fragments.is_engines(one.words))


def _is_anothers(before: Sequence[str], words: Sequence[str]) -> bool:
    """Whether options are surely of another engine than those before them."""
    engines = {fragments.only_of(before), fragments.only_of(words)}
    return "" not in engines and len(engines) > 1


def _is_inert(words: Sequence[Word]) -> bool:
    """Whether a command prints, looks or waits, and what its words look like is not run."""
    return words[0].value.rpartition("/")[2] in launches.INERT and container(words) is None


def _of_whom(found: Launch) -> Launch:
    """Options alone, as those of the engine that most of them are of."""
    return replace(found, engine=launches.engine_by(found.words))


def _first_option(words: Sequence[Word]) -> int | None:
    said = values(words)
    first = next((at for at, word in enumerate(said) if _OPTION.match(word)), None)
    return None if first is None or fragments.is_prose(said[first:]) else first


def _paragraphs(text: str) -> list[int]:
    """How many blank lines, comments and fences there are up to each line."""
    return [*accumulate(_BETWEEN.match(line) is not None for line in text.split("\n"))]


def _names(words: Sequence[Word]) -> set[str]:
    """The options among words, each by its one name."""
    said = [word.value for word in words if word.value.startswith("--")]
    known = dialect(launches.engine_by(said)).options
    return {known.canonical(known.reads(word, "").name.lstrip("-")) for word in said}


def _noted(found: Launch) -> Launch:
    """A launch that names a file with more options, which is not read."""
    word = f"--{dialect(found.engine).config}"
    files = [following for said, following in pairwise((*found.words, "")) if said == word]
    return found.noting(*(f"options of {file} are not read" for file in files if file))


def _few(found: Sequence[Launch], notes: Notes) -> list[Launch]:
    """The launches up to the one with which there are more words than can be judged."""
    counts = accumulate(len(one.arguments) for one in found)
    kept = [one for one, count in zip(found, counts, strict=True) if count <= MOST_WORDS]
    if len(kept) < len(found):
        notes.append(f"only the first {len(kept)} launches were read: they have {MOST_WORDS} words")
    return kept


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


def _once(found: Iterable[Launch]) -> Iterator[Launch]:
    """Each launch once: a loop, or a function that is called twice, may repeat it."""
    seen: set[tuple[object, ...]] = set()
    for launch in found:
        key = (launch.name, launch.words, tuple(launch.env.items()), launch.line)
        if key not in seen:
            seen.add(key)
            yield launch
