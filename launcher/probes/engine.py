"""The engine's interpreter: asked in a child that it runs itself, never imported."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from launcher import factfile
from launcher.facts import Engine

CHILD = Path(__file__).with_name("engine_child.py")
MOST_SAID = 1 << 20  # bytes; an answer has some ten thousand


def engine(python: str, env: Mapping[str, str], deadline: float = 60.0) -> Engine:
    """What the interpreter that would run SGLang has; what it does not tell in `deadline` seconds is unknown."""
    found = shutil.which(python, path=env.get("PATH", os.defpath))
    if found is None:
        return _blind({}, f"the engine's interpreter {python} is missing or cannot be executed")
    path = os.path.abspath(found)  # noqa: PTH100  links stay: a virtual environment's python is one
    try:
        said, in_time = _ask(path, env, deadline)
    except (OSError, ValueError) as error:
        return _blind({}, f"{path} cannot be executed: {(getattr(error, 'strerror', None) or str(error)).lower()}")
    if (told := _answer(said)) is not None:
        return _blind({**told, "python": path}, f"{path} did not say")
    if not in_time:
        return _blind({}, f"{path} did not answer within {deadline:g} s")
    lines = said.decode(errors="replace").strip().splitlines() or ["nothing"]
    return _blind({}, f"{path} is no working python: it said {lines[-1][:200]}")


def _ask(path: str, env: Mapping[str, str], deadline: float) -> tuple[bytes, bool]:
    child = subprocess.Popen(
        # The program comes by its text: run as a file, its folder would come before the engine's own packages.
        [path, "-c", CHILD.read_text()],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout is not None
    with child.stdout as stream:
        said, in_time = _read(stream, deadline)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1.0)  # a process in the kernel's hands may not end: go on without it
    return said, in_time


def _read(stream: IO[bytes], deadline: float) -> tuple[bytes, bool]:
    """What the stream says until its end or too much, and whether that came in time."""
    end = time.monotonic() + deadline
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(0.0, end - time.monotonic())):
            piece = os.read(stream.fileno(), 65536)
            said += piece
            if not piece or len(said) > MOST_SAID:
                return said, True
    return said, False


def _answer(said: bytes) -> dict[str, Any] | None:
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
    made = factfile.record(Engine, facts)
    assert isinstance(made, Engine)
    return made
