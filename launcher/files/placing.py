"""A file put in its place all at once: a reader finds the old one, or the new one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def place(path: Path, body: str, mode: int = 0o644, *, over: bool = True) -> None:
    """Write a file whole, or leave what was there; its mode is `mode`, whatever the umask is.

    Raises OSError; FileExistsError where something is there already and nothing is to go `over` it.
    """
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, mode)
            file.write(body)
            file.flush()
            os.fsync(descriptor)
        if over:
            Path(fresh).replace(path)
        else:
            path.hardlink_to(fresh)
    finally:
        Path(fresh).unlink(missing_ok=True)
