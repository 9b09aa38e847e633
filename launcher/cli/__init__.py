"""`glm5-serve`: its commands, and what becomes of whatever stands in their way."""

from __future__ import annotations

import os
import sys

import click

from launcher import __version__, printable, stdio
from launcher.cli import (
    bench,
    demo,
    gateway,
    host,
    naming,
    observe,
    plan,
    profiles,
    refusals,
    serve,
    top,
)
from launcher.cli.groups import Grouped
from launcher.errors import Exit, UserError


@click.group(
    cls=Grouped,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="glm5-serve")
def cli() -> None:
    """Bring GLM-5-class NVFP4 models up on Blackwell hosts with SGLang or vLLM and keep them up."""


for command in (
    *demo.COMMANDS,
    *profiles.COMMANDS,
    *plan.COMMANDS,
    *host.COMMANDS,
    *serve.COMMANDS,
    *top.COMMANDS,
    *gateway.COMMANDS,
    *observe.COMMANDS,
    *bench.COMMANDS,
):
    cli.add_command(command)


@cli.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of bash, zsh or fish: eval "$(glm5-serve completion bash)"."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(cli, {}, "glm5-serve", "_GLM5_SERVE_COMPLETE").source())


def main() -> None:
    """Run, and turn whatever stands in the way into one clear message and the right exit status."""
    stdio.ensure_open()
    stdio.show_all()
    for line in naming.unread(os.environ):
        click.echo(printable.line(f"note: {line}"), err=True)
    status = _run()
    try:
        sys.stdout.flush()
    except OSError:
        _let_go_of_output()
    sys.exit(status)


def _run() -> int:
    try:
        status: int = cli.main(prog_name="glm5-serve", standalone_mode=False) or Exit.FINE
        sys.stdout.flush()  # what cannot be written is told, and is no status of Python's
        return status
    except UserError as error:
        refusal = error
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        refusal = refusals.of_usage(error)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Exception as error:
        if os.environ.get("GLM5_SERVE_TRACEBACK"):
            raise
        refusal = (isinstance(error, OSError) and refusals.of_the_host(error)) or UserError(
            f"a bug in glm5-serve: {type(error).__name__}: {error}",
            fix="run it again with GLM5_SERVE_TRACEBACK=1 and report what it prints",
            status=Exit.BUG,
        )
    refusals.show(refusal)
    return refusal.status


def _let_go_of_output() -> None:
    # or the flush at exit complains
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
