"""`glm5-serve`: its commands, and what becomes of whatever stands in their way."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

import click

from launcher import __version__, printable, stdio
from launcher.cli import variables
from launcher.cli.groups import Grouped
from launcher.errors import Exit, UserError


@click.group(
    cls=Grouped,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="glm5-serve")
def cli() -> None:
    """Bring GLM-5-class NVFP4 models up on Blackwell hosts with SGLang or vLLM and keep them up."""


@cli.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of bash, zsh or fish: eval "$(glm5-serve completion bash)"."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(cli, {}, "glm5-serve", "_GLM5_SERVE_COMPLETE").source())


def every_command() -> dict[str, click.Command]:
    """All commands by their names: every module of theirs is imported."""
    context = click.Context(cli, info_name="glm5-serve")
    every = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in every.items() if command}


def main() -> None:
    """Run, and turn whatever stands in the way into one clear message and the right exit status."""
    stdio.ensure_open()
    stdio.show_all()
    stdio.mend_umask()
    for line in variables.unread(os.environ):
        click.echo(printable.line(f"note: {line}"), err=True)
    status = _run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _let_go_of(stream)
    sys.exit(status)


def _run() -> int:
    try:
        status: int = cli.main(prog_name="glm5-serve", standalone_mode=False) or Exit.FINE
        sys.stdout.flush()  # what cannot be written is told, and is no status of Python's
        return status
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        from launcher.cli import refusals

        is_told = isinstance(error, (UserError, click.ClickException))
        if not is_told and os.environ.get("GLM5_SERVE_TRACEBACK"):
            raise
        refusal = refusals.of(error)
        with contextlib.suppress(OSError):  # where nothing can be written, the status tells alone
            refusals.show(refusal)
        return refusal.status


def _let_go_of(stream: TextIO) -> None:
    # or the flush at exit complains
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
