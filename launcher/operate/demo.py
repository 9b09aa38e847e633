"""The main job, start to end, on any machine: bring a real engine up on the CPU, ask it something,
take it down.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from launcher.engines.server import SILENCE, Server, unanswered
from launcher.errors import Exit, UserError
from launcher.operate import web
from launcher.operate.demo_engine import Recipe

QUESTION = "What is the capital of France?"
WITHIN = 60.0  # seconds for an answer


@dataclass(frozen=True)
class Answered:
    """What came of it: the answer, and how the server was then."""

    endpoint: str
    answer: str
    seconds: Mapping[str, float]  # of each phase of its start
    profile: str
    server_log: str


def command(recipe: Recipe, *words: str) -> list[str]:
    """A command line of this program about the demo's profile; from / it finds itself as well."""
    return [sys.executable, "-P", "-m", "launcher", *words, "--profile", recipe.profile]


def run(recipe: Recipe, *words: str, stdout: int | None = None) -> tuple[int, str]:
    """Run one command to its own end: its status, and what it printed to a pipe.

    Ctrl-C goes to the command too, which takes down what it began; raises KeyboardInterrupt once it
    has.
    """
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    # In /: `up` refuses a folder that others may write, as the current one may be.
    with subprocess.Popen(command(recipe, *words), text=True, stdout=stdout, cwd="/") as process:
        if interrupts:  # pressed before there was a process to get it
            process.send_signal(signal.SIGINT)
        printed = process.communicate()[0]
    signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
    return process.returncode, printed


def ask(recipe: Recipe) -> Answered:
    """Ask the server that is up the question. Raises UserError where it gives no answer."""
    seen = json.loads(run(recipe, "status", "--json", stdout=subprocess.PIPE)[1])
    address = urlsplit(seen["endpoint"])
    body = {
        "model": seen["model"],
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 32,
    }
    server = Server(str(address.hostname), address.port or 80)
    try:
        status, answer = web.talk(server, "POST", "/v1/chat/completions", json.dumps(body), WITHIN)
        told: Any = json.loads(answer)
        text = str(told["choices"][0]["message"]["content"]).strip()
    except SILENCE as error:
        what = f"{seen['endpoint']} gave no answer: {unanswered(error)}"
        fix = f"`glm5-serve logs --profile {recipe.profile}`"
        raise UserError(what, fix=fix, status=Exit.NO) from None
    if status != 200:
        fix = f"`glm5-serve logs --profile {recipe.profile}`"
        raise UserError(f"{seen['endpoint']} answered {status}", fix=fix, status=Exit.NO)
    return Answered(
        seen["endpoint"], text, seen["start"]["seconds"], seen["profile_path"], seen["server_log"]
    )
