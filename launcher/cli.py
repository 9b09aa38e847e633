"""The words on a command line -> one call -> an exit status. Heavy imports stay inside the commands."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from launcher import __version__
from launcher.errors import Exit, RefusalError
from launcher.options import (
    aiming,
    allow_option,
    asking,
    check_option,
    complete_check,
    complete_profile,
    json_option,
    observing,
    profile_option,
    settings_options,
)

EPILOG = """\b
Exit status:
   0  fine, warnings included
   1  a finding or a server says no: a check failed, not up, not ready, gave up
   2  usage: the words on the command line
  70  a bug in glm5-serve
  78  configuration: a profile, a file, a port or the host is in the way; nothing was started
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="glm5-serve")
def cli() -> None:
    """Bring GLM-5-class NVFP4 models up on Blackwell hosts with SGLang, and keep them up."""


@cli.command()
@json_option
def profiles(as_json: bool) -> None:
    """List the profiles, where they come from, and which fit the GPUs of this host."""
    from launcher import fitting, screens
    from launcher.look import drivers

    screens.profiles(fitting.rows(drivers(), os.environ), os.environ, as_json=as_json)


@cli.command()
@asking
@click.option("--format", "form", type=click.Choice(["shell", "json"]), default="shell", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--explain", is_flag=True, help="For each flag and variable: its value, who set it, and why.")
@aiming
def render(
    profile: str,
    settings: tuple[str, ...],
    api_key_file: str | None,
    form: str,
    as_json: bool,
    explain: bool,
    sglang: str | None,
    arch: str | None,
    facts: Path | None,
) -> None:
    """Print the exact command and environment that `up` would run.

    What the profile leaves open is chosen by rules, for the SGLang release and the GPUs that are here, or that
    --sglang, --arch and --facts say.
    """
    from launcher import screens
    from launcher.planning import Aim, planned
    from launcher.resolve import Ask

    plan, _ = planned(Ask(profile, settings, api_key_file), os.environ, Aim(sglang, arch, facts))
    screens.plan(plan, as_json=as_json or form == "json", explain=explain)


@cli.command()
@click.argument("one", metavar="A", shell_complete=complete_profile)
@click.argument("other", metavar="B", shell_complete=complete_profile)
@click.option(
    "--to-sglang", metavar="RELEASE", help="The release of B, where it is another: what an update would change."
)
@click.option("--to-arch", metavar="ARCH", help="The GPUs of B, where they are others.")
@aiming
@json_option
def diff(
    one: str,
    other: str,
    to_sglang: str | None,
    to_arch: str | None,
    sglang: str | None,
    arch: str | None,
    facts: Path | None,
    as_json: bool,
) -> int:
    """Show what profile B would run otherwise than profile A, and why; exit 1 if anything differs."""
    from launcher import screens
    from launcher.planning import Aim, planned
    from launcher.resolve import Ask

    before, _ = planned(Ask(one), os.environ, Aim(sglang, arch, facts))
    after, _ = planned(Ask(other), os.environ, Aim(to_sglang or sglang, to_arch or arch, facts))
    return Exit.NO if screens.difference(before, after, as_json=as_json) else Exit.FINE


@cli.command("fit")
@profile_option(required=False)
@click.option("--model", metavar="DIR", help="Another checkpoint: a folder, or a GLM-5's hub id.")
@settings_options[0]
@aiming
@json_option
def fit_command(
    profile: str | None,
    model: str | None,
    settings: tuple[str, ...],
    sglang: str | None,
    arch: str | None,
    facts: Path | None,
    as_json: bool,
) -> int:
    """Say what weights and KV cache take of each GPU, how many requests fit, and what is left.

    Without a profile it is the one that fits the GPUs here best. Exit 1 if it does not fit.
    """
    from launcher import fitscreen
    from launcher.planning import Aim

    return fitscreen.run(profile, model, settings, Aim(sglang, arch, facts), os.environ, as_json=as_json)


@cli.command("model")
@click.argument("folder", metavar="DIR")
@click.option("--hash", "hashes", is_flag=True, help="Read every byte and compare with the hub's digests.")
@json_option
def model_command(folder: str, hashes: bool, as_json: bool) -> int:
    """Say whether a checkpoint is whole and what it claims to be.

    DIR is a folder, or a hub id that is in the cache. Headers are read, weights only with --hash. Exit 1 if not.
    """
    from launcher import modelscreen

    return modelscreen.run(folder, os.environ, hashes=hashes, as_json=as_json)


@cli.command("fetch")
@click.argument("repository", metavar="ORG/NAME")
@click.option("--revision", metavar="REV", help="A branch, tag or commit; it is pinned to the commit it is now.")
@click.option("--to", metavar="DIR", type=click.Path(path_type=Path), help="A plain folder instead of the cache.")
@json_option
def fetch_command(repository: str, revision: str | None, to: Path | None, as_json: bool) -> int:
    """Download a checkpoint: the disk is looked at first, and files that are whole are kept."""
    from launcher.fetch import fetch

    return fetch(repository, revision, to, as_json=as_json)


@cli.command("lint")
@click.argument("file")
@aiming
@json_option
def lint_command(file: str, sglang: str | None, arch: str | None, facts: Path | None, as_json: bool) -> int:
    """Judge anybody's launch command, and write the one that should be.

    FILE, or - for standard input: a shell script, `docker run`, a compose or Kubernetes file, a systemd unit, or
    just options. Without --sglang it is judged for every release, as a table. Exit 1 if it will not run, or not
    rightly.
    """
    from launcher import lintscreen
    from launcher.planning import Aim

    return lintscreen.run(file, Aim(sglang, arch, facts), as_json=as_json)


@cli.command()
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
    Ctrl-C or SIGTERM drains and stops it, a second one kills it; either way nothing is left.
    """
    from launcher.resolve import Ask
    from launcher.up import up

    return up(Ask(profile, settings, api_key_file), os.environ, allow, detach=detach, as_json=as_json)


@cli.command()
@observing
@click.option("--deep", is_flag=True, help="Prove peer-to-peer and all-reduce by moving data.")
@click.option(
    "--backend", type=click.Choice(["nccl", "gloo"]), default="nccl", help="For --deep; gloo needs no GPU."
)
@click.option(
    "--deadline", metavar="SECONDS", type=click.FloatRange(1, 3600), default=30.0, help="Of a phase of --deep."
)
@check_option("--only", "Judge by this check alone; may be given again.")
@check_option("--skip", "Leave this check out.")
@allow_option
@click.option("--all", "every", is_flag=True, help="Show what is well, too.")
@click.option("--fix", is_flag=True, help="Print a script that mends what can be mended; nothing is run.")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings and unknowns, too.")
@json_option
def doctor(**words: Any) -> int:
    """Say what will hang, crash, corrupt or slow this profile on this host, and how to mend it.

    Without a profile, the host is judged for the one that fits its GPUs best. Exit 1 if a check fails.
    """
    from launcher.doctor import Words, doctor

    return doctor(Words(**words), os.environ)


@cli.command()
@observing
@json_option
def facts(
    profile: str | None,
    settings: tuple[str, ...],
    sysroot: Path | None,
    facts: Path | None,
    pasted: Path | None,
    as_json: bool,
) -> None:
    """Print what was observed about this host: always as JSON, to be judged anywhere (`doctor --facts`)."""
    from launcher import factfile
    from launcher.doctor import Source, examine

    seen = examine(profile, settings, Source(sysroot, facts, pasted), os.environ)
    print(json.dumps(factfile.to_json(seen.host), indent=1))


@cli.command()
@click.argument("id", required=False, shell_complete=complete_check)
@click.option("--markdown", is_flag=True, help="Print the page docs/checks.md.")
@json_option
def checks(id: str | None, markdown: bool, as_json: bool) -> None:
    """List doctor's checks, or explain one."""
    from launcher import checkpages

    print(checkpages.page() if markdown else checkpages.listing(id, as_json=as_json))


@cli.command()
@profile_option(required=False)
@json_option
def status(profile: str | None, as_json: bool) -> int:
    """Say what state it is in, since when and why; exit 0 only if it is ready."""
    from launcher import remote, screens

    seen = remote.status(remote.pick(home(), profile))
    screens.status(seen, as_json=as_json)
    return Exit.FINE if seen["state"] == "ready" else Exit.NO


@cli.command()
@profile_option(required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, while it is up.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="How many to begin with."
)
@json_option
def logs(profile: str | None, follow: bool, lines: int, as_json: bool) -> None:
    """Print what the server printed, keys left out."""
    from launcher import remote

    for line in remote.log_lines(remote.pick(home(), profile), lines, follow=follow):
        print(json.dumps({"schema": 1, "line": line}) if as_json else line, flush=follow)


@cli.command()
@profile_option(required=False)
@click.option("--now", is_flag=True, help="Kill it instead of letting requests finish.")
@json_option
def down(profile: str | None, now: bool, as_json: bool) -> None:
    """Stop it and wait until nothing of it is left."""
    from launcher import remote

    instance = remote.pick(home(), profile)
    said = remote.down(instance, now=now)
    print(
        json.dumps({"schema": 1, "profile": instance.name, "state": "stopped", "said": said}) if as_json else said
    )


@cli.command()
@profile_option(required=False)
@json_option
def restart(profile: str | None, as_json: bool) -> int:
    """Drain it and start it again from its profile as it is now; return when it is ready."""
    from launcher import console, remote

    show = console.screen(console.kind_for(sys.stderr, as_json=as_json))
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr)
    return remote.restart(remote.pick(home(), profile), os.environ, tell, show)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell, e.g. eval "$(glm5-serve completion bash)"."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    print(made(cli, {}, "glm5-serve", "_GLM5_SERVE_COMPLETE").source())


def home() -> Path:
    """Where the instances of this user are."""
    from launcher.instance import state_home

    return state_home(os.environ)


def main() -> None:
    """Run, and turn whatever stands in the way into one clear message and the right exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # names of files, or of a record, that no terminal can show
    try:
        status = cli.main(prog_name="glm5-serve", standalone_mode=False)
    except RefusalError as refusal:
        status = _refuse(refusal.what, refusal.fix, refusal.status)
    except click.ClickException as error:
        error.show()
        status = Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        status = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit complains
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
    click.echo(what, err=True)
    click.secho("fix    ", bold=True, nl=False, err=True)
    click.echo(fix, err=True)
    return status


if __name__ == "__main__":
    main()
