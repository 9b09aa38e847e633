"""Files that are put aside when they are large."""

from __future__ import annotations

import contextlib
from pathlib import Path


def rotate(path: Path, kept: int) -> None:
    """`path` becomes `path`.1, that becomes .2, and so on up to `kept`. Raises OSError."""
    for number in range(kept, 0, -1):
        older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        with contextlib.suppress(FileNotFoundError):
            older.replace(path.with_name(f"{path.name}.{number}"))
