"""A live look at what runs."""

from __future__ import annotations

import contextlib
import os
import sys

import click

from launcher.cli import complete
from launcher.cli.options import Seconds, json_option


@click.command()
@click.argument("profiles", metavar="[PROFILE]...", nargs=-1, shell_complete=complete.profiles)
@click.option(
    "-p",
    "--profile",
    "named",
    metavar="NAME",
    multiple=True,
    shell_complete=complete.profiles,
    help="The same as an argument.",
)
@click.option("--once", is_flag=True, help="Print it once, and leave; so it is in a pipe.")
@click.option(
    "--interval",
    type=Seconds(min=0.2),
    metavar="SECONDS",
    default=1.0,
    show_default=True,
    help="Between two looks.",
)
@json_option
def top(
    profiles: tuple[str, ...], named: tuple[str, ...], once: bool, interval: float, as_json: bool
) -> None:
    """Watch servers and GPUs: tokens a second, requests, KV cache, power, clocks, last events.

    All instances where none is named. q leaves. Where TERM says that nothing can be drawn (dumb, or
    nothing) it is printed once. GPUs are as a launcher read them, every 5 to 10 s,
    else as the driver says. With --json once, for scripts.
    """
    from launcher.operate.top import Driver, Top, meant
    from launcher.output import top as screen
    from launcher.output.terminal import is_drawn_on
    from launcher.statedir.home import state_home

    shown = Top(meant(state_home(os.environ), (*profiles, *named)), Driver())
    try:
        if once or as_json or not is_drawn_on(sys.stdout):
            screen.once(shown, interval, as_json=as_json)
        else:
            with contextlib.suppress(KeyboardInterrupt):
                screen.live(shown, interval)
    finally:
        shown.close()


COMMANDS: tuple[click.Command, ...] = (top,)
