"""Who named a path: a variable of the environment, or a word of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# Variables whose values are places that this program, and what it asks, put files into.
OURS = ("XDG_", "HF_", "HUGGINGFACE_", "GLM5_SERVE_")
OTHERS = ("HOME", "TMPDIR", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY")


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
