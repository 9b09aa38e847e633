"""Whatever stands in the way, in one voice: `error` says what is, `fix` what to do."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path

import click

from launcher import folding, printable
from launcher.cli import naming
from launcher.errors import Exit, UserError
from launcher.files import places
from launcher.redact.secrets import hide

# What people know these by from elsewhere: systemctl, docker, kubectl, ollama, vllm.
KNOWN_AS = {
    "check": "doctor",
    "describe": "status",
    "download": "fetch",
    "get": "status",
    "help": "--help",
    "inspect": "status",
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
# The same below a group, by its name; in backticks what is no command of ours.
OF_A_GROUP = {
    "profiles": {
        **dict.fromkeys(("list", "ls"), "profiles"),
        **dict.fromkeys(("cat", "describe", "get", "inspect"), "profiles show"),
        **dict.fromkeys(("add", "create", "init"), "profiles new"),
        "check": "profiles validate",
        **dict.fromkeys(
            ("delete", "remove", "rm"),
            "`rm FILE`: `glm5-serve profiles show NAME` says where it is",
        ),
    },
    "systemd": {
        "status": "status",
        "logs": "logs",
        "restart": "restart",
        "stop": "down",
        **dict.fromkeys(
            ("disable", "enable", "reload", "start"), "`systemctl COMMAND glm5-serve@PROFILE`"
        ),
        **dict.fromkeys(("delete", "remove", "rm"), "systemd uninstall"),
        "show": "systemd print",
    },
    "gateway": {
        **dict.fromkeys(("start", "run", "serve"), "gateway up"),
        **dict.fromkeys(("list", "ls", "ps"), "gateway status"),
        "stop": "gateway down",
        **{name: f"{name} gateway" for name in ("events", "logs", "restart")},
    },
}
NO_CONTAINER = "no container is around a server: `glm5-serve render` prints what is run"
ELSEWHERE = {"attach": "`glm5-serve logs -f`", "exec": NO_CONTAINER, "rm": "`glm5-serve down`"}
# What people know options by, where ours are another command's, or are none.
NO_OPTION = {
    ("logs", "--since"): "a server's lines have no times of ours: --lines N, or"
    " `glm5-serve events --since`",
    ("down", "--all"): "name each: `glm5-serve status` lists them",
    ("down", "--force"): "`glm5-serve down --now`",
    ("restart", "--all"): "name each: `glm5-serve status` lists them",
}
# Of a disk, or of what takes our output: nothing that is ours to mend.
OF_THE_HOST = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
LONGEST_WORD = 255  # characters: no file has a longer name, and nobody reads one
HANGING = 7  # columns of "error  " and "fix    "


def no_command(word: str, path: str, near: str | None) -> UserError:
    """`word` is no command of the group that is called by `path`; `near` is spelled like it."""
    program, _, group = path.partition(" ")
    said = OF_A_GROUP.get(group, {}).get(word) if group else KNOWN_AS.get(word, ELSEWHERE.get(word))
    ours = said or (near and f"{group} {near}".strip())
    fix = f"`{program} {ours}`" if ours and "`" not in ours else ours
    fix = fix or f"`{path} --help` lists the commands"
    return UserError(f"no command {word!r}", fix=fix, status=Exit.USAGE)


def of(error: Exception) -> UserError:
    """What an exception that ended a command says to an operator; one of nobody's is a bug."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, click.ClickException):
        return of_usage(error)
    host = of_a_shortage(error) or (isinstance(error, OSError) and of_the_host(error))
    return host or UserError(
        f"a bug in glm5-serve: {type(error).__name__}: {error}",
        fix="run it again with GLM5_SERVE_TRACEBACK=1 and report what it prints",
        status=Exit.BUG,
    )


def of_a_shortage(error: Exception) -> UserError | None:
    """What this process was not given: descriptors, memory, a current folder; None for all else."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return UserError("no memory is left", fix="`ulimit -v`, the cgroup's limit, `free -h`")
    if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
        fix = "raise `ulimit -n`: 64 are enough for any command"
        return UserError("too many files are open", fix=fix)
    if isinstance(error, FileNotFoundError):
        try:
            Path.cwd()
        except FileNotFoundError:
            return UserError("the current folder was removed", fix="cd to another one")
    return None


def of_usage(error: click.ClickException) -> UserError:
    """Click's own refusal in our words, with what is spelled like it, or where help is."""
    near = getattr(error, "possibilities", None)
    said = (error.message if near else error.format_message()).strip().removesuffix(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "glm5-serve"
    fix = f"did you mean {' or '.join(near)}?" if near else f"`{path} --help`"
    if isinstance(error, click.NoSuchOption) and context:
        fix = NO_OPTION.get((str(context.info_name), error.option_name), fix)
    if "unexpected extra argument" in said:
        fix = f"one at a time: `{path} --help`"
    if isinstance(error, click.MissingParameter):
        said, _, choices = said.partition(". Choose from:")
        fix = f"{', '.join(choices.replace(',', ' ').split())}: {fix}" if choices else fix
    return UserError(said[:1].lower() + said[1:], fix=fix, status=Exit.USAGE)


def of_the_host(error: OSError) -> UserError | None:
    """What a full or broken disk refused, or a place that cannot be used; None for what is a
    mistake of ours.
    """
    if refusal := of_a_place(error):
        return refusal
    if error.errno not in OF_THE_HOST:
        return None
    where = error.filename or "the output"
    lost = "" if error.filename else "; what the command did until then stays done"
    return UserError(
        f"cannot write {where}: {(error.strerror or '').lower()}",
        fix=f"make room there, or write elsewhere{lost}",
    )


def of_a_place(error: OSError) -> UserError | None:
    """What stands in the way of a place that a variable or a word of the command line names, where
    there is such; None for what is a mistake of ours.
    """
    named = naming.source(str(error.filename), os.environ, sys.argv[1:]) if error.filename else None
    if named is None or (why := places.obstacle(Path(str(error.filename)))) is None:
        return None
    by, place = named
    what = f"{by} names {why}" if f"{place}," in f"{why}," else f"{by} names {place}: {why}"
    return UserError(what, fix=f"have {by} name a folder that this user may write")


def show(refusal: UserError) -> None:
    """Print it to standard error, without what looks like a secret; on a terminal words are whole,
    and lines hang under the first.
    """
    width = folding.columns(sys.stderr)
    for word, text, colour in (("error", refusal.what, "red"), ("fix", refusal.fix, None)):
        click.secho(f"{word:{HANGING}}", fg=colour, bold=True, nl=False, err=True)
        click.echo(wrapped(_shown(text), width), err=True)


def _shown(text: str) -> str:
    told = re.sub(rf"[^\s/]{{{LONGEST_WORD + 1},}}|\S{{1025,}}", _abridged, hide(text))
    return "\n".join(printable.cut(printable.line(one)) for one in told.split("\n"))


def _abridged(word: re.Match[str]) -> str:
    return f"{word[0][:20]}...{word[0][-20:]}"


def wrapped(text: str, width: int) -> str:
    """The lines of `text` in `width` columns, all but the first behind HANGING blanks; 0 columns:
    as it is.
    """
    if not width:
        return text
    lines = (" " * HANGING + line for line in text.split("\n"))
    return folding.folded("\n".join(lines), width, 0)[HANGING:]
