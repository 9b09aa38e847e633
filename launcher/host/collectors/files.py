"""Reading small files below a root: a value, or why there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from launcher.files.reading import read_text, reason
from launcher.host.facts import Fact, known, unknown

T = TypeVar("T")
MOST = 8 << 20  # bytes; /proc/cpuinfo of 1,000 CPUs has 1.5 MB


def text(root: Path, path: str) -> Fact[str]:
    """What a file says, without the white space around it."""
    try:
        return known(read_text(root / path, MOST, "replace").strip())
    except OSError as error:
        return missing(path, error)


def missing(path: str, error: OSError) -> Fact[T]:
    """Why a file cannot be read."""
    return unknown(f"/{path}: {reason(error)}")


def parsed(fact: Fact[str], convert: Callable[[str], T]) -> Fact[T]:
    """A text as what it means; one that means nothing is unknown."""
    if not fact.known:
        return unknown(str(fact.unknown))
    try:
        return known(convert(fact.get()))
    except (ValueError, IndexError, KeyError) as error:
        return unknown(f"not readable: {error}")


def names(root: Path, path: str) -> Fact[tuple[str, ...]]:
    """The names in a folder, sorted; a folder that is not there has none where its parent is."""
    try:
        return known(tuple(sorted(os.listdir(root / path))))  # noqa: PTH208  names, not paths
    except FileNotFoundError as error:
        return known(()) if (root / path).parent.is_dir() else missing(path, error)
    except OSError as error:
        return missing(path, error)


def lines(root: Path, path: str) -> Iterator[str]:
    """The lines of a file, none where it cannot be read."""
    fact = text(root, path)
    return iter(fact.get().splitlines() if fact.known else ())
