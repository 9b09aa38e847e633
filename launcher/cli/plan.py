"""What to run: the command that a profile becomes, and whether a model fits."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import complete
from launcher.cli.options import (
    BEST,
    container_options,
    json_option,
    key_option,
    old_option,
    plan_options,
    profile_option,
    set_option,
    target_options,
    that_is_up,
)
from launcher.engines.engine import NAMES
from launcher.errors import Exit

if TYPE_CHECKING:
    from launcher.config.target import TargetOptions
    from launcher.operate.contained import Asked


# Those of formats/writers.py, and JSON.
FORMS = ("shell", "systemd", "docker", "compose", "quadlet", "kubernetes", "json")


@click.command()
@plan_options
@key_option
@click.option("--format", "form", type=click.Choice(FORMS), default="shell", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--explain", is_flag=True, help="For each flag and variable: its value, who set it, and why."
)
@container_options
@target_options
def render(
    profile: str,
    settings: tuple[str, ...],
    api_key_file: str | None,
    form: str,
    as_json: bool,
    explain: bool,
    asked: Asked,
    aim: TargetOptions,
) -> None:
    """Print the exact command and environment that `up` would run.

    What the profile leaves open is chosen by rules, for the engine's release and the GPUs that are
    here, or that --release, --gpu, --arch and --facts say. docker, compose, quadlet and kubernetes
    run the engine alone in its own image, with the same words and variables.
    """
    from launcher.config.load import PlanRequest
    from launcher.operate.contained import rendered
    from launcher.output import plan as screens

    form = "json" if as_json else form
    ask = PlanRequest(profile, settings, api_key_file)
    made = rendered(ask, os.environ, aim, form, asked)
    screens.plan(made, form=form, explain=explain)


@click.command()
@click.argument("one", metavar="A", shell_complete=complete.profiles)
@click.argument("other", metavar="[B]", required=False, shell_complete=complete.profiles)
@click.option(
    "--to-release",
    metavar="RELEASE",
    shell_complete=complete.releases,
    help="The release of B, where it is another: what an update would change.",
)
@old_option("--to-sglang", "--to-release")
@click.option(
    "--to-arch",
    metavar="ARCH",
    shell_complete=complete.archs,
    help="The GPUs of B, where they are others.",
)
@target_options
@json_option
def diff(
    one: str,
    other: str | None,
    to_release: str | None,
    to_arch: str | None,
    aim: TargetOptions,
    as_json: bool,
) -> int:
    """Show how profile B's command differs from A's, and why; exit 1 if it does.

    Without B it is A's own: for another release or other GPUs.
    """
    from launcher.config.load import PlanRequest
    from launcher.config.target import planned
    from launcher.lint.notes import noted
    from launcher.output import plan as screens

    before, _ = planned(PlanRequest(one), os.environ, aim)
    after, _ = planned(PlanRequest(other or one), os.environ, aim.to(to_release, to_arch))
    return (
        Exit.NO if screens.difference(noted(before), noted(after), as_json=as_json) else Exit.FINE
    )


@click.command("fit")
@profile_option(required=False, meaning=BEST)
@click.option("--model", metavar="DIR", help="Another checkpoint: a folder, or a GLM-5's hub id.")
@set_option
@target_options
@json_option
def fit_command(
    profile: str | None,
    model: str | None,
    settings: tuple[str, ...],
    aim: TargetOptions,
    as_json: bool,
) -> int:
    """Say what weights and KV cache take of each GPU, how many requests fit, and what is left.

    Exit 1 if it does not fit.
    """
    from launcher.api.fit import FitRequest
    from launcher.config.target import TargetOptions
    from launcher.operate.sizing import here
    from launcher.output import estimate, nextstep

    is_here = aim == TargetOptions()
    ask = FitRequest(profile or (that_is_up() if is_here else None), model, settings, aim)
    status = estimate.run(ask, os.environ, here(os.environ), as_json=as_json)
    is_here = is_here and not (model or settings)
    if status == Exit.FINE and profile and is_here and not as_json:
        nextstep.tell((f"up {shlex.quote(profile)}", "start it, and keep it up"))
    return status


@click.command("lint")
@click.argument("file")
@click.option("--fix", is_flag=True, help="Print the text with the least change that helps.")
@click.option("--write", is_flag=True, help="The same, into FILE itself.")
@click.option("--profile", is_flag=True, help="Print a profile that says the same.")
@click.option("--all-releases", is_flag=True, help="A table: what each known release makes of it.")
@click.option(
    "--to",
    type=click.Choice(NAMES),
    help="Print it as a command of that engine, and what it lacks.",
)
@target_options
@json_option
def lint_command(
    file: str,
    fix: bool,
    write: bool,
    profile: bool,
    all_releases: bool,
    to: str | None,
    aim: TargetOptions,
    as_json: bool,
) -> int:
    """Check an existing launch, whatever it is written in, and change what will not run.

    FILE, or - for standard input: a shell script, `docker run`, a compose or Kubernetes file, a
    Dockerfile, a systemd unit, or just options. It is judged for --release, else for the one that
    its image names, else for the newest that is known. Exit 1 if it will not run, or not correctly.
    """
    from launcher.config.target import elsewhere
    from launcher.host.observe import observe_driver
    from launcher.output import lint

    asked = {"fix": fix, "write": write, "profile": profile, "all-releases": all_releases}
    asked |= {"to": to is not None}
    hows = [name for name, is_asked in asked.items() if is_asked] or ["show"]
    if len(hows) > 1:
        raise click.UsageError(f"--{' and --'.join(hows)} at once: give one of them")
    ask = lint.Ask(file, hows[0], as_json=as_json, to=to or "")
    return lint.run(ask, elsewhere(aim, observe_driver))


@click.command("model")
@click.argument("folder", metavar="DIR")
@click.option(
    "--hash", "hashes", is_flag=True, help="Read every byte and compare with the hub's digests."
)
@json_option
def model_command(folder: str, hashes: bool, as_json: bool) -> int:
    """Say whether a checkpoint is complete and what it claims to be.

    DIR is a folder, or a hub id that is in the cache. Headers are read, weights only with --hash.
    Exit 1 if not.
    """
    from launcher.output import checkpoint as modelscreen

    return modelscreen.run(folder, os.environ, hashes=hashes, as_json=as_json)


@click.command("fetch")
@click.argument("repository", metavar="ORG/NAME")
@click.option(
    "--revision",
    metavar="REV",
    help="A branch, tag or commit; it is pinned to the commit it is now.",
)
@click.option(
    "--to",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A plain folder instead of the cache.",
)
@json_option
def fetch_command(repository: str, revision: str | None, to: Path | None, as_json: bool) -> int:
    """Download a checkpoint: the disk is looked at first, and complete files are kept."""
    from launcher.operate.download import fetch
    from launcher.output import nextstep

    status = fetch(repository, revision, to, as_json=as_json)
    if status == Exit.FINE and not as_json:
        model = str(to) if to else repository
        nextstep.tell(
            (shlex.join(["model", model]), "whether it is complete"),
            (shlex.join(["init", "--model", model]), "a profile of your own that serves it"),
        )
    return status


COMMANDS: tuple[click.Command, ...] = (
    render,
    diff,
    fit_command,
    lint_command,
    model_command,
    fetch_command,
)
