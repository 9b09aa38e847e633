"""The engine's interpreter: asked in a child that it runs itself, never imported."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from launcher.files import programs
from launcher.host import facts_json
from launcher.host.collectors.child import Answer, asking
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
    with engine_asked(python, env, package, packages, deadline) as answer:
        return answer()


@contextlib.contextmanager
def engine_asked(
    python: str,
    env: Mapping[str, str],
    package: str,
    packages: Sequence[str],
    deadline: float = 60.0,
) -> Iterator[Callable[[], Engine]]:
    """The same, asked while something else is done: called once, it waits for the answer."""
    with contextlib.ExitStack() as stack:
        try:
            path = programs.find_python(python, env)
            # The program comes by its text: run as a file, its folder would come before the
            # engine's own packages.
            command = [path, "-c", CHILD.read_text(), package, *packages]
            answer = stack.enter_context(asking(command, deadline, env))
        except programs.NoProgramError as error:
            told: Callable[[], Engine] = partial(blind, f"the engine's interpreter {error}")
        except (OSError, ValueError) as error:
            why = (getattr(error, "strerror", None) or str(error)).lower()
            told = partial(blind, f"{path} cannot be executed: {why}")
        else:
            told = lambda: _heard(path, answer(), deadline)
        yield told


def _heard(path: str, answer: Answer, deadline: float) -> Engine:
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
