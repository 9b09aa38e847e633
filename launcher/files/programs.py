"""Where the program lies that a name means: never in a current folder that somebody else may
write.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import UserError, in_words
from launcher.files import loaded, ownership

ROOT = "/"  # where helpers run: Python imports from the current folder, which may be anybody's


class NoProgramError(LookupError):
    """The name of a program, and why it is none: "python3 is missing or cannot be executed"."""


def find(name: str, environ: Mapping[str, str]) -> str:
    """The absolute path of a program: a path as it is said, a name as the kernel would find it by
    $PATH.

    Raises NoProgramError where there is none; where a relative entry of $PATH has it, which is
    another folder wherever somebody stands; where a relative path begins in a folder that others
    may write; and, for root, where another user may change what the program is: it would run as
    root.
    """
    found = _at(name) if os.sep in name else _in_path(name, environ)
    if os.geteuid() == 0 and (doubt := ownership.of_program(Path(found))):
        raise NoProgramError(f"{found} is a program that root will not run: {doubt.what}")
    return found


def find_python(name: str, environ: Mapping[str, str]) -> str:
    """The absolute path of an interpreter that is run in ROOT with these variables.

    Raises NoProgramError as `find` does; and, for root, where another user may change what it
    loads, which would run as root.
    """
    found = find(name, environ)
    if why := untrusted(found, environ, ROOT):
        raise NoProgramError(why)
    return found


def untrusted(python: str, environ: Mapping[str, str], folder: str | Path) -> str:
    """Why root will not run an interpreter in a folder, with these variables: itself, or what it
    loads, another user may change. "" where he may not, and for everybody else than root.
    """
    found = python if os.sep in python else shutil.which(python, path=environ.get("PATH"))
    if os.geteuid() != 0 or not found:
        return ""
    path, here = Path(folder) / found, Path(folder)
    with contextlib.suppress(OSError):  # it cannot be run: who runs it says so
        if doubt := ownership.of_program(path):
            return f"{path} is a program that root will not run: {doubt.what}"
        if doubt := loaded.of_python(path, environ, here):
            return f"{path} loads what another user may change, root will not run it: {doubt.what}"
    return ""


def require_trusted(python: str, environ: Mapping[str, str], folder: str | Path) -> None:
    """Raise UserError where root would run an interpreter that is not to be trusted so."""
    if why := untrusted(python, environ, folder):
        raise UserError(why, fix="give what is named to root: `chown -R root`")


def _in_path(name: str, environ: Mapping[str, str]) -> str:
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        if hit := shutil.which(name, path=folder or os.curdir):
            if Path(folder).is_absolute():
                return hit
            raise NoProgramError(
                f"{name} is found by the relative entry {folder!r} of PATH, and not run from there"
            )
    raise NoProgramError(f"{name} is missing or cannot be executed")


def _at(path: str) -> str:
    if not Path(path).is_absolute():
        _require_own_folder(path)
    if hit := shutil.which(path):
        return os.path.abspath(hit)  # noqa: PTH100  links stay: a virtual environment's python is one
    raise NoProgramError(f"{path} is missing or cannot be executed")


def _require_own_folder(path: str) -> None:
    try:
        doubt = ownership.of_current_folder()
    except OSError as error:
        raise NoProgramError(
            f"{path} lies in the current folder, which is gone: {in_words(error)}"
        ) from None
    if doubt:
        raise NoProgramError(
            f"{path} lies in the current folder, which is not yours alone: {doubt.what}"
        )
