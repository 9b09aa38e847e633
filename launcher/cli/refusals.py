"""Whatever stands in the way, in one voice: `error` says what is, `fix` what to do."""

from __future__ import annotations

import errno
import shutil
import sys
import textwrap

import click

from launcher import printable
from launcher.errors import Exit, UserError
from launcher.redact.secrets import hide

# What people know these by from elsewhere: systemctl, docker, kubectl, ollama, vllm.
KNOWN_AS = {
    "check": "doctor",
    "download": "fetch",
    "help": "--help",
    "kill": "down --now",
    "launch": "up",
    "list": "profiles",
    "ls": "profiles",
    "ps": "status",
    "pull": "fetch",
    "run": "up",
    "serve": "up",
    "show": "render",
    "start": "up",
    "stop": "down",
    "validate": "doctor",
    "version": "--version",
}
# Of a disk, or of what takes our output: nothing that is ours to mend.
OF_THE_HOST = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
HANGING = 7  # columns of "error  " and "fix    "


def no_command(word: str, path: str, near: str | None) -> UserError:
    """`word` is no command of the group that is called by `path`; `near` is spelled like it."""
    said = KNOWN_AS.get(word) if " " not in path else None
    ours = said or near
    fix = f"`{path} {ours}`" if ours else f"`{path} --help` lists the commands"
    return UserError(f"no command {word!r}", fix=fix, status=Exit.USAGE)


def of_usage(error: click.ClickException) -> UserError:
    """Click's own refusal in our words, with what is spelled like it, or where help is."""
    near = getattr(error, "possibilities", None)
    said = (error.message if near else error.format_message()).strip().removesuffix(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "glm5-serve"
    fix = f"did you mean {' or '.join(near)}?" if near else f"`{path} --help`"
    return UserError(said[:1].lower() + said[1:], fix=fix, status=Exit.USAGE)


def of_the_host(error: OSError) -> UserError | None:
    """What a full or broken disk refused, None for what is a mistake of ours."""
    if error.errno not in OF_THE_HOST:
        return None
    where = error.filename or "the output"
    return UserError(
        f"cannot write {where}: {(error.strerror or '').lower()}",
        fix="make room there, or write elsewhere",
    )


def show(refusal: UserError) -> None:
    """Print it to standard error, without what looks like a secret; on a terminal words are whole,
    and lines hang under the first.
    """
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 0
    for word, text, colour in (("error", refusal.what, "red"), ("fix", refusal.fix, None)):
        click.secho(f"{word:{HANGING}}", fg=colour, bold=True, nl=False, err=True)
        click.echo(wrapped(_shown(text), width), err=True)


def _shown(text: str) -> str:
    lines = hide(text).split("\n")
    return "\n".join(printable.cut(printable.line(one)) for one in lines)


def wrapped(text: str, width: int) -> str:
    """The lines of `text` in `width` columns, all but the first behind HANGING blanks; 0 columns:
    as it is.
    """
    if not width:
        return text
    room = max(width - HANGING, 20)
    return ("\n" + " " * HANGING).join(
        part for one in text.split("\n") for part in _wrapped(one, room) or [""]
    )


def _wrapped(line: str, room: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(
        line, room, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
