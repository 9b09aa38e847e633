"""`glm5-serve gateway`: what sends requests to several servers of one model."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable

import click

from launcher import folding, printable
from launcher.address import listening
from launcher.cli.groups import Group
from launcher.cli.options import json_option
from launcher.cli.serve import screen
from launcher.errors import Exit
from launcher.gateway import DEFAULT
from launcher.gateway.manifest import worker_url

name_argument = click.argument("name", default=DEFAULT, metavar="[NAME]")


@click.group("gateway", cls=Group)
def gateway_group() -> None:
    """One address for several servers of a model: smg, kept up as a server is.

    Each instance whose profile says `gateway = "NAME"` (and each replica) is sent requests as long
    as it is ready. `logs`, `events`, `restart` and `metrics` know it by its name, too.
    """


def _place(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, int]:
    try:
        return listening(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _workers(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(map(worker_url, texts)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _health(context: click.Context, parameter: click.Parameter, text: str | None) -> str:
    if text and not re.fullmatch(r"/[!-~]*", text):
        raise click.BadParameter("wanted a path: /health")
    return text or ""


@gateway_group.command("up")
@name_argument
@click.option("-d", "--detach", is_flag=True, help="Return when it listens; it goes on by itself.")
@click.option(
    "--listen",
    metavar="ADDRESS",
    default="127.0.0.1:8080",
    show_default=True,
    callback=_place,
    help="Where clients ask.",
)
@click.option(
    "--metrics-listen",
    metavar="ADDRESS",
    default="127.0.0.1:29000",
    show_default=True,
    callback=_place,
    help="Its metrics for Prometheus.",
)
@click.option(
    "--worker",
    "workers",
    metavar="URL",
    multiple=True,
    callback=_workers,
    help="A server that is no instance of this host: http://10.0.0.2:30000.",
)
@click.option(
    "--health",
    metavar="PATH",
    callback=_health,
    help="What workers are asked by; else /ready, or /health where one has no /ready.",
)
@click.option("--api-key-file", metavar="FILE", help="The key of clients and workers; mode 0600.")
@click.option(
    "--open-without-key",
    is_flag=True,
    help="Let others than this host in without one, to its metrics too.",
)
@json_option
def gateway_up(
    name: str,
    detach: bool,
    listen: tuple[str, int],
    metrics_listen: tuple[str, int],
    workers: tuple[str, ...],
    health: str,
    api_key_file: str | None,
    open_without_key: bool,
    as_json: bool,
) -> int:
    """Start the gateway and keep it up."""
    from launcher.gateway.settings import Options
    from launcher.operate import gateway, refused
    from launcher.redact.keys import credential

    if api_key_file is None and (found := credential("api-key", os.environ)):
        api_key_file = str(found)
    options = Options(
        name, *listen, *metrics_listen, health, workers, api_key_file, open_without_key
    )
    with refused.told(name, os.environ):
        return gateway.up(options, os.environ, screen(as_json), detach=detach)


@gateway_group.command("status", short_help="Say how it is, and who is behind it.")
@name_argument
@json_option
def gateway_status(name: str, as_json: bool) -> int:
    """Say how it is, and who is behind it; exit 0 only if it sends requests to somebody."""
    from launcher.operate import control, gateway, identity
    from launcher.output import gateway as output
    from launcher.statedir.folder import StateDir
    from launcher.statedir.home import state_home

    instance = identity.become_owner(StateDir(state_home(os.environ), name))
    behind = gateway.replicas(instance)
    seen = control.status(instance)
    output.status(seen, behind, as_json=as_json)
    routes = seen.state == "ready" and any(one.gateway == "routed" for one in behind)
    return Exit.FINE if routes else Exit.NO


@gateway_group.command("down")
@name_argument
@click.option("--now", is_flag=True, help="Kill it instead of letting requests finish.")
@json_option
def gateway_down(name: str, now: bool, as_json: bool) -> None:
    """Stop it and wait until nothing of it is left. The servers behind it go on."""
    from launcher.operate import control, gateway, identity, whose
    from launcher.statedir.folder import StateDir
    from launcher.statedir.home import state_home

    instance = identity.enter(StateDir(state_home(os.environ), name), writing=True, ending=True)
    if not whose.astray(instance):
        gateway.of(instance)
    tell: Callable[[str], None] = lambda line: folding.tell(line, sys.stderr)
    said = control.down(instance, now=now, tell=tell)
    told = {"schema": 1, "profile": instance.name, "state": "stopped", "said": said}
    print(json.dumps(told) if as_json else printable.line(said))


COMMANDS: tuple[click.Command, ...] = (gateway_group,)
