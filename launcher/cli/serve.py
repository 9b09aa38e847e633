"""What runs: bring it up, look at it, take it down."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from launcher import folding, printable, stdio
from launcher.cli.options import allow_option, json_option, key_option, plan_options, profile_option
from launcher.errors import Exit, UserError

if TYPE_CHECKING:
    from launcher.operate.up import Screen
    from launcher.statedir.folder import StateDir


@click.command()
@plan_options
@key_option
@click.option(
    "-d", "--detach", is_flag=True, help="Return when it is ready; it goes on in the background."
)
@click.option(
    "--health-listen",
    metavar="ADDRESS",
    help="Answer /ready and /live there, for balancers and probes: 127.0.0.1:8001.",
)
@allow_option
@json_option
def up(
    profile: str,
    settings: tuple[str, ...],
    api_key_file: str | None,
    health_listen: str | None,
    detach: bool,
    allow: tuple[str, ...],
    as_json: bool,
) -> int:
    """Start a profile's server and keep it up; of several replicas each, one after the other.

    The host is judged first (`glm5-serve doctor`): a failed check that is not allowed keeps it from
    being started. Ctrl-C or SIGTERM drains and stops it, and nothing is left; `glm5-serve down
    --now` kills it.
    """
    from launcher.config.load import PlanRequest
    from launcher.operate import refused
    from launcher.operate.replicas import up
    from launcher.redact.keys import credential

    if api_key_file is None and (found := credential("api-key", os.environ)):
        api_key_file = str(found)
    if detach and not as_json and sys.stderr.isatty():
        folding.tell("returns when it is ready; Ctrl-C stops it until then", sys.stderr)
    with refused.told(profile, os.environ):
        return up(
            PlanRequest(profile, settings, api_key_file, health_listen),
            os.environ,
            lambda: screen(as_json),
            allow,
            detach=detach,
        )


def screen(as_json: bool) -> Screen:
    """Standard error, as what is behind it can show events."""
    from launcher.operate.up import Screen
    from launcher.output import doctor, nextstep, screens

    kind = screens.kind_for(sys.stderr, as_json=as_json)
    return Screen(kind, screens.screen, doctor.refused(as_json), nextstep.ask)


@click.command()
@plan_options
@json_option
def warm(profile: str, settings: tuple[str, ...], as_json: bool) -> int:
    """Read a profile's checkpoint into memory, and say which kernels are compiled: before a
    maintenance window, or an update.

    Nothing is started. Exit 1 if not all of the checkpoint is in memory then: all that its index
    names, or its files' numbers count.
    """
    from launcher.config.load import PlanRequest
    from launcher.operate.warm import warm
    from launcher.output.warm import progress, report

    asked = PlanRequest(profile, settings)
    return report(warm(asked, os.environ, progress), as_json=as_json)


@click.command()
@profile_option(required=False)
@json_option
def status(profile: str | None, as_json: bool) -> int:
    """Say what state it is in, since when and why; exit 0 only if it is ready.

    Without a name it is the one that is up; beside one that failed, died or is up, too, all are
    listed, and exit 0 says that none of them is down but what somebody stopped.
    """
    from launcher.operate import control, identity
    from launcher.output import status as screens
    from launcher.statedir.home import listed, state_home

    home = state_home(os.environ)
    found = control.meant(home, profile) if profile else listed(home)
    every = control.status_of_all(home, found) if len(found) > 1 else []
    noted = [seen for seen in every if profile or seen.state != "stopped"]
    if len(noted) > 1 or (every and not noted):
        screens.status_of_all(every, as_json=as_json)
        is_fine = noted and all(seen.state == "ready" for seen in noted)
        return Exit.FINE if is_fine else Exit.NO
    name = noted[0].profile if noted else profile
    seen = control.status(identity.become_owner(control.select_instance(home, name)))
    screens.status(seen, as_json=as_json)
    if not as_json:
        screens.next_step(seen)
    return Exit.FINE if seen.state == "ready" else Exit.NO


@click.command()
@profile_option(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, while it is up.")
@click.option(
    "-n",
    "--lines",
    "--tail",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="How many to begin with.",
)
@json_option
def logs(profile: str | None, follow: bool, lines: int, as_json: bool) -> None:
    """Print what the server printed, keys left out."""
    from launcher.operate import control, identity, written
    from launcher.statedir.home import state_home

    instance = identity.enter(control.select_instance(state_home(os.environ), profile))
    found = False
    for line in written.log_lines(instance, lines, follow=follow):
        found = True
        print(
            json.dumps({"schema": 1, "line": line}) if as_json else printable.logged(line),
            flush=follow,
        )
        if stdio.unread:
            return
    if not found and lines:
        folding.tell(f"the log of {instance.name} has no line", sys.stderr)
    if follow and not instance.is_held():
        folding.tell(f"{instance.name} is not up: nothing more comes", sys.stderr)


@click.command()
@profile_option(required=False)
@click.option("--now", is_flag=True, help="Kill it instead of letting requests finish.")
@json_option
def down(profile: str | None, now: bool, as_json: bool) -> None:
    """Stop it and wait until nothing of it is left.

    Requests that are under way are finished first; it may be said twice. With --now they are not:
    a launcher that does not go is killed, and so is what a killed one left.
    """
    from launcher.operate import control, group, identity
    from launcher.statedir.home import listed, state_home

    every = listed(home := state_home(os.environ))
    if profile is None and not any(map(control.is_to_stop, every)) and len(every) != 1:
        said = "no server is up" if every else "no server has been started yet"
        said += "" if every else control.of_others(home)
        told = {"schema": 1, "profile": None, "state": "stopped", "said": said}
        _said(told, as_json=as_json)
        return
    tell: Callable[[str], None] = lambda line: folding.tell(line, sys.stderr)
    for instance in _meant(profile):
        entered = identity.enter(instance, writing=True, ending=True)
        if note := group.stop_means(entered):
            tell(f"note: {note}")
        said = control.down(entered, now=now, tell=tell)
        told = {"schema": 1, "profile": entered.name, "state": "stopped", "said": said}
        _said(told, as_json=as_json)


def _said(told: dict[str, Any], *, as_json: bool) -> None:
    """What was done, in words or for scripts."""
    if as_json:
        print(json.dumps(told), flush=True)
    else:
        folding.tell(told["said"])


def _meant(profile: str | None) -> list[StateDir]:
    """What is meant: all replicas where their profile is named."""
    from launcher.operate import control
    from launcher.statedir.home import state_home

    home = state_home(os.environ)
    return control.meant(home, profile) if profile else [control.select_instance(home, None)]


@click.command()
@profile_option(required=False)
@click.option(
    "--rolling",
    is_flag=True,
    help="Each replica in turn, out of the gateway first: no request is lost.",
)
@json_option
def restart(profile: str | None, rolling: bool, as_json: bool) -> int:
    """Drain it and start it again from its profile as it is now; return when it is ready.

    What is not up is started where it is named, and else stays as it is.
    """
    from launcher.operate import control, identity, restart, rolling_restart
    from launcher.statedir.home import state_home

    tell: Callable[[str], None] = lambda line: folding.tell(line, sys.stderr)
    found = _meant(profile) if profile else [control.select_up(state_home(os.environ), None)]
    if len(found) > 1 and not rolling:
        names = " and ".join(one.name for one in found)
        fix = "--rolling restarts one after the other, --profile NAME@N one of them"
        raise UserError(f"more than one instance: {names}", fix=fix, status=Exit.USAGE)
    entered = [identity.enter(one, writing=True) for one in found]
    if rolling:
        return rolling_restart.restart(entered, os.environ, tell, screen(as_json))
    return restart.restart(entered[0], os.environ, tell, screen(as_json), named=profile is not None)


COMMANDS: tuple[click.Command, ...] = (up, warm, status, logs, down, restart)
