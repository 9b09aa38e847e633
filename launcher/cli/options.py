"""The options that several commands take, with what a shell may complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def complete_profile(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The profile names that begin so."""
    from launcher.config.layers import all_profiles

    names = {found.name for found in all_profiles(os.environ) if found.name.isprintable()}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_check(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """The ids of checks that begin so."""
    from launcher.doctor.checks import every_check

    return [check.id for check in every_check() if check.id.startswith(incomplete)]


def profile_option(*, required: bool) -> Callable[..., Any]:
    """--profile, with names completed."""
    meaning = (
        "A name (`glm5-serve profiles`) or a path."
        if required
        else "Which one; may be left out if one is up."
    )
    return click.option(
        "-p",
        "--profile",
        metavar="NAME",
        required=required,
        shell_complete=complete_profile,
        help=meaning,
    )


settings_options = (
    click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        help="Set one value, e.g. flags.port=8001.",
    ),
    click.option(
        "--api-key-file", metavar="FILE", help="The key that clients must send; mode 0600."
    ),
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1).")


def check_option(name: str, meaning: str) -> Callable[..., Any]:
    """An option that names a check, any number of times, with ids completed."""
    return click.option(
        name, metavar="ID", multiple=True, shell_complete=complete_check, help=meaning
    )


allow_option = check_option("--allow", "Let this check fail; its finding stays visible.")


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say another release, GPU or host than what is here."""
    for option in (
        click.option(
            "--facts",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Another host's `facts`.",
        ),
        click.option(
            "--arch", metavar="ARCH", help="sm100 (B200), sm103 (B300) or sm120 (RTX PRO 6000)."
        ),
        click.option("--sglang", metavar="RELEASE", help="For that release, e.g. 0.5.23."),
    ):
        command = option(command)
    return command


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which host is meant, and for which plan."""
    file = click.Path(path_type=Path)
    for option in (
        click.option(
            "--sysroot", metavar="DIR", type=file, help="A recorded tree of /sys and /proc."
        ),
        click.option(
            "--facts", metavar="FILE", type=file, help="What `glm5-serve facts` printed on a host."
        ),
        click.option(
            "--from",
            "pasted",
            metavar="DIR",
            type=file,
            help="What people paste: nvidia-smi -q, lspci ...",
        ),
        settings_options[0],
        profile_option(required=False),
    ):
        command = option(command)
    return command


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which plan is meant."""
    for option in reversed((profile_option(required=True), *settings_options)):
        command = option(command)
    return command
