"""`glm5-serve --help`: the commands by what somebody wants to do, the most frequent first."""

from __future__ import annotations

import contextlib
import os
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import click
from click.core import augment_usage_errors

from launcher.errors import Exit, UserError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

GROUPS = {
    "Serve": {
        "up": "start a profile's server and keep it up",
        "status": "state, since when, and why",
        "top": "watch servers and GPUs, live",
        "logs": "what the server printed",
        "restart": "drain, and start from the profile again",
        "down": "drain and stop",
        "smoke": "ask it a few questions, check the answers",
        "bench": "how fast it is, judged, beside others",
        "gateway": "one address for several servers of a model",
    },
    "Before a start": {
        "demo": "a real engine on this CPU, start to end",
        "init": "write a profile of your own",
        "doctor": "what will hang, crash or slow it here",
        "fit": "what fits into the GPUs' memory",
        "model": "whether a checkpoint is complete",
        "fetch": "download a checkpoint",
        "warm": "read a checkpoint into memory before a start",
        "checks": "list doctor's checks, or explain one",
        "facts": "what doctor observed, as JSON",
    },
    "Command line": {
        "profiles": "which there are, show one, check one",
        "render": "the command and environment of a profile",
        "diff": "how two profiles' commands differ",
        "lint": "check an existing command, rewrite it",
    },
    "After": {
        "events": "what happened, with reasons and durations",
        "diagnose": "why a server died, from its log",
        "bundle": "all that a bug report needs, no secrets",
    },
    "Integrate": {
        "systemd": "install a profile as a unit",
        "metrics": "metrics for Prometheus",
        "completion": "completion script of a shell",
    },
}
# Which module has which commands: it is imported when one of them is asked for.
MODULES = {
    "bench": ("bench",),
    "demo": ("demo",),
    "gateway": ("gateway",),
    "host": ("doctor", "facts", "checks"),
    "observe": ("events", "smoke", "diagnose", "metrics", "bundle", "systemd"),
    "plan": ("render", "diff", "fit", "lint", "model", "fetch"),
    "profiles": ("profiles", "init"),
    "serve": ("up", "warm", "status", "logs", "down", "restart"),
    "top": ("top",),
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names}
STATUSES = {
    Exit.FINE: "fine, warnings included",
    Exit.NO: "the answer is no: a check failed, not up, not ready, gave up",
    Exit.USAGE: "usage error",
    Exit.BUG: "a bug in glm5-serve",
    Exit.CONFIG: "configuration or environment error; nothing was started",
}
ALL = 1000  # characters: more than any sentence has
NARROW = 52  # columns, below which click's help is wider than the terminal
EXAMPLES = (
    "glm5-serve doctor",
    "glm5-serve up 8xpro6000",
    "glm5-serve up 8xpro6000 --set flags.model-path=/models/GLM-5-NVFP4 --detach",
    "glm5-serve lint my-launch.sh",
)


class Formatter(click.HelpFormatter):
    """Help that has room for its words on a narrow terminal, too."""

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write names beside what they mean, below those that are longer than a column; a name
        that is longer than a line is folded between its choices.
        """
        told = [row for name, text in rows for row in self._folded(name, text)]
        super().write_dl(told, min(col_max, max(self.width // 3, 4)), col_spacing)

    def _folded(self, name: str, text: str) -> Iterator[tuple[str, str]]:
        if len(name) > self.width - 4:
            *above, name = textwrap.wrap(name.replace("|", "| "), self.width - 4)
            yield from ((part, "") for part in above)
        yield name, text


class Context(click.Context):
    """One whose help has no line that is longer than the terminal: click's has 50 columns at
    least.
    """

    @contextlib.contextmanager
    def scope(self, cleanup: bool = True) -> Iterator[click.Context]:
        """Within it, words that are no use are told as those of this command."""
        with super().scope(cleanup), augment_usage_errors(self):
            yield self

    def make_formatter(self) -> click.HelpFormatter:
        """What its help is laid out by."""
        columns = shutil.get_terminal_size().columns
        width = max(columns - 1, 20) if columns < NARROW else None
        return Formatter(width=width, max_width=self.max_content_width)


class Filled(click.ParamType):  # type: ignore[type-arg]  # generic in new releases alone
    """A type that takes no empty word: `--save "$UNSET"` is a slip, and no `--save` left out."""

    def __init__(self, of: click.ParamType[Any]) -> None:
        self.of = of
        self.name = of.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click.BadParameter."""
        if value == "":
            self.fail("an empty word: is a variable of the shell not set?", param, ctx)
        return self.of.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What may stand there: paths, where it is one."""
        return self.of.shell_complete(ctx, param, incomplete)


class Group(click.Group):
    """A group that answers an unknown word with the right one; a long option wants two dashes, and
    no word is empty.
    """

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take a command in, with our help; its words and paths are not empty."""
        cmd.context_class = Context
        for one in cmd.params:
            if isinstance(one.type, click.Path | type(click.STRING)):
                one.type = Filled(one.type)
        super().add_command(cmd, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with all that is said of it: what has no room in a line is folded."""
        every = self.commands.items()
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(ALL)) for name, one in every])

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command. Raises UserError where there is none, or where one of its options has one
        dash alone, which would be as many short ones.
        """
        names = self.list_commands(context)
        if words[0][:1] != "-" and words[0] not in names:
            from difflib import get_close_matches

            from launcher.cli.refusals import no_command

            near = get_close_matches(words[0], names, 1)
            raise no_command(words[0], context.command_path, near[0] if near else None)
        name, command, rest = super().resolve_command(context, words)
        long = {name for one in (command.params if command else ()) for name in one.opts}
        for word in takewhile(lambda word: word != "--", rest):
            head = word.partition("=")[0]
            if len(head) > 2 and head[1] != "-" and f"-{head}" in long:
                fix = f"did you mean -{head}?"
                raise UserError(f"no such option {head}", fix=fix, status=Exit.USAGE)
        return name, command, rest


class Grouped(Group):
    """The one whose help shows its commands by GROUPS, and what an exit status says."""

    context_class = Context

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all, be their modules imported or not."""
        return sorted({*MODULE_OF, *self.commands})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """A command; its module is imported for it."""
        if name in MODULE_OF and name not in self.commands:
            if os.geteuid() == 0:  # who root becomes may not read our files: refusals need them
                import_module("launcher.cli.refusals")
            for command in import_module(f"launcher.cli.{MODULE_OF[name]}").COMMANDS:
                self.add_command(command)
        return super().get_command(context, name)

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what an exit status says."""
        with formatter.section("Exit status"):
            formatter.write_dl([(str(int(status)), said) for status, said in STATUSES.items()])

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section a group, then the examples."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=12)
        with formatter.section("Examples"):
            for example in EXAMPLES:
                formatter.write_text(example)
