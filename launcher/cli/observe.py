"""What happened and how it is: why it died, its events, its answers, its metrics, and all of it in
one archive.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from launcher import folding, stdio
from launcher.address import listening
from launcher.cli.groups import Group
from launcher.cli.options import json_option, profile_option
from launcher.errors import Exit
from launcher.statedir.events import KINDS

if TYPE_CHECKING:
    from launcher.operate.unit_files import Wish

HOST = Path("/")  # the root of this host itself


@click.command("diagnose")
@click.argument("file")
@json_option
def diagnose_command(file: str, as_json: bool) -> int:
    """Say why a server died: the cause, its evidence, what to do.

    FILE, or - for standard input: the log of SGLang, vLLM or NCCL, or of the kernel (`journalctl
    -k`). Exit 1 if it died and the cause is not known; what died first is
    shown then.
    """
    from launcher.diagnose.text import diagnose_text
    from launcher.engines.failures import complaints
    from launcher.files.reading import pieces
    from launcher.output import diagnosis

    fix = "give the log that the server, or `journalctl -k`, printed; or - and pipe it in"
    found = diagnose_text(pieces(file, fix))
    for what in complaints():
        folding.tell(f"note: left out: {what}", sys.stderr)
    return diagnosis.show(found, as_json=as_json)


def _moment(context: click.Context, parameter: click.Parameter, text: str | None) -> str:
    """A time as the files say it."""
    from launcher.statedir.times import moment

    try:
        return moment(text, time.time()) if text else ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@profile_option(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, while it is up.")
@click.option(
    "-n",
    "--last",
    "--tail",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="How many to begin with.",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=_moment,
    help="Only later ones, all of them unless -n says how many: 5m, 2h, 1d, '2026-11-27 12:00'.",
)
@click.option(
    "--kind", multiple=True, type=click.Choice(KINDS), help="Only these; may be given again."
)
@click.option(
    "--starts", is_flag=True, help="The last starts instead: how long each phase took, and why."
)
@click.option(
    "--svg",
    metavar="FILE",
    help="With --starts, as a picture, too: a file, or a folder/.",
)
@json_option
def events(
    profile: str | None,
    follow: bool,
    last: int,
    since: str,
    kind: tuple[str, ...],
    starts: bool,
    svg: str | None,
    as_json: bool,
) -> None:
    """Print what happened: states with reasons and durations, phases, deaths with their cause,
    smoke tests, GPUs.

    share/glm5-serve/events.schema.json, where this is installed, has the fields.
    """
    from launcher.files import places
    from launcher.operate import control, identity, written
    from launcher.output import events as console
    from launcher.statedir.home import state_home

    if svg:
        places.require_file("--svg", Path(svg))
    if (svg and not starts) or (starts and (follow or kind)):
        raise click.UsageError("--svg is for --starts, which has no --follow and no --kind")
    is_said = (
        click.get_current_context().get_parameter_source("last") is ParameterSource.COMMANDLINE
    )
    number = None if since and not is_said else last
    instance = identity.enter(control.select_instance(state_home(os.environ), profile))
    if starts:
        from launcher.files.placing import target
        from launcher.output.starts import show

        picture = target(svg, f"starts-{instance.name}.svg", ".svg") if svg else None
        show(written.past_starts(instance, number, since), as_json=as_json, svg=picture)
        return
    screen = None
    if sys.stdout.isatty() and not as_json:
        from launcher.output.console import console as on_terminal

        screen = on_terminal(sys.stdout)
    found = False
    for event in written.events(instance, number, kind, since, follow=follow):
        found = True
        if screen:
            console.show(event, screen)
            continue
        print(json.dumps(event.to_json()) if as_json else console.dated(event), flush=follow)
        if stdio.unread:
            return
    if not found and number != 0:
        which = f" of kind {' or '.join(kind)}" if kind else ""
        later = " since then" if since else ""
        folding.tell(f"{instance.name} has no event{which}{later}", sys.stderr)
    if follow and not instance.is_held():
        folding.tell(f"{instance.name} is not up: nothing more comes", sys.stderr)


@click.command("smoke")
@profile_option(required=False)
@json_option
def smoke_command(profile: str | None, as_json: bool) -> int:
    """Ask a running server the questions of its smoke test; exit 1 if an answer is wrong."""
    from launcher.operate import control, identity, running
    from launcher.statedir.home import state_home

    result = running.smoke(
        identity.enter(control.select_up(state_home(os.environ), profile), writing=True)
    )
    told = {
        "schema": 1,
        "ok": result.ok,
        "detail": result.detail,
        "seconds": round(result.seconds, 3),
    }
    said = f"{'ok' if result.ok else 'wrong'}  {result.detail}"
    if as_json:
        told["answers"] = [{"ask": ask, "answer": answer} for ask, answer in result.answers]
        print(json.dumps(told))
    else:
        for ask, answer in result.answers:
            folding.tell(f"ask     {ask}", hanging=8)
            folding.tell(f"answer  {answer.strip()}", hanging=8)
        folding.tell(f"{said}{_asked_again(result.asked - len(result.answers))}")
    return Exit.FINE if result.ok else Exit.NO


def _asked_again(count: int) -> str:
    """That more was asked than is shown, and how."""
    ways = "as a stream, cut short, with reasoning, or for a tool"
    return f"; {count} of them asked in another way: {ways}" if count > 0 else ""


@click.command("metrics")
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="Serve them: 127.0.0.1:9464, [::1]:9464, or the path of a socket.",
)
@click.option(
    "--host-name",
    "names",
    metavar="NAME",
    multiple=True,
    help="A name by which this host is asked, too.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=(
        "The bearer token that whoever asks must send; mode 0600. With it, any address may be"
        " listened on."
    ),
)
@click.option(
    "--listen-open",
    is_flag=True,
    help="Listen on an address that is not loopback, without a token.",
)
def metrics_command(
    listen: str | None, names: tuple[str, ...], token_file: Path | None, listen_open: bool
) -> None:
    """Print the metrics of every instance for Prometheus, or serve them.

    They cover all instances of this state folder, whether their launcher lives or not; of one that
    is closed to this user they tell no more than that. The Host of a request must be the address,
    localhost, or a --host-name; on a socket, whose mode is 0660, any will do.
    """
    from launcher.operate import metrics
    from launcher.statedir.home import state_home

    if listen is not None:
        metrics.serve(
            state_home(os.environ), metrics.Listen(listen, names, token_file, listen_open)
        )
    elif names or token_file or listen_open:
        raise click.UsageError("--host-name, --token-file and --listen-open are for --listen")
    else:
        print(metrics.text(state_home(os.environ)), end="")


@click.command("bundle")
@profile_option(required=False)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="The archive: a file, or a folder/; else glm5-serve-PROFILE-TIME.tar.gz.",
)
@click.option(
    "--starts",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Logs of how many starts.",
)
@json_option
def bundle_command(profile: str | None, output: str | None, starts: int, as_json: bool) -> None:
    """Put all that a bug report needs into one archive: secrets, host names and serial numbers left
    out.

    Facts, plan with reasons, doctor's findings, events, logs, stacks, diagnosis and kernel lines.
    """
    from launcher.operate import bundle, control, identity, whose
    from launcher.statedir.home import state_home

    instance = control.select_instance(state_home(os.environ), profile)
    whose.require_own(instance)
    with bundle.begun(instance, output) as made:
        bundle.make(identity.enter(instance), made, starts, os.environ)
    older = "" if made.is_new else ", in place of an older one"
    if as_json:
        print(json.dumps({"schema": 1, "bundle": str(made.path)}))
    else:
        folding.tell(f"wrote {made.path}{older}: look into it before you send it")


@click.group("systemd", cls=Group)
def systemd_group() -> None:
    """Serve a profile, or a gateway, as a systemd unit: install it, take it away, or print what
    would be installed.
    """


def _which_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which unit is meant, below which root."""
    for option in (
        click.option(
            "--root",
            type=click.Path(path_type=Path),
            default=HOST,
            callback=_root,
            help="Another root, for packages.",
        ),
        click.option("--gateway", is_flag=True, help="PROFILE is the name of a gateway."),
        profile_option(required=True),
    ):
        command = option(command)
    return command


def _root(context: click.Context, parameter: click.Parameter, root: Path) -> Path:
    """A folder that a root can be; it need not be there yet."""
    from launcher.files import places

    is_asked = root != HOST  # who may not write there lacks root, and is told that
    places.require_folder("--root", root, writing=is_asked and context.info_name == "install")
    return root


def _key_file(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """A file that a key can be in; it need not be there yet."""
    from launcher.files import places

    if path:
        places.require_file("--api-key-file", path, writing=False)
    return path


def _wish_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What stands in it."""
    for option in (
        click.option(
            "--no-metrics",
            is_flag=True,
            help="Without the unit that serves metrics for Prometheus.",
        ),
        click.option(
            "--api-key-file",
            type=click.Path(path_type=Path),
            callback=_key_file,
            help="Handed on as a systemd credential.",
        ),
        click.option(
            "--user", default="glm5-serve", show_default=True, help="Who runs this profile."
        ),
        click.option(
            "--listen", metavar="ADDRESS", callback=_place, help="Where the gateway's clients ask."
        ),
    ):
        command = option(command)
    return _which_options(command)


def _place(context: click.Context, parameter: click.Parameter, text: str | None) -> str:
    """An address as it stands in a unit."""
    try:
        return text if text and listening(text) else ""
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _units(words: dict[str, Any], *, host: bool) -> tuple[Sequence[str], Sequence[Wish]]:
    """What is to be done at each boot, which is told where it is nothing, and what is installed."""
    from launcher.operate import systemd, unit_check, unit_files

    every = [unit_check.with_key(one) for one in unit_files.each(_wish(words), os.environ)]
    commands = systemd.host_commands() if host else ()
    if host and not commands:
        folding.tell(systemd.NO_COMMANDS, sys.stderr)
    return commands, every


@systemd_group.command("print")
@_wish_options
@click.option("--host", is_flag=True, help="With the settings that this host needs at each boot.")
def systemd_print(host: bool, **words: Any) -> None:
    """Print every file that `install` would write."""
    from launcher.operate import unit_files

    files = dict[Path, str]()
    commands, every = _units(words, host=host)
    for wish in every:
        files |= unit_files.files(wish, commands)
    for path, text in files.items():
        print(f"# {path}\n{text}")
    for line in unit_files.remarks(every[0]):
        folding.tell(line, sys.stderr)


@systemd_group.command("install")
@_wish_options
@click.option(
    "--host", is_flag=True, help="With a unit for the settings that this host needs at each boot."
)
@click.option("--no-check", is_flag=True, help="Without doctor's judgement at the end.")
def systemd_install(host: bool, no_check: bool, **words: Any) -> None:
    """Write and enable the units of a profile. Nothing is started.

    Then doctor judges this host as the unit's user, in the unit's environment: exit 1 if it would
    not start. A key that the profile names, and root owns, is handed on as a credential.
    """
    from launcher.operate import systemd, unit_check
    from launcher.output import unit as screen

    commands, every = _units(words, host=host)
    for wish in every:
        systemd.install(wish, commands, folding.tell)
    for wish in every:
        if wish.root == Path("/") and not (wish.gateway or no_check):
            screen.show(unit_check.check(wish), wish)
    if every[0].root == Path("/"):
        screen.next_steps(every[0])


@systemd_group.command("uninstall", short_help="Stop, disable and remove a unit.")
@_which_options
def systemd_uninstall(profile: str, gateway: bool, root: Path) -> None:
    """Stop, disable and remove the unit of a profile; the shared files go with the last one."""
    from launcher.operate import systemd, unit_files

    named = unit_files.Wish(profile, root=root, gateway=gateway)
    unit_files.require_words(named)
    for wish in unit_files.installed(named):
        systemd.uninstall(wish, folding.tell)


def _wish(words: dict[str, Any]) -> Wish:
    """What was asked for. Raises UserError for words that cannot stand in a unit."""
    from launcher.operate.unit_files import Wish, require_words

    gateway, listen = words["gateway"], words["listen"]
    if listen and not gateway:
        raise click.UsageError("--listen is of a gateway: --gateway")
    wish = Wish(
        words["profile"],
        words["user"],
        words["api_key_file"],
        words["root"],
        metrics=not words["no_metrics"],
        gateway=gateway,
        listen=listen,
    )
    require_words(wish)
    return wish


COMMANDS: tuple[click.Command, ...] = (
    events,
    smoke_command,
    diagnose_command,
    metrics_command,
    bundle_command,
    systemd_group,
)
