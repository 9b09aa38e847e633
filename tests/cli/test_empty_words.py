"""No option and no argument of any command takes an empty word for one that was left out: it is a
variable of the shell that is not set.
"""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from launcher.cli import every_command


def walked(command: click.Command, *words: str) -> Iterator[tuple[str, click.Command]]:
    """A command, or those of a group."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from walked(one, *words, name)
    else:
        yield " ".join(words), command


COMMANDS = dict(one for name, command in every_command().items() for one in walked(command, name))


def takes_a_word(one: click.Parameter) -> bool:
    return not (isinstance(one, click.Option) and (one.is_flag or one.count))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_empty_word_is_taken(name: str) -> None:
    command = COMMANDS[name]
    before = ["--"]
    for one in filter(takes_a_word, command.params):
        empty = [""] * max(one.nargs, 1)
        is_option = isinstance(one, click.Option)
        with pytest.raises(click.UsageError) as refused:
            command.make_context(name, [one.opts[-1], *empty] if is_option else [*before, *empty])
        before += [] if is_option else ["x"]
        assert refused.value.param is one  # type: ignore[attr-defined]
        assert not isinstance(refused.value, click.MissingParameter)


def test_what_is_left_out_is_no_empty_word() -> None:
    assert COMMANDS["events"].make_context("events", []).params["since"] == ""
    assert COMMANDS["gateway up"].make_context("up", []).params["health"] == ""
    assert COMMANDS["bench"].make_context("bench", ["--save", " "]).params["save"] == " "
