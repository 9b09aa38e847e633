"""Where a file goes that somebody wants written, and a file put in its place all at once: a reader
finds the old one, or the new one.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from launcher.errors import Exit, UserError
from launcher.files import places
from launcher.files.reading import reason


def target(said: str, name: str, ending: str = "") -> Path:
    """The file that is meant by a word of the command line: in a folder one called `name`. What
    ends in a slash is a folder, and made; a file has the `ending` of what comes into it. Raises
    UserError.
    """
    path = Path(said)
    if not (said.endswith(os.sep) or path.is_dir()):
        if not path.name.lower().endswith(ending):
            what = f"{said} does not end in {ending}, which is what comes into it"
            raise UserError(what, fix=f"name a file{ending}, or a folder/", status=Exit.USAGE)
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = places.obstacle(path)
        told = f"{said} names {why}" if why else f"cannot make the folder {said}: {reason(error)}"
        raise UserError(told, fix="name a folder that you may write, or a new file") from None
    return path / name


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
