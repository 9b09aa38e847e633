"""A text of somebody's, replaced in its place."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import UserError
from launcher.files import guarded, reading

MOST_BYTES = 8 << 20  # of a file with a launch in it


def written(file: Path, old: str, new: str) -> None:
    """Replace a file's text, its mode and owner kept: all of it or nothing. Raises UserError.

    A link stays one: what it points to is replaced. What changed since it was read is left alone.
    """
    path = file.resolve()
    try:
        seen = path.stat()
        if seen.st_nlink > 1 or not seen.st_mode & 0o222:
            what = (
                "is read-only" if seen.st_nlink == 1 else f"has {seen.st_nlink} names (hard links)"
            )
            fix = f"`glm5-serve lint --fix {file}` prints the text"
            raise UserError(f"{file} {what}: it is not replaced", fix=fix)
        if reading.read_bytes(path, MOST_BYTES) != old.encode():
            fix = "run it again; a file that is not UTF-8 is to be changed by hand"
            raise UserError(f"{file} is not what was read", fix=fix)
        guarded.replace(path, new.encode(), seen)
    except OSError as error:
        fix = f"`glm5-serve lint --fix {file}` prints the text"
        raise UserError(f"cannot write {file}: {reading.reason(error)}", fix=fix) from None
