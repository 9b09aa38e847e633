"""The options that several commands take."""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher import folding
from launcher.cli import complete
from launcher.errors import Exit, UserError

if TYPE_CHECKING:
    from launcher.config.target import TargetOptions
    from launcher.host.facts import Driver


class Seconds(click.FloatRange):
    """Seconds within bounds; neither `nan`, which passes each bound, nor for ever."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Raises click.BadParameter."""
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


NAMED = "A name (`glm5-serve profiles`) or a path."
UP = f"{NAMED} None: the one that is up."
BEST = f"{NAMED} None: the one that is up, else the default for these GPUs."


def profile_option(*, required: bool, meaning: str | None = None) -> Callable[..., Any]:
    """The profile, as an argument or as --profile, with names completed: parameter `profile`."""
    meaning = meaning or (NAMED if required else UP)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument(
            "position", metavar="[PROFILE]", required=False, shell_complete=complete.profiles
        )
        @click.option(
            "-p",
            "--profile",
            "named",
            metavar="NAME",
            shell_complete=complete.profiles,
            help=meaning,
        )
        @functools.wraps(command)
        def given(*args: Any, position: str | None, named: str | None, **words: Any) -> Any:
            if position is not None and named not in (None, position):
                raise click.UsageError(f"two profiles: {position} and --profile {named}")
            profile = named if position is None else position
            if required and profile is None:
                fix = "`glm5-serve profiles` lists them"
                raise UserError("which profile?", fix=fix, status=Exit.USAGE)
            return command(*args, profile=profile, **words)

        return given

    return decorate


set_option = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=complete.settings,
    help="Set one value, e.g. flags.port=8001.",
)
key_option = click.option(
    "--api-key-file", metavar="FILE", help="The key that clients must send; mode 0600."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (schema 1).")


def check_option(name: str, meaning: str) -> Callable[..., Any]:
    """An option that names a check, any number of times, with ids completed."""
    return click.option(
        name, metavar="ID", multiple=True, shell_complete=complete.checks, help=meaning
    )


allow_option = check_option("--allow", "Let this check fail; its finding stays visible.")


def _renamed(to: str) -> Callable[[click.Context, click.Parameter, str | None], None]:
    """Refuse an option that has another name since."""

    def refuse(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"{parameter.opts[0]} was renamed to {to} {value}")

    return refuse


def old_option(name: str, to: str) -> Callable[..., Any]:
    """An option from before the first release."""
    return click.option(name, hidden=True, expose_value=False, callback=_renamed(to))


_GPUS = (
    click.option(
        "--facts",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Another host's `facts`.",
    ),
    click.option(
        "--arch",
        metavar="ARCH",
        shell_complete=complete.archs,
        help="Its architecture alone, e.g. sm100, sm103 or sm120.",
    ),
    click.option(
        "--gpu",
        metavar="GPU",
        shell_complete=complete.gpus,
        help="A product, e.g. rtx-pro-6000, b200 or gb300; or an architecture, e.g. sm120.",
    ),
)
_RELEASE = click.option(
    "--release",
    metavar="RELEASE",
    shell_complete=complete.releases,
    help="For that release of the engine, e.g. 0.5.23.",
)


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say another release, GPU or host than what is here: the parameter `aim`."""
    return _aimed(command, *_GPUS, _RELEASE, old_option("--sglang", "--release"))


def gpus_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Those of them that say other GPUs, where no release matters: the parameter `aim`."""
    return _aimed(command, *_GPUS)


def _aimed(command: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def given(
        *args: Any,
        gpu: str | None,
        arch: str | None,
        facts: Path | None,
        release: str | None = None,
        **words: Any,
    ) -> Any:
        from launcher.config.target import TargetOptions

        return command(*args, aim=TargetOptions.of(release, gpu, arch, facts), **words)

    for option in options:
        given = option(given)
    return given


def container_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a container is made of: the parameter `asked`."""

    @functools.wraps(command)
    def given(
        *args: Any,
        image: str | None,
        digest: str | None,
        cuda: str | None,
        rdma: str | None,
        models: str | None,
        dra: bool,
        supervised: bool,
        **words: Any,
    ) -> Any:
        from launcher.operate.contained import Asked

        asked = Asked(image, digest, int(cuda) if cuda else None, rdma, models, dra, supervised)
        return command(*args, asked=asked, **words)

    for option in (
        click.option(
            "--models",
            metavar="PLACE",
            help="kubernetes: pvc:CLAIM, hostPath:DIR or image:REFERENCE with the weights.",
        ),
        click.option(
            "--dra",
            is_flag=True,
            help="kubernetes (1.34 or later): claim the GPUs by their product, not by a count.",
        ),
        click.option(
            "--rdma",
            metavar="WHAT",
            help="Hand RDMA in: /dev/infiniband, or what a cluster calls it (rdma/...).",
        ),
        click.option(
            "--cuda",
            type=click.Choice(("12", "13")),
            help="The image's CUDA: 13 wants driver 580. By default the driver decides.",
        ),
        click.option("--supervised", is_flag=True, help="A container with `glm5-serve up` in it."),
        click.option("--digest", metavar="SHA256", help="Pin the image: sha256:..."),
        click.option("--image", metavar="IMAGE", help="Another image than the release's own."),
    ):
        given = option(given)
    return given


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which host is meant, and for which plan."""
    file = click.Path(path_type=Path)
    for option in (
        click.option(
            "--sysroot", metavar="DIR", type=file, help="A recorded tree of /sys and /proc."
        ),
        click.option(
            "--facts",
            metavar="FILE",
            type=file,
            multiple=True,
            help="What `glm5-serve facts` printed on a host; several are judged together.",
        ),
        click.option(
            "--from",
            "pasted",
            metavar="PATH",
            help="What people paste (nvidia-smi -q, lspci ...): a file, a folder, or -.",
        ),
        set_option,
        profile_option(required=False, meaning=BEST),
    ):
        command = option(command)
    return command


def fleet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which other hosts are meant, and how they are asked."""
    file = click.Path(path_type=Path)
    for option in (
        click.option("--save", metavar="DIR", type=file, help="Keep the facts of --hosts there."),
        click.option(
            "--ssh-config", metavar="FILE", type=file, help="For ssh, in place of ~/.ssh/config."
        ),
        click.option("--sudo", is_flag=True, help="Ask --hosts as root where sudo needs no word."),
        click.option(
            "--remote",
            type=click.Choice(["auto", "facts", "script"]),
            default="auto",
            help="Ask --hosts by their own glm5-serve, or by a script; auto: the first there is.",
        ),
        click.option(
            "--hosts",
            metavar="LIST",
            help="Other hosts, over ssh: a,b,c or @FILE, a list or Ansible's inventory[:GROUP].",
        ),
    ):
        command = option(command)
    return command


def plan_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which plan is meant; of several nodes, which one: in `settings`.

    Where no profile is named, it is the one that is up, else the default for the GPUs, which is
    said.
    """

    @functools.wraps(command)
    def given(
        *args: Any,
        profile: str | None,
        settings: tuple[str, ...],
        node_rank: int | None,
        **words: Any,
    ) -> Any:
        from launcher.plan.plan import RANK

        said = settings if node_rank is None else (*settings, f"{RANK}{node_rank}")
        if profile is None:
            profile = _left_out(*(words.get(name) for name in ("release", "gpu", "arch", "facts")))
        return command(*args, profile=profile, settings=said, **words)

    node = click.option(
        "--node-rank",
        metavar="N",
        type=click.IntRange(0),
        help="Of a profile over several hosts: the node that this one is; 0 leads.",
    )
    which = profile_option(required=False, meaning=BEST)
    for option in reversed((which, set_option, node)):
        given = option(given)
    return given


def that_is_up() -> str | None:
    """What is meant where no profile is named, of all commands: that of the one server that is up
    here, which is said; None where none is, or several are.
    """
    from launcher.operate.control import profile_up
    from launcher.statedir.home import state_home

    try:
        profile = profile_up(state_home(os.environ))
    except UserError:  # said by commands that put something there
        return None
    if profile:
        folding.tell(f"no profile was named: {profile} is up", sys.stderr)
    return profile


def is_up(profile: str) -> bool:
    """Whether a server of that profile is up here."""
    from launcher.operate.control import meant
    from launcher.statedir.home import state_home

    try:
        return any(one.is_held() for one in meant(state_home(os.environ), profile))
    except UserError:
        return False


def driver_of(aim: TargetOptions) -> Driver:
    """The GPUs that profiles are chosen for: of the facts, the GPU or the architecture that was
    said, else those that are here. Raises UserError.
    """
    from launcher.config import select
    from launcher.config.target import recorded
    from launcher.host.observe import observe_driver

    if aim.facts:
        return select.shown(recorded(aim.facts))
    return select.of_aim(aim) if aim.arch else observe_driver()


def _several_up() -> list[str]:
    """The servers that are up here, where none of them is meant."""
    from launcher.operate.control import profiles_up
    from launcher.statedir.home import state_home

    try:
        return [*profiles_up(state_home(os.environ))]
    except UserError:
        return []


def _left_out(*words: Any) -> str:
    from launcher.config import select
    from launcher.config.target import TargetOptions

    aim = TargetOptions.of(*words)
    is_here = not (aim.gpu or aim.arch or aim.facts)
    if is_here and (up := that_is_up()):
        return up
    profile = select.required(driver_of(aim), os.environ, _several_up() if is_here else ())
    folding.tell(f"no profile was named: {profile} is the default for these GPUs", sys.stderr)
    return profile
