"""API keys: where they may come from, and how they stay out of what the engine prints."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from launcher.errors import UserError
from launcher.files import guarded
from launcher.files.reading import BOM, opened, reason

MOST = 4096  # bytes of a key
CREDENTIALS = Path("/run/credentials")  # root's: a folder for each service that systemd hands some
CHARACTERS = "A-Za-z0-9._~+/-"  # of a key, the last one last in brackets; = may end it
_TOKEN = re.compile(rf"[{CHARACTERS}]+=*")  # RFC 6750 section 2.1: what may follow "Bearer "


def read_key(path: Path) -> str:
    """The key in `path`.

    Raises UserError when the file cannot be read, it is another user's or open to others, or
    what it holds is no bearer token. A symlink is followed unless another user put it there:
    Kubernetes mounts secrets by them.
    """
    fix = f"put the key alone on one line of {path}, then `chmod 600 {path}`"
    if os.path.isdir(path):  # noqa: PTH112 - no error where a folder above it is closed
        fix = "name the file itself: with the key alone on one line, mode 0600"
    try:
        link = path.lstat()
        with opened(path) as file:
            seen = os.fstat(file.fileno())
            text = file.read(MOST + 1).decode().removeprefix(BOM).strip()
    except OSError as error:
        raise UserError(f"cannot read the API key file {path}: {reason(error)}", fix=fix) from None
    except UnicodeDecodeError:
        raise UserError(f"cannot read the API key file {path}: not text", fix=fix) from None
    if strangers := {link.st_uid, seen.st_uid} - {0, os.geteuid()}:
        is_link = link.st_uid in strangers and stat.S_ISLNK(link.st_mode)
        what = "lies behind a symlink of" if is_link else "is owned by"
        fix = f"give it to this user: `chown {os.geteuid()} {path}`"
        raise UserError(
            f"the API key file {path} {what} another user (uid {strangers.pop()})", fix=fix
        )
    if seen.st_mode & 0o077 and not is_credential(path):
        open_to = stat.filemode(seen.st_mode)
        raise UserError(
            f"the API key file {path} is open to others ({open_to}), wanted -rw-------", fix=fix
        )
    if len(text) > MOST or not _TOKEN.fullmatch(text):
        allowed = "letters, digits and - . _ ~ + /, = at its end alone"
        raise UserError(f"{path} holds no usable API key: wanted one word of {allowed}", fix=fix)
    return text


def credential(name: str, environ: Mapping[str, str]) -> Path | None:
    """A credential that systemd handed to this service (LoadCredential=NAME:FILE), if it did."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / name if folder else None
    return path if path and path.is_file() else None


def is_credential(path: Path) -> bool:
    """Whether systemd guards a file: its folder is one service's alone, whatever the file's own
    mode says (-r--r----- where it lets the service in by an ACL, as systemd 257 does).
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder and path.parent == Path(folder):
        return True
    # seen from outside the service, as by root's `restart`
    return path.parent.parent == CREDENTIALS and path.parent.stat().st_uid == 0


def write_key(config: str, text: str) -> None:
    """Put a text with a key in it where the engine reads it, readable by this user alone. Raises
    OSError.

    The folder is recreated if somebody removed it: a server that died is launched again all the
    same.
    """
    path = Path(config)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    guarded.put(path, text.encode())


def remove_key(config: str | None) -> None:
    """Remove what `write_key` put there."""
    if config:
        with contextlib.suppress(OSError):
            guarded.remove(Path(config))
