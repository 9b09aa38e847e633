#!/usr/bin/env python3
"""Write the manual's pages, one a command, from what `--help` says: `manpages.py FOLDER`.

Not by click-man: it cuts each page's name off after some words, and knows no section of our own.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from launcher import __version__
from launcher.cli import cli
from launcher.cli.groups import EXAMPLES, STATUSES

FILES = {
    "/etc/glm5-serve/profiles": "profiles of this host, TOML",
    "/var/lib/glm5-serve/PROFILE": "state, events and logs of what root or a unit serves",
    "~/.local/state/glm5-serve/PROFILE": "the same of what a user serves",
}
ENVIRONMENT = {
    "GLM5_SERVE_STATE_DIR": "where state folders lie",
    "GLM5_SERVE__TABLE__KEY": "a value of the profile, as GLM5_SERVE__FLAGS__PORT=8001",
    "GLM5_SERVE_TRACEBACK": "1: the traceback of a bug",
    "NO_COLOR": "no colours",
}


def commands(context: click.Context) -> Iterator[click.Context]:
    """A command and all below it."""
    yield context
    if isinstance(group := context.command, click.Group):
        for name in group.list_commands(context):
            if command := group.get_command(context, name):
                yield from commands(click.Context(command, info_name=name, parent=context))


def escaped(text: str) -> str:
    """Text as roff takes it: no word of it is a command."""
    plain = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    )
    return re.sub(r"^\.", r"\\&.", plain, flags=re.MULTILINE)


def paragraphs(text: str) -> str:
    """Paragraphs of a help text; click's mark, a backspace, keeps the lines of one."""
    made = list[str]()
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        body = "\n".join(line.strip() for line in paragraph.strip().splitlines())
        if body.startswith("\b"):
            made.append(f".PP\n.nf\n{escaped(body[1:].strip())}\n.fi")
        else:
            made.append(f".PP\n{escaped(body)}")
    return "\n".join(made)


def listed(rows: dict[str, str]) -> str:
    """Terms and what they mean."""
    return "\n".join(f".TP\n.B {escaped(term)}\n{escaped(text)}" for term, text in rows.items())


def options(context: click.Context) -> dict[str, str]:
    """The options, in the words of `--help`."""
    records = (p.get_help_record(context) for p in context.command.get_params(context))
    return {term: text for term, text in filter(None, records) if term.startswith("-")}


def page(context: click.Context, at: int) -> str:
    """The page of a command."""
    command, name = context.command, context.command_path
    title, day = name.replace(" ", "-"), time.strftime("%Y-%m-%d", time.gmtime(at))
    short = command.get_short_help_str(200).rstrip(".")
    usage = " ".join(command.collect_usage_pieces(context))
    sections = {
        "NAME": f"{escaped(title)} \\- {escaped(short[0].lower() + short[1:])}",
        "SYNOPSIS": f".B {escaped(name)}\n{escaped(usage)}",
        "DESCRIPTION": paragraphs(command.help or ""),
        "OPTIONS": listed(options(context)),
    }
    if isinstance(command, click.Group):
        known = {one: command.get_command(context, one) for one in command.list_commands(context)}
        rows = {one: made.get_short_help_str(200) for one, made in known.items() if made}
        sections["COMMANDS"] = listed(rows)
    if context.parent is None:
        sections["EXIT STATUS"] = listed({str(int(one)): said for one, said in STATUSES.items()})
        sections["ENVIRONMENT"] = listed(ENVIRONMENT)
        sections["FILES"] = listed(FILES)
        sections["EXAMPLES"] = f".nf\n{escaped(chr(10).join(EXAMPLES))}\n.fi"
        others = [f"glm5\\-serve\\-{one}(1)" for one in command.list_commands(context)]  # type: ignore[attr-defined]
        sections["SEE ALSO"] = ",\n".join(others)
    else:
        sections["SEE ALSO"] = "glm5\\-serve(1), which has the exit statuses, variables and files"
    head = f'.TH "{escaped(title.upper())}" 1 {day} "glm5\\-serve {__version__}" "User Commands"'
    body = "\n".join(f".SH {title}\n{text}" for title, text in sections.items() if text)
    return f"{head}\n{body}\n"


def pages(at: int) -> dict[str, str]:
    """Every page by its file's name; `at`: the day that they bear, in seconds since 1970."""
    top = click.Context(cli, info_name="glm5-serve")
    return {f"{one.command_path.replace(' ', '-')}.1": page(one, at) for one in commands(top)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages(int(time.time())).items():
        (folder / file).write_text(text)
