"""The keys and tokens of a launch. Pure."""

from __future__ import annotations

import re

from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.formats.launches import Launch
from launcher.redact.expansions import literals
from launcher.redact.secrets import SECRET_VARIABLE


def secrets(launch: Launch, target: Target) -> tuple[str, ...]:
    """The keys and tokens in a launch, which nobody is to be shown."""
    options = {_letters(name) for name in dialect(target.engine).secrets}
    given = (
        value
        for one in launch.given(target.known)
        if {_letters(one.word.partition("=")[0]), _letters(one.name)} & options
        or ((one.option is None or "." in one.word) and SECRET_VARIABLE.search(_member(one.word)))
        for value in (*one.values, one.word.partition("=")[2])
    )
    variables = (
        word.value for name, word in launch.variables.items() if SECRET_VARIABLE.search(name)
    )
    unexported = (text for name, text in launch.hidden.items() if SECRET_VARIABLE.search(name))
    shown = {piece.text for word in launch.arguments for piece in word.pieces if not piece.known}
    found = {
        value
        for text in (*given, *variables, *unexported)
        for value in literals(text)
        if not (value in shown and value.isidentifier())
    }
    return tuple(sorted(found, key=len, reverse=True))


def _member(word: str) -> str:
    """The last name of an option, as a variable has it: `--kv-transfer-config.extra.api-key=x` is
    api_key.
    """
    return word.partition("=")[0].rpartition(".")[2].strip("-").replace("-", "_")


def _letters(name: str) -> str:
    """A name however somebody spells it: `--api_key` is `--api-key`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
