"""Profiles: those that there are, one of them, and one of one's own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher import folding
from launcher.cli import complete
from launcher.cli.groups import Group
from launcher.cli.options import (
    driver_of,
    gpus_options,
    json_option,
    profile_option,
    target_options,
)
from launcher.errors import Exit, UserError

if TYPE_CHECKING:
    from launcher.config.target import TargetOptions
    from launcher.plan.plan import Plan


class Named(Group):
    """The group of profiles: a profile's name in the place of a command means `show`."""

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command. Raises UserError where there is none."""
        try:
            return super().resolve_command(context, words)
        except UserError:
            from launcher.config.layers import all_profiles

            if words[0] not in {found.name for found in all_profiles(os.environ)}:
                raise
            fix = f"`glm5-serve profiles show {words[0]}`"
            raise UserError(f"{words[0]} is a profile", fix=fix, status=Exit.USAGE) from None


@click.group(cls=Named, invoke_without_command=True)
@click.option("--all", "every", is_flag=True, help="Those for other GPUs and old names, too.")
@gpus_options
@json_option
@click.pass_context
def profiles(context: click.Context, every: bool, aim: TargetOptions, as_json: bool) -> None:
    """List the profiles, those first that fit the GPUs here, or those that are said; show one,
    write one, check one.
    """
    if context.invoked_subcommand:
        return
    from launcher.config import select
    from launcher.output import profiles as screens

    rows = select.rows(driver_of(aim), os.environ)
    screens.listed(rows, os.environ, every=every, as_json=as_json)


@profiles.command("show", short_help="its file, and who sets what")
@profile_option(required=True)
@json_option
def show(profile: str, as_json: bool) -> None:
    """Print a profile's file, where it lies, what it extends, and who sets what."""
    from launcher.config.load import PlanRequest, load
    from launcher.config.shown import shown
    from launcher.output import nextstep
    from launcher.output import profiles as screens

    screens.show(shown(profile, os.environ), as_json=as_json)
    load(PlanRequest(profile), os.environ)  # all errors of it, below what it says
    if not as_json:
        nextstep.tell((f"render {profile} --explain", "with what rules choose, and why"))


@profiles.command("validate", short_help="whether keys, types and options are right")
@profile_option(required=True)
@target_options
@json_option
def validate(profile: str, aim: TargetOptions, as_json: bool) -> int:
    """Check a profile: its keys, their types, and its options for the engine's release.

    Exit 78 if it is none, 1 if the engine would not start with it. Nothing is asked of the host but
    which release there is: `doctor` judges that.
    """
    from launcher.config.load import PlanRequest
    from launcher.config.target import planned
    from launcher.lint.notes import noted, stopping
    from launcher.output import profiles as screens

    plan = noted(planned(PlanRequest(profile), os.environ, aim)[0])
    stops = [(said, concern.why) for said, concern in stopping(plan)]
    return screens.valid(plan, stops, plan.words["profile"], as_json=as_json)


@profiles.command("schema", short_help="JSON Schema of a profile, for editors")
def schema() -> None:
    """Print the JSON Schema of a profile's file, for editors."""
    from launcher.config import schema as made

    print(json.dumps(made.to_json(), indent=1))


@click.command(short_help="write one of your own: the same as `init`")
@click.argument("name", required=False)
@click.option(
    "--extends",
    metavar="PROFILE",
    shell_complete=complete.profiles,
    help="What it begins with; else the one that fits the GPUs here.",
)
@click.option("--model", metavar="MODEL", help="A folder with a checkpoint, or a hub id.")
@click.option("--host", metavar="ADDRESS", help="That it listens on.")
@click.option("--port", metavar="PORT", type=click.IntRange(1, 65535), help="That it listens on.")
@click.option("--api-key-file", metavar="FILE", help="The key that clients must send; mode 0600.")
@click.option("--make-key", is_flag=True, help="Make that file, with a random key.")
@click.option("--engine-python", metavar="PATH", help="The interpreter that has the engine.")
@click.option("--force", is_flag=True, help="Replace the profile of that name.")
@gpus_options
@json_option
def init(
    name: str | None,
    extends: str | None,
    force: bool,
    aim: TargetOptions,
    as_json: bool,
    **said: Any,
) -> None:
    """Write a profile of your own: a few lines that extend another one.

    On a terminal it asks for what is not given. As root the profile goes to
    /etc/glm5-serve/profiles, where systemd's units find it, too.
    """
    from launcher.operate import init as making

    asks = not as_json and sys.stdin.isatty() and sys.stderr.isatty()
    name, extends = _base(name, extends, aim, asks=asks)
    draft, base = making.begun(name, extends, os.environ)
    words = {key: said[key] for key in ("model", "host", "port")}
    words["python"] = said["engine_python"]
    if asks:
        words = _asked(words, base)
    words["model"] = making.model_of(words["model"]) if words["model"] else None
    draft = making.having(draft, **words)
    key, new_key = said["api_key_file"], said["make_key"]
    if asks and draft.is_open and not (key or new_key):
        default = str(making.key_of(name, os.environ))
        key = _ask("file with the API key, made if it is not there", default)
        new_key = not making.key_at(key, name).exists()
    if key or new_key:
        path = making.key_at(key, name) if key else making.key_of(name, os.environ)
        draft = making.having(draft, key_file=path)
    body = making.text(draft, base.engine)
    plan = making.checked(draft, body, os.environ)
    path = making.write(draft, body, os.environ, new_key=new_key, force=force)
    _report(plan, draft.name, path, draft.key_file if new_key else None, as_json=as_json)


def _base(
    name: str | None, extends: str | None, aim: TargetOptions, *, asks: bool
) -> tuple[str, str]:
    """The profile's name, and what it extends."""
    from launcher.config import select

    best = extends or select.best_profile(driver_of(aim), os.environ)
    if asks and not extends:
        extends = _ask("profile to extend (`glm5-serve profiles` lists them)", best)
    elif not extends:
        if best is None:
            fix = "--extends PROFILE: `glm5-serve profiles` lists them"
            raise UserError("no profile is for the GPUs here", fix=fix, status=Exit.USAGE)
        extends = best
        folding.tell(f"it extends {extends}, the default for these GPUs", sys.stderr)
    if name is None and asks:
        name = _ask("name of yours", f"my-{Path(extends).stem}")
    if name is None:
        fix = f"`glm5-serve init NAME`, for example my-{Path(extends).stem}"
        raise UserError("which name?", fix=fix, status=Exit.USAGE)
    return name, extends


def _asked(words: dict[str, Any], base: Plan) -> dict[str, Any]:
    """What was said, and what is answered for the rest; an answer that is the default is none."""
    from launcher.engines.engine import dialect

    engine = dialect(base.engine).name
    for key, question, default in (
        ("model", "model: a folder with a checkpoint, or a hub id", base.model),
        ("host", "address to listen on (0.0.0.0: every one; it wants a key)", base.host),
        ("port", "port", base.port),
        ("python", f"Python that has {engine}", base.python),
    ):
        if words[key] is None and (answer := _ask(question, default)) != default:
            words[key] = answer
    return words


def _ask(question: str, default: Any) -> Any:
    """An answer. Raises UserError where there will be none: Ctrl-D, or a pipe that ends."""
    try:
        return click.prompt(question, default=default, err=True)
    except click.Abort as ended:
        if not isinstance(ended.__context__, EOFError):
            raise
        click.echo(err=True)
        fix = "answer, or say it by options: `glm5-serve init --help`"
        raise UserError("no answer: nothing was written", fix=fix, status=Exit.USAGE) from None


def _report(plan: Plan, name: str, path: Path, key: Path | None, *, as_json: bool) -> None:
    """What was written, what it comes to, and what to do with it."""
    if as_json:
        told = {"schema": 1, "profile": name, "path": str(path), "notes": list(plan.notes)}
        print(json.dumps(told | {"key": str(key) if key else None}))
        return
    from launcher.output import nextstep
    from launcher.output import profiles as screens

    for made in filter(None, (key, path)):
        folding.tell(f"wrote {made}")
    screens.made(plan)
    nextstep.tell(
        (f"doctor {name}", "what will hang, crash or slow it here"),
        (f"fit {name}", "what fits into the GPUs' memory"),
        (f"up {name}", "start it, and keep it up"),
        always=True,
    )


profiles.add_command(init, "new")


COMMANDS: tuple[click.Command, ...] = (profiles, init)
