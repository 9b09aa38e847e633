"""The engine's interpreter: asked in a child that it runs itself, never imported."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from launcher import factfile
from launcher.facts import Engine

CHILD = Path(__file__).with_name("engine_child.py")


def engine(python: str, env: Mapping[str, str], deadline: float = 60.0) -> Engine:
    """What the interpreter that would run SGLang has; what it does not tell in `deadline` seconds is unknown."""
    path = shutil.which(python, path=env.get("PATH", os.defpath))
    if path is None:
        return _blind({}, f"the engine's interpreter {python} is missing or cannot be executed")
    try:
        child = subprocess.Popen(
            # The program comes by its text: run as a file, its folder would come before the engine's own packages.
            [path, "-c", CHILD.read_text()],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return _blind({}, f"{path} cannot be executed: {(error.strerror or str(error)).lower()}")
    try:
        said, errors = child.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        _kill(child)
        return _blind({}, f"{path} did not answer within {deadline:g} s")
    told = _last_json(said)
    if told is None:
        lines = errors.decode(errors="replace").strip().splitlines() or ["nothing"]
        return _blind({}, f"{path} is no working python: it said {lines[-1]}")
    return _blind({"python": path, **told}, f"{path} did not say")


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.communicate(timeout=1.0)  # a process in the kernel's hands may not end: go on without it


def _last_json(said: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(said.decode(errors="replace").strip().rpartition("\n")[2])
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _blind(told: Mapping[str, Any], why: str) -> Engine:
    """The facts that were told, the others unknown for one reason."""
    facts = {part.name: told.get(part.name, {"unknown": why}) for part in fields(Engine)}
    made = factfile.record(Engine, facts)
    assert isinstance(made, Engine)
    return made
