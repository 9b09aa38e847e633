"""What runs: bring it up, look at it, take it down."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import click

from launcher import printable
from launcher.errors import Exit
from launcher.options import allow_option, asking, json_option, profile_option


@click.command()
@asking
@click.option("-d", "--detach", is_flag=True, help="Return when it is ready; it goes on in the background.")
@allow_option
@json_option
def up(
    profile: str,
    settings: tuple[str, ...],
    api_key_file: str | None,
    detach: bool,
    allow: tuple[str, ...],
    as_json: bool,
) -> int:
    """Start a profile's server and keep it up.

    The host is judged first (`glm5-serve doctor`): a failed check that is not allowed keeps it from being started.
    Ctrl-C or SIGTERM drains and stops it, and nothing is left; `glm5-serve down --now` kills it.
    """
    from launcher.keys import credential
    from launcher.resolve import Ask
    from launcher.up import up

    if api_key_file is None and (found := credential("api-key", os.environ)):
        api_key_file = str(found)
    return up(Ask(profile, settings, api_key_file), os.environ, allow, detach=detach, as_json=as_json)


@click.command()
@profile_option(required=False)
@json_option
def status(profile: str | None, as_json: bool) -> int:
    """Say what state it is in, since when and why; exit 0 only if it is ready.

    Where several could be meant and none is named, all are listed.
    """
    from launcher import identity, remote, screens
    from launcher.instance import state_home

    home = state_home(os.environ)
    if profile is None and len(remote.candidates(home)) > 1:
        every = remote.status_of_all(home)
        screens.status_of_all(every, as_json=as_json)
        return Exit.FINE if all(seen["state"] == "ready" for seen in every) else Exit.NO
    seen = remote.status(identity.become_owner(remote.pick(home, profile)))
    screens.status(seen, as_json=as_json)
    return Exit.FINE if seen["state"] == "ready" else Exit.NO


@click.command()
@profile_option(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, while it is up.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="How many to begin with."
)
@json_option
def logs(profile: str | None, follow: bool, lines: int, as_json: bool) -> None:
    """Print what the server printed, keys left out."""
    from launcher import identity, remote
    from launcher.instance import state_home

    instance = identity.enter(remote.pick(state_home(os.environ), profile))
    for line in remote.log_lines(instance, lines, follow=follow):
        print(json.dumps({"schema": 1, "line": line}) if as_json else printable.logged(line), flush=follow)


@click.command()
@profile_option(required=False)
@click.option("--now", is_flag=True, help="Kill it instead of letting requests finish.")
@json_option
def down(profile: str | None, now: bool, as_json: bool) -> None:
    """Stop it and wait until nothing of it is left.

    Requests that are under way are finished first; it may be said twice. With --now they are not:
    a launcher that does not go is killed, and so is what a killed one left.
    """
    from launcher import identity, remote
    from launcher.instance import state_home

    instance = identity.enter(remote.pick(state_home(os.environ), profile), writing=True)
    said = remote.down(instance, now=now)
    told = {"schema": 1, "profile": instance.name, "state": "stopped", "said": said}
    print(json.dumps(told) if as_json else printable.line(said))


@click.command()
@profile_option(required=False)
@json_option
def restart(profile: str | None, as_json: bool) -> int:
    """Drain it and start it again from its profile as it is now; return when it is ready."""
    from launcher import console, identity, remote
    from launcher.instance import state_home

    instance = identity.enter(remote.pick(state_home(os.environ), profile), writing=True)
    show = console.screen(console.kind_for(sys.stderr, as_json=as_json))
    tell: Callable[[str], None] = lambda line: print(printable.line(line), file=sys.stderr)
    return remote.restart(instance, os.environ, tell, show)


COMMANDS: tuple[click.Command, ...] = (up, status, logs, down, restart)
