"""`glm5-serve`: its commands, and what becomes of whatever stands in their way."""

from __future__ import annotations

import io
import os
import sys

import click

from launcher import __version__, printable, stdio
from launcher.cli import bench, gateway, host, observe, plan, serve
from launcher.cli.groups import Grouped
from launcher.errors import Exit, UserError

EPILOG = """\b
Exit status:
   0  fine, warnings included
   1  a finding or a server says no: a check failed, not up, not ready, gave up
   2  usage error
  70  a bug in glm5-serve
  78  configuration or environment error; nothing was started
"""


@click.group(
    cls=Grouped,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="glm5-serve")
def cli() -> None:
    """Bring GLM-5-class NVFP4 models up on Blackwell hosts with SGLang, and keep them up."""


for command in (
    *plan.COMMANDS,
    *host.COMMANDS,
    *serve.COMMANDS,
    *gateway.COMMANDS,
    *observe.COMMANDS,
    *bench.COMMANDS,
):
    cli.add_command(command)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, e.g. eval "$(glm5-serve completion bash)"."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(cli, {}, "glm5-serve", "_GLM5_SERVE_COMPLETE").source())


def main() -> None:
    """Run, and turn whatever stands in the way into one clear message and the right exit status."""
    stdio.ensure_open()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # names of files, or of a record, that no terminal can show
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(prog_name="glm5-serve", standalone_mode=False)
    except UserError as refusal:
        status = _refuse(refusal.what, refusal.fix, refusal.status)
    except click.ClickException as error:
        error.show()
        status = Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        # or the flush at exit complains
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = Exit.FINE
    except Exception as error:
        if os.environ.get("GLM5_SERVE_TRACEBACK"):
            raise
        where = f"{type(error).__name__}: {error}"
        fix = "run it again with GLM5_SERVE_TRACEBACK=1 and report what it prints"
        status = _refuse(f"a bug in glm5-serve: {where}", fix, Exit.BUG)
    sys.exit(status or 0)


def _refuse(what: str, fix: str, status: Exit) -> Exit:
    click.secho("error  ", fg="red", bold=True, nl=False, err=True)
    click.echo(printable.lines(what), err=True)
    click.secho("fix    ", bold=True, nl=False, err=True)
    click.echo(printable.lines(fix), err=True)
    return status


if __name__ == "__main__":
    main()
