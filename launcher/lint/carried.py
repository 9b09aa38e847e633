"""A command that was made of another engine's, judged as lint judges one that somebody gives it.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.formats.words import Piece, Word
from launcher.lint.lint import lint
from launcher.lint.translate import Command


def refusals(command: Command, target: Target) -> Iterator[str]:
    """What of a command is said no to on the GPUs of a target, a line each."""
    arguments = command.argv[1 + len(dialect(command.engine).program) :]
    launch = Launch(
        tuple(_word(one, command) for one in arguments),
        {name: _word(value, command) for name, value in command.env.items()},
        engine=command.engine,
    )
    at = replace(target, engine=command.engine, release=command.release)
    for entry in lint(launch, at):
        for concern in entry.concerns:
            if concern.verdict.says_no:
                when = f", {concern.when}" if concern.when else ""
                what = f"{entry.name} {entry.value}".rstrip()
                fix = f"; instead {concern.instead}" if concern.instead else ""
                yield f"{concern.verdict}{when}: {what}: {concern.why}{fix}"


def _word(text: str, command: Command) -> Word:
    """A word that its author left open is not known here either."""
    is_known = not any(one in text for one in command.outside)
    return Word((Piece(text, known=is_known),))
