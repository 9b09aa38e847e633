"""The engine's interpreter: asked in a child that it runs itself, never imported."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from launcher.files import programs
from launcher.host import facts_json
from launcher.host.collectors.child import ask
from launcher.host.facts import Engine

CHILD = Path(__file__).with_name("engine_child.py")


def engine(
    python: str,
    env: Mapping[str, str],
    package: str,
    packages: Sequence[str],
    deadline: float = 60.0,
) -> Engine:
    """What an interpreter has: an engine's `package`, and the `packages` that matter beside it.

    What it does not tell in `deadline` seconds is unknown.
    """
    try:
        path = programs.find(python, env)
    except programs.NoProgramError as error:
        return blind(f"the engine's interpreter {error}")
    try:
        # The program comes by its text: run as a file, its folder would come before the engine's
        # own packages.
        answer = ask([path, "-c", CHILD.read_text(), package, *packages], deadline, env)
    except (OSError, ValueError) as error:
        return blind(
            f"{path} cannot be executed: {(getattr(error, 'strerror', None) or str(error)).lower()}"
        )
    if (told := _told(answer.said)) is not None:
        return _blind({**told, "python": path}, f"{path} did not say")
    if not answer.in_time:
        return blind(f"{path} did not answer within {deadline:g} s")
    return blind(f"{path} is not a working python: it said {answer.last_line()}")


def blind(why: str) -> Engine:
    """An engine of which nothing is known, for one reason."""
    return _blind({}, why)


def _told(said: bytes) -> dict[str, Any] | None:
    """The child's line: start-up hooks and warnings may come before and after it."""
    for line in said.decode(errors="replace").split("\n"):
        if line.startswith('{"python_version": '):
            with contextlib.suppress(ValueError, RecursionError):
                told = json.loads(line)
                return told if isinstance(told, dict) else None
    return None


def _blind(told: Mapping[str, Any], why: str) -> Engine:
    """The facts that were told, the others unknown for one reason."""
    facts = {part.name: told.get(part.name, {"unknown": why}) for part in fields(Engine)}
    made = facts_json.record(Engine, facts)
    assert isinstance(made, Engine)
    return made
