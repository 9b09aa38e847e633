"""Writes docs/commands.md: every command and option, as `--help` has them.

Run it after a change of the command line: tests/test_pages.py holds the page against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from launcher.cli import every_command
from launcher.cli.groups import GROUPS

PAGE = Path(__file__).parents[1] / "docs/commands.md"
HEAD = """\
# Commands

What `glm5-serve COMMAND --help` prints, made by `scripts/commands_page.py`. Every command has
`-h`, `--help`. What the exit statuses mean: [README](../README.md#exit-status).
"""


def page() -> str:
    """The page: a section a group of `glm5-serve --help`, a heading a command."""
    lines = [HEAD]
    commands = every_command()
    for title, names in GROUPS.items():
        lines.append(f"## {title}\n")
        for name in names:
            lines += described(commands[name], f"glm5-serve {name}", "###")
    return "\n".join(lines)


def described(command: click.Command, path: str, level: str) -> Iterator[str]:
    """A command's heading, usage, text and options; then those of its own commands."""
    context = click.Context(command, info_name=path)
    usage = " ".join((path, *command.collect_usage_pieces(context)))
    yield f"{level} {path}\n\n```text\n{usage}\n```\n"
    yield "\n\n".join(" ".join(part.split()) for part in told(command).split("\n\n")) + "\n"
    if rows := [row(option, context) for option in options(command)]:
        yield "\n".join(("| option | |", "|---|---|", *rows)) + "\n"
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from described(one, f"{path} {name}", f"{level}#")


def told(command: click.Command) -> str:
    """The command's own text, without click's marks for its layout."""
    return (command.help or "").replace("\b\n", "").split("\f")[0].strip()


def options(command: click.Command) -> list[click.Option]:
    """The options that its help shows."""
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden]


def row(option: click.Option, context: click.Context) -> str:
    """A line of the table: its spellings, what it does, its values and its default."""
    said, extra = [option.help or ""], option.get_help_extra(context)
    metavar = option.make_metavar(context).replace("INTEGER RANGE", "N")
    value = "" if option.is_flag else f" {metavar}"
    if isinstance(option.type, click.Choice):
        value = " WHICH"
        said.append(f"One of {', '.join(f'`{choice}`' for choice in option.type.choices)}.")
    if "range" in extra:
        said.append(f"Range: {extra['range']}.")
    if "default" in extra:
        said.append(f"Default: {extra['default']}.")
    names = ", ".join(f"`{name}{value}`" for name in sorted(option.opts, key=len))
    return f"| {names} | {' '.join(said).strip()} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
