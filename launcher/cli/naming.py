"""Who named a path: a variable of the environment, or a word of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Variables whose values are places that this program, and what it asks, put files into.
OURS = ("XDG_", "HF_", "HUGGINGFACE_", "GLM5_SERVE_")
OTHERS = ("HOME", "TMPDIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY")


# All that are read, beside those that set a profile's value.
KNOWN = ("GLM5_SERVE_STATE_DIR", "GLM5_SERVE_TRACEBACK", "GLM5_SERVE_SESSION")
PREFIX, VALUES = "GLM5_SERVE_", "GLM5_SERVE__"


def unread(environ: Mapping[str, str]) -> Iterator[str]:
    """A line for each variable that begins as ours do and is none, with the nearest that is."""
    for name in environ:
        if name.startswith(PREFIX) and not name.startswith(VALUES) and name not in KNOWN:
            from difflib import get_close_matches

            table = name.removeprefix(PREFIX)
            near = get_close_matches(name, KNOWN, 1, 0.8)
            meant = near[0] if near else f"{VALUES}{table}" if "__" in table else ""
            hint = f", did you mean {meant}?" if meant else ""
            yield f"{name} is no variable of glm5-serve, and is not read{hint}"


def source(path: str, environ: Mapping[str, str], words: Sequence[str]) -> tuple[str, Path] | None:
    """What named `path`, or a folder that it lies below, and the place that it named: `--out`,
    `XDG_CACHE_HOME`; None where nothing did. The nearest place counts, and a word before a
    variable.
    """
    there = Path(path).absolute()
    named = [(name, Path(value).absolute()) for name, value in (*_said(words), *_set(environ))]
    found = [(name, place) for name, place in named if place in (there, *there.parents)]
    return max(found, key=lambda one: len(one[1].parts), default=None)


def _set(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if value.startswith("/") and (name.startswith(OURS) or name in OTHERS):
            yield name, value


def _said(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    before = ""
    for word in words:
        option, equals, value = word.partition("=")
        if word.startswith("-"):
            yield from ((option, value),) if equals else ()
        else:
            yield before or word, word
        before = word if word.startswith("-") and not equals else ""
