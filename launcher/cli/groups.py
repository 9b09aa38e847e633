"""`glm5-serve --help`: the commands by what somebody wants to do, the most frequent first."""

from __future__ import annotations

from itertools import takewhile

import click

from launcher.cli.refusals import no_command
from launcher.errors import Exit, UserError

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
EXAMPLES = (
    "glm5-serve doctor",
    "glm5-serve up 8xpro6000",
    "glm5-serve up 8xpro6000 --set flags.model-path=/models/GLM-5-NVFP4 --detach",
    "glm5-serve lint my-launch.sh",
)


class Group(click.Group):
    """A group that answers an unknown word with the right one; a long option wants two dashes."""

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command. Raises UserError where there is none, or where one of its options has one
        dash alone, which would be as many short ones.
        """
        if words[0][:1] != "-" and words[0] not in self.commands:
            from difflib import get_close_matches

            near = get_close_matches(words[0], self.commands, 1)
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
    """The one whose help shows its commands by GROUPS."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section a group, then the examples."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=12)
        with formatter.section("Examples"):
            for example in EXAMPLES:
                formatter.write_text(example)
