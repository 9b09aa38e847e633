"""Options without a program before them: whether they are an engine's, or anybody's. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import nearest_name
from launcher.formats import dockerfile, lists, systemd
from launcher.formats.markdown import blanked, blanked_match, blocks
from launcher.knowledge import forks, others

_PLAIN = re.compile(r"\(?[A-Za-z][a-z]+[.,;:)]{0,2}")
MOST_PLAIN = 3  # such words beside the options, as a model and a list have them
_ITEM = re.compile(r"""^[ \t]*-[ \t]+(["'])--[^\n]*\1[ \t]*(?:#[^\n]*)?$""", re.MULTILINE)
_NAME = re.compile(r"--?[A-Za-z]")
_CODE = re.compile(r"`[^`\n]*`|\]\([^)\n]*\)")
# what programs of any kind call so: no word of an engine's
_ANYBODYS = frozenset(
    "api-key config device help host log-level model port revision seed timeout trust-remote-code"
    " version".split()
)


def is_engines(words: Sequence[str]) -> bool:
    """Whether options are an engine's: at least as many of them that some release has, or a slip of
    those, as others.
    """
    names = [word for word in words if _NAME.match(word)]
    counts = (sum(_is_known(word, engine) for word in names) for engine in NAMES)
    known = max(counts)
    return known > 0 and 2 * known >= len(names)


def is_prose(words: Sequence[str]) -> bool:
    """Whether options stand in a sentence: most words are of the language, and more of them, each
    told once, than each option could have for its value.
    """
    options = sum(_NAME.match(word) is not None for word in words)
    plain = [word for word in words if _PLAIN.fullmatch(word)]
    return len({*plain}) > options + MOST_PLAIN and 3 * len(plain) > len(words)


def is_mention(words: Sequence[str], engine: str) -> bool:
    """Whether a command in a sentence only names an option that wants a value: `serve --model`."""
    known = dialect(engine).options
    given = known.release(known.newest).given(words)
    return bool(given) and (given[-1].problem or "").endswith("wants a value")


def is_anybodys(words: Iterable[str]) -> bool:
    """Whether options tell of no engine: `--host` and `--port` are every program's."""
    names = {word.partition("=")[0][2:] for word in words if _NAME.match(word)}
    return names <= _ANYBODYS


def tell_one(words: Sequence[str]) -> bool:
    """Whether options by themselves tell that a server is started, whatever program stands before
    them: most are an engine's, letter by letter, and some no other program's.
    """
    names = [word for word in words if _NAME.match(word)]
    for spoken in map(dialect, NAMES):
        known = spoken.options
        read = (known.canonical(known.reads(word, "").name.lstrip("-")) for word in names)
        taken = [name for name in read if known.has(f"--{name}")]
        own = {*spoken.roles, spoken.option_of("model_path")}
        is_one = any(name.count("-") > 1 or name in own for name in {*taken} - _ANYBODYS)
        if is_one and 2 * len(taken) >= len(names):
            return True
    return False


def only_of(words: Iterable[str]) -> str:
    """The engine that alone takes each of the options; "" where none does, or both."""
    names = [word for word in words if _NAME.match(word)]

    def takes_all(engine: str) -> bool:
        known = dialect(engine).options
        return all(known.has(known.reads(word, "").name) for word in names)

    engines = [engine for engine in NAMES if takes_all(engine)]
    return engines[0] if len(engines) == 1 else ""


def is_nobodys(words: Sequence[str]) -> bool:
    """Whether options that a sentence tells of are none of an engine's or a fork's, or only named,
    without the value that they want.
    """
    if is_mention(words, only_of(words) or NAMES[0]):
        return True
    every = [dialect(engine).options for engine in NAMES]
    return not all(
        forks.of_option(word) or any(one.has(one.reads(word, "").name) for one in every)
        for word in words
        if _NAME.match(word)
    )


def is_told(line: str) -> bool:
    """Whether a line is a sentence, with options in it as code."""
    return is_prose(_CODE.sub(" ", line).split())


def _is_known(word: str, engine: str) -> bool:
    known = dialect(engine).options
    said = known.reads(word, "")
    newest = known.release(known.newest)
    if said.member:  # `--config.file` is no part of the JSON of `--config`
        return any(option.parts for option in newest.candidates(said.name))
    short = f"--{known.short.get(said.name[2:], '')}"
    return bool(
        known.has(said.name)
        or known.has(short)
        or forks.of_option(said.name)
        or others.of_option(said.name)
        or nearest_name(said.name, newest)
    )


def open_to_options(text: str) -> str:
    """A text without what has a form of its own, in which an option is some program's: code,
    Dockerfiles, units, and items of lists, whose values are items, too; as many characters, lines
    kept.
    """
    for start, end in blocks(text) or [(0, len(text))]:
        block = text[start:end]
        if lists.is_code(block) or dockerfile.FROM.search(block) or systemd.is_unit(block):
            text = text[:start] + blanked(block) + text[end:]
    return _ITEM.sub(blanked_match, text)
