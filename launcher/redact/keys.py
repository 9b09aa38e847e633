"""API keys: where they may come from, and how they stay out of everything that is printed or
kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from launcher.errors import UserError
from launcher.files.reading import BOM, opened, reason
from launcher.redact.keyspelling import HIDDEN, spellings

MOST = 4096  # bytes of a key
CHARACTERS = "A-Za-z0-9._~+/-"  # of a key, the last one last in brackets; = may end it
_TOKEN = re.compile(rf"[{CHARACTERS}]+=*")  # RFC 6750 section 2.1: what may follow "Bearer "
_QUOTE = r"""\\{0,16}+['"]"""  # escaped in JSON that stands in JSON
_BARE = (
    r"""(?:[^\s'"&\\]|\\(?!['"\\]))+(?<![,;)}\]>])"""  # a value without quotes, up to what ends it
)
_FLAG = re.compile(r"(?<!-)--[\w-]{0,24}\Z")
_LONGEST_FLAG = 27  # characters, one before it included
# What goes on behind an option's name in a sentence, or stands for its value in one.
_SAID = (
    "wants takes has needs is are was and or in on of to for with without at by as alone given left"
    " named option options which that so where from instead stands KEY FILE".split()
)
_NOTHING = r"""(?:None|null|True|true|False|false)(?=[\s'",;&)}\]\\]|$)"""


@dataclass(frozen=True)
class Printed:
    r"""What finds the value of a name, however a program prints the two.

    That is `n='x'`, `n: x`, `'n': 'x'`, `\"n\":\"x\"`, `--n x`, `['--n', 'x']`. A name is found
    first, and its value looked at only then: the time that this takes grows with the text alone.
    """

    head: re.Pattern[str]
    bare: re.Pattern[str]

    def hide(self, text: str) -> str:
        """A text without these values."""
        parts, done = [], 0
        for begin, end in self._values(text):
            parts += [text[done:begin], HIDDEN]
            done = end
        return "".join(parts) + text[done:] if parts else text

    def begins(self, text: str) -> int | None:
        """Where the first value begins."""
        return next((begin for begin, _ in self._values(text)), None)

    def _values(self, text: str) -> Iterator[tuple[int, int]]:
        at = 0
        while head := self.head.search(text, at):
            value = None
            if head["behind"] is None or _FLAG.search(
                text, max(0, head.start() - _LONGEST_FLAG), head.start()
            ):
                value = (_quoted(head["quote"]) if head["quote"] else self.bare).match(
                    text, head.end()
                )
            at = value.end() if value else head.start() + 1
            if value:
                yield head.end(), at


@lru_cache(maxsize=64)
def _quoted(quote: str) -> re.Pattern[str]:
    return re.compile(rf"(?:(?!{re.escape(quote)})(?:\\.|[^\\\r\n]))+")


def printed(names: str, initials: str, bare: str = _BARE) -> Printed:
    """What finds the values of names, patterns both; with the initials of the names it is three
    times as fast.
    """
    # only an option has its value behind a space or a comma
    behind = r"(?P<behind>[ \t]*+,[ \t]*|[ \t]+)"
    said = rf"(?!(?-i:{'|'.join(_SAID)})(?:[ \t,;:.)`]|$))"
    sign = rf"[ \t]*+=[ \t]*|(?:[ \t]*+:[ \t]*|{behind}){said}"
    nothing = rf"(?!{_NOTHING}|\[redacted|--)"
    head = rf"(?i)(?=[{initials}])(?:{names})(?:{_QUOTE})?(?:{sign})(?P<quote>{_QUOTE})?{nothing}"
    return Printed(re.compile(head), re.compile(bare))


_PRINTED = printed("api[_-]?key", "a")

# Names of variables that hold secrets: they belong into no profile, plan or report. Some only sound
# like it.
INNOCENT = "".join(f"(?<!{name}_KEY)" for name in ("GRAPH", "PUBLIC", "CACHE", "ROUTING", "SORT"))
SECRET_VARIABLE = re.compile(
    r"(?:(?:^|_)(?:TOKEN|SECRET|KEY|PASS|PAT|AUTH|AUTH_CONFIG|CREDENTIALS?)|_PWD|PASSWORD|PASSWD|PASSPHRASE|APIKEY)$"
    rf"{INNOCENT}(?<!PER_TOKEN)(?<!FORWARD_PASS)(?<!APPLICATION_CREDENTIALS)",
    re.IGNORECASE,
)


def read_key(path: Path) -> str:
    """The key in `path`.

    Raises UserError when the file cannot be read, it is another user's or open to others, or
    what it holds is no bearer token. A symlink is followed unless another user put it there:
    Kubernetes mounts secrets by them.
    """
    fix = f"put the key alone on one line of {path}, then `chmod 600 {path}`"
    if os.path.isdir(path):  # noqa: PTH112 - no error where a folder above it is closed
        fix = "--api-key-file names the file itself: with the key alone on one line, mode 0600"
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
        allowed = "letters, digits and - . _ ~ + / ="
        raise UserError(f"{path} holds no usable API key: wanted one word of {allowed}", fix=fix)
    return text


def credential(name: str, environ: Mapping[str, str]) -> Path | None:
    """A credential that systemd handed to this service (LoadCredential=NAME:FILE), if it did."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / name if folder else None
    return path if path and path.is_file() else None


def is_credential(path: Path) -> bool:
    """Whether systemd guards a file: its folder is this service's alone, whatever the file's own
    mode says.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.parent == Path(str(folder))


def write_key(config: str, text: str) -> None:
    """Put a text with a key in it where the engine reads it, readable by this user alone. Raises
    OSError.

    The folder is recreated if somebody removed it: a server that died is launched again all the
    same.
    """
    path = Path(config)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def remove_key(config: str | None) -> None:
    """Remove what `write_key` put there."""
    if config:
        with contextlib.suppress(OSError):
            Path(config).unlink()


def scrub(text: str, key: str | None, before: str = "") -> str:
    """`text` without `key`, however it is spelled, and without what else stands where engines print
    a key.

    The key may begin in `before`, the end of the line before.
    """
    if key:
        text = spellings(key).hide(text, before)
    # Every line of the server comes here. A single letter is found fastest, and most lines have no
    # y.
    maybe = ("y" in text or "Y" in text) and "api" in text.lower()
    return _PRINTED.hide(text) if maybe else text
