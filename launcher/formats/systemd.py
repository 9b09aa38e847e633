"""A systemd unit that runs a plan's server, and the launches in somebody's unit or quadlet.

Quoting, escapes and specifiers as systemd.syntax(7), systemd.service(5) and systemd.unit(5) have
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from launcher import printable
from launcher.engines.engine import dialect
from launcher.formats import bash, directives, grace, launches, mounts, quadlet_keys, shell
from launcher.formats.bash import Script
from launcher.formats.container import engine_of, release_of, starts
from launcher.formats.directives import Directive
from launcher.formats.grace import Grace
from launcher.formats.launches import Launch
from launcher.formats.unread import of_variables
from launcher.formats.words import Piece, Text, Word, rest_of, split, text_of
from launcher.plan.plan import Plan

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of a service
UNIT = re.compile(r"^[ \t]*(?:ExecStart|Exec)[ \t]*=", re.MULTILINE)
_BEGIN = re.compile(rf"^[ \t]*\[(?:Unit|Service|Container)\]|{UNIT.pattern}", re.MULTILINE)
_SECTION = re.compile(r"^[ \t]*\[(\w+)\]")
_PREFIXES = "@-:+!|"
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL
)
_VARIABLE = re.compile(r"\$\$|\$\{(\w+)\}|\$(\w+)")
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


# -- written ---------------------------------------------------------------------------------------


def write(plan: Plan) -> str:
    """A unit that runs the server by itself: the same words and variables as under `up`, without
    health checks. What it may be started with and how long is the plan's.
    """
    notes = [f"# note: {note}" for note in plan.notes]
    seconds = round(plan.policy.stop_timeout) + 30
    lines = [
        f"# glm5-serve: profile {plan.name}. It runs the server by itself;",
        "# `glm5-serve systemd install` writes one that keeps it up.",
        *notes,
        "[Unit]",
        f"Description={stated(plan.name)}: {stated(plan.model_name)}",
        "Wants=network-online.target nvidia-persistenced.service",
        "After=network-online.target nvidia-persistenced.service nvidia-fabricmanager.service",
        "",
        "[Service]",
        *(
            f"Environment={quoted(f'{name}={value}', dollar=False)}"
            for name, value in _variables(plan).items()
        ),
        *_key(plan),
        f"ExecStart={_command(plan)}",
        "Restart=always",  # a vLLM that dies of an exception ends with status 0
        "RestartSec=10",
        "KillMode=mixed",  # a rank that is told to go itself does not finish its requests
        f"TimeoutStopSec={seconds}",
        "LimitMEMLOCK=infinity",
        "LimitNOFILE=1048576",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return (
        "\n".join(printable.line(line) if line.startswith("#") else line for line in lines) + "\n"
    )


def _variables(plan: Plan) -> dict[str, str]:
    """The plan's, and the programs beside the engine's interpreter first, as under `up`."""
    folder, env = plan.python.rpartition("/")[0], dict(plan.env)
    # systemd puts no variable into a variable: all of it is written out
    return env | {"PATH": f"{folder}:{env.get('PATH', PATH)}"} if folder else env


def stated(text: str) -> str:
    """A value that is no command: a specifier is two signs, a line is one."""
    return printable.line(text).replace("%", "%%")


def quoted(text: str, *, dollar: bool = True) -> str:
    """One word as systemd reads it back; `dollar`: where it would put variables in."""
    text = text.replace("%", "%%").replace("$", "$$") if dollar else text.replace("%", "%%")
    if _PLAIN.fullmatch(text):
        return text
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    )
    return '"' + _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", escaped) + '"'


def _command(plan: Plan) -> str:
    lines: list[list[str]] = [list(map(quoted, plan.program))]
    for word in plan.arguments:
        if word.startswith("--") or len(lines) == 1:
            lines.append([])
        lines[-1].append(quoted(word))
    return " \\\n  ".join(" ".join(line) for line in lines)


def _key(plan: Plan) -> list[str]:
    variable = dialect(plan.engine).key.variable
    if not plan.key_file or not (plan.key_config or variable):
        return []
    if plan.key_config:
        return [f"ExecStartPre=/bin/sh -c {quoted(shell.key_script(plan))}"]
    file = f"{plan.state}/key.env"
    script = shell.written_key(plan.key_file, file, f"{variable}=%s\n")
    return [f"ExecStartPre=/bin/sh -c {quoted(script)}", f"EnvironmentFile=-{stated(file)}"]


# -- read ------------------------------------------------------------------------------------------


@dataclass
class Unit:
    """What a unit says, as far as a launch needs it."""

    commands: list[Text] = field(default_factory=list)
    env: dict[str, Word] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    image: str = ""
    entry: tuple[Word, ...] | None = None  # what starts instead of what its image does
    name: str = ""
    mounts: dict[str, str] = field(default_factory=dict)
    is_quadlet: bool = False
    grace: Grace | None = None
    said: list[Directive] = field(default_factory=list)


def is_unit(text: str) -> bool:
    """Whether it is a unit, and no script that writes one."""
    begin = _BEGIN.search(text) if UNIT.search(text) else None
    return begin is not None and "<<" not in text[: begin.start()]


def read(text: str) -> Iterator[Launch]:
    """The launches of a unit; a value in a file is not read, and noted."""
    unit = _unit(text)
    if unit.is_quadlet:
        yield from _of_quadlet(text, unit)
        return
    script = Script("")
    for command in unit.commands:
        words = _arguments(command, unit)
        if words:
            made = bash.Command(tuple(words), dict(unit.env), {}, _line(text, words))
            for found in launches.of_command(made, script, "systemd"):
                form = found.form if found.form.startswith("docker") else "systemd"
                around = replace(found.around, grace=unit.grace or found.around.grace)
                beside = directives.of_unit(text, unit.said, [word.value for word in words])
                own = around.directives.said
                around = replace(around, directives=replace(beside, said=(*beside.said, *own)))
                made_of = replace(found, form=form, hidden={}, around=around)
                yield made_of.noting(*unit.notes)


def _of_quadlet(text: str, unit: Unit) -> Iterator[Launch]:
    given = [word for command in unit.commands for word in _arguments(command, unit)]
    words = [*(unit.entry or ()), *given]
    is_own = unit.entry is None and starts(unit.image)
    line = _line(text, words)
    made = bash.Command(tuple(words), unit.env, {}, line)
    found = [*launches.of_command(made, Script(""), "quadlet")] if words else []
    engine = engine_of(unit.image)
    whose = launches.engine_by([word.value for word in words])
    for launch in found or [Launch(tuple(words), unit.env, "quadlet", whose)]:
        launch = replace(launch, engine=engine or launch.engine, release=release_of(unit.image))
        if is_own:
            launch = launches.entered(words, launch)
        beside = directives.of_unit(text, unit.said, ())
        around = replace(launch.around, mounts=unit.mounts, grace=unit.grace, directives=beside)
        launch = replace(launch, image=unit.image, name=unit.name, line=line, hidden={})
        launch = replace(launch, around=around)
        yield launch.noting(*unit.notes)


def runs_scripts(text: str) -> list[str]:
    """Programs of a unit that are scripts of somebody's."""
    firsts = [next(iter(split_words(command)), None) for command in _unit(text).commands]
    return [
        word.value
        for word in firsts
        if word and word.value.lstrip(_PREFIXES).endswith((".sh", ".bash"))
    ]


def _line(text: str, words: list[Word]) -> int:
    at = next((piece.at for word in words for piece in word.pieces if piece.at is not None), 0)
    return text.count("\n", 0, at) + 1


def _unit(text: str) -> Unit:
    unit, section = Unit(), ""
    for key, value in _settings(text):
        said = text_of(value).strip()
        if key != "[":
            unit.said.append(Directive(section, key, said))
        if section == "Container" and (meant := quadlet_keys.slip(key)):
            what = f"quadlet (podman {quadlet_keys.RELEASE}) refuses the unit for {key}="
            unit.notes.append(f"{what}: {meant}= is meant")
        match key:
            case "[":
                section = said
                unit.is_quadlet |= section == "Container"
            case "ExecStart" | "Exec" if not said:  # a drop-in takes back what was said before
                unit.commands.clear()
            case "Environment" if not said:
                unit.env.clear()
            case "Environment":
                for word in split_words(value):
                    name, equals, _ = word.value.partition("=")
                    if equals:
                        given = _specified(rest_of(word, len(name) + 1).pieces)
                        unit.env[name] = Word(_passed_on(given) if unit.is_quadlet else given)
            case "EnvironmentFile":
                unit.notes.append(of_variables(said.lstrip("-")))
            case "TimeoutStopSec" | "TimeoutSec":
                unit.grace = grace.said(key, said) or unit.grace
            case "ExecStart" | "Exec":
                unit.commands.append(value)
            case "Entrypoint":
                unit.entry = tuple(split_words(value))
            case "Image":
                unit.image = said
            case "Volume":
                unit.mounts |= mounts.of_volume(said)
            case "ContainerName":
                unit.name = said
    return unit


def _settings(text: str) -> Iterator[tuple[str, Text]]:
    """Each `Key=value`, continued lines joined, and each `[Section]` under the key `[`."""
    key, pieces, at = "", [], 0
    for line in text.split("\n"):
        start, at = at, at + len(line) + 1
        bare = line.removesuffix("\r")
        if key and bare.lstrip()[:1] in ("#", ";"):
            continue
        if not key:
            if found := _SECTION.match(bare):
                yield "[", (Piece(found[1]),)
                continue
            name, equals, value = bare.partition("=")
            if not equals or name.lstrip()[:1] in ("#", ";"):
                continue
            key, start, bare = name.strip(), start + len(name) + 1, value
        goes_on = bare.endswith("\\")
        pieces.append(Piece(bare[:-1] if goes_on else bare, start))
        if goes_on:
            pieces.append(Piece(" "))
        else:
            yield key, tuple(pieces)
            key, pieces = "", []
    if key:
        yield key, tuple(pieces)


def split_words(text: Text) -> Iterator[Word]:
    """The words of a line as systemd splits them: quotes and escapes anywhere in one."""
    word: list[Piece] | None = None
    quote = ""
    for piece, start, end, char in _characters(text):
        if not quote and char in " \t\n":
            if word is not None:
                yield Word(_merged(word))
            word = None
        elif char == quote and end - start == 1:
            quote = ""
        elif not quote and char in ("'", '"') and end - start == 1:
            word, quote = word or [], char
        else:
            word = word or []
            word.append(piece.part(start, end) if end - start == 1 else Piece(char))
    if word is not None:
        yield Word(_merged(word))


def _characters(text: Text) -> Iterator[tuple[Piece, int, int, str]]:
    """Each character: where in which piece it stands, and what it is; an escape is one."""
    for piece in text:
        at = 0
        while at < len(piece.text):
            found = _ESCAPE.match(piece.text, at)
            end = found.end() if found else at + 1
            yield piece, at, end, _unescaped(found) if found else piece.text[at]
            at = end


def _unescaped(found: re.Match[str]) -> str:
    digits = found[1] or found[2] or found[3]
    if digits:
        return chr(min(int(digits, 16), 0x10FFFF))
    if found[4]:
        return chr(int(found[4], 8))
    return _ESCAPES.get(found[5], found[5])


def _merged(pieces: list[Piece]) -> Text:
    """Characters that stand in a row as one piece."""
    made: list[Piece] = []
    for piece in pieces:
        last = made[-1] if made else None
        if last and last.at is not None and piece.at == last.at + len(last.text):
            made[-1] = replace(last, text=last.text + piece.text)
        else:
            made.append(piece)
    return tuple(made) or (Piece(""),)


def _specified(text: Text) -> Text:
    """`%%` as the sign that it is; any other specifier is systemd's to fill in."""
    return _substituted(text, re.compile(r"%."), lambda found: "%" if found[0] == "%%" else None)


def _passed_on(text: Text) -> Text:
    """A variable of a container as podman gets it: quadlet makes it a word of a command."""
    return _substituted(text, _VARIABLE, lambda found: "$" if found[0] == "$$" else None)


def _arguments(command: Text, unit: Unit) -> list[Word]:
    """The words of a command, its variables put in; those of a container have no prefix."""
    first, *rest = [Word(_specified(word.pieces)) for word in split_words(command)] or [Word(())]
    prefixes = "" if unit.is_quadlet else _PREFIXES
    bare = Word(rest_of(first, len(first.value) - len(first.value.lstrip(prefixes))).pieces)
    return [bare, *(part for word in rest for part in _expanded(word, unit.env))]


def _expanded(word: Word, env: Mapping[str, Word]) -> Iterator[Word]:
    alone = re.fullmatch(r"\$(\w+)", word.value)
    if alone and alone[1] in env:
        yield from split(tuple(replace(piece, fixed=False) for piece in env[alone[1]].pieces))
        return
    value: Callable[[re.Match[str]], str | None] = lambda found: (
        "$" if found[0] == "$$" else env[found[1]].value if found[1] in env else None
    )
    yield Word(_substituted(word.pieces, _VARIABLE, value))


def _substituted(
    text: Text, pattern: re.Pattern[str], value: Callable[[re.Match[str]], str | None]
) -> Text:
    """A text with what is found in it replaced; what has no value comes from outside."""
    made: list[Piece] = []
    for piece in text:
        at = 0
        for found in pattern.finditer(piece.text) if piece.known else ():
            made += [piece.part(at, found.start())] if found.start() > at else []
            new = value(found)
            made.append(
                Piece(new) if new is not None else replace(piece.part(*found.span()), known=False)
            )
            at = found.end()
        made += [piece.part(at, len(piece.text))] if at < len(piece.text) or not made else []
    return tuple(made)
