"""The digests that a hub gave for a checkpoint's files, and those of the files as they are.

huggingface_hub keeps them in two ways (its documentation of the cache): in its cache a file is a
link to a blob named by its digest, and beside a plain folder
`.cache/huggingface/download/NAME.metadata` has it in the second line. Files of git-lfs have
SHA-256, small ones git's own SHA-1 of `blob SIZE NUL content`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.files.reading import opened, read_text
from launcher.host import fingerprint

MOST_METADATA = 1 << 16  # bytes; it has three lines
PIECE = 8 << 20  # bytes read at once
DIGEST = re.compile(r"[0-9a-f]{64}|[0-9a-f]{40}")


def promised(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Each file of a checkpoint with the digest that the hub gave for it, None where that was not
    kept.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield path, _of_blob(path) or _of_metadata(folder, path.name)


def _of_blob(path: Path) -> str | None:
    target = path.resolve()
    return (
        target.name
        if path.is_symlink() and target.parent.name == "blobs" and DIGEST.fullmatch(target.name)
        else None
    )


def _of_metadata(folder: Path, name: str) -> str | None:
    try:
        lines = read_text(
            folder / f".cache/huggingface/download/{name}.metadata", MOST_METADATA
        ).split("\n")
    except OSError:
        return None
    return lines[1].strip() if len(lines) > 1 and DIGEST.fullmatch(lines[1].strip()) else None


def digest(path: Path, like: str, tick: Callable[[int], None] = lambda size: None) -> str:
    """The digest of a file, of the same kind as `like`; `tick` is told of bytes read.

    Raises OSError.
    """
    with opened(path) as file:
        if len(like) == 64:
            made = hashlib.sha256()
        else:
            size = os.fstat(file.fileno()).st_size
            made = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        while piece := file.read(PIECE):
            made.update(piece)
            tick(len(piece))
    return made.hexdigest()


def marks(folder: Path) -> dict[str, str]:
    """What stands for each file of a checkpoint in its fingerprint. Raises OSError."""
    return {
        path.name: _mark(path)
        for path in folder.iterdir()
        if fingerprint.counts(path.name) and path.is_file()
    }


def _mark(path: Path) -> str:
    size = path.stat().st_size
    if path.name.endswith(fingerprint.WEIGHTS) or size > fingerprint.MOST:
        return str(size)
    return digest(path, "0" * 64)
