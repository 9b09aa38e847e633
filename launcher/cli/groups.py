"""`glm5-serve --help`: the commands by what somebody wants to do, the most frequent first."""

from __future__ import annotations

from itertools import takewhile

import click

GROUPS = {
    "Serve": {
        "up": "start a profile's server and keep it up",
        "status": "state, since when, and why",
        "logs": "what the server printed",
        "restart": "drain, and start from the profile again",
        "down": "drain and stop",
        "smoke": "ask it a few questions, check the answers",
        "gateway": "one address for several servers of a model",
    },
    "Before a start": {
        "doctor": "what will hang, crash or garble here",
        "fit": "what fits into the GPUs' memory",
        "model": "whether a checkpoint is complete",
        "fetch": "download a checkpoint",
        "warm": "read a checkpoint into memory before a start",
        "checks": "list doctor's checks, or explain one",
        "facts": "what doctor observed, as JSON",
    },
    "Command line": {
        "profiles": "list profiles, and which fit this host",
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


class Grouped(click.Group):
    """A group whose help shows its commands by GROUPS; a long option wants two dashes."""

    def resolve_command(
        self, context: click.Context, words: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command. Raises click.UsageError where one of its options has one dash alone, which
        would be as many short ones.
        """
        name, command, rest = super().resolve_command(context, words)
        long = {name for one in (command.params if command else ()) for name in one.opts}
        for word in takewhile(lambda word: word != "--", rest):
            head = word.partition("=")[0]
            if len(head) > 2 and head[1] != "-" and f"-{head}" in long:
                raise click.UsageError(f"no such option {head}: did you mean -{head}?", context)
        return name, command, rest

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section a group, then the examples."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()), col_max=12)
        with formatter.section("Examples"):
            for example in EXAMPLES:
                formatter.write_text(example)
