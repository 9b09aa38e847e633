"""The demo as it goes on: what is made, what is asked, what is answered, where everything is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from launcher.operate import demo
from launcher.operate.demo_engine import Recipe, ensure, model
from launcher.output import nextstep
from launcher.output.console import beside, console, words
from launcher.output.events import timeline
from launcher.output.terminal import is_drawn_on, restored

EVERY = 0.2  # seconds between two looks at a step
STEPS = ("Collecting", "Downloading", "Installing", "Using cached")
TAIL = 4096  # bytes of a log, to find its last step


class Screen:
    """Steps as lines, the present one moving where that can be drawn."""

    def __init__(self, stream: TextIO) -> None:
        self.console = console(stream)

    def head(self, name: str, text: str) -> None:
        """A part of the demo begins."""
        self.console.print()
        self.console.print(words((name, "bold"), f"  {text}"))

    def note(self, text: str) -> None:
        """A sentence."""
        self.console.print(words(f"  {text}"))

    def row(self, name: str, text: str, style: str = "") -> None:
        """A name and what it is."""
        beside(self.console, (name, ""), 18, (text, style))

    def wait(self, what: str, process: subprocess.Popen[bytes], log: Path) -> None:
        """Show that a step goes on, until its process has ended."""
        if not is_drawn_on(self.console.file):
            self.console.print(words(f"  … {what}"))
            process.wait()
            return
        began, earlier = time.monotonic(), log.stat().st_size
        with self.console.status(words(what)) as status:
            while process.poll() is None:
                time.sleep(EVERY)
                took = f"{what}  {time.monotonic() - began:.0f} s  "
                step = _last_step(log, earlier)[: max(20, self.console.width - 60)]
                status.update(words(took, (step, "dim")))

    def done(self, what: str, seconds: float) -> None:
        """A step that is over."""
        self.console.print(words("  ", ("✓", "green"), f" {what:<36} {seconds:6.1f} s"))


def _last_step(log: Path, earlier: int) -> str:
    """What pip, or whoever writes this log, does now; "" where it does not say."""
    with log.open("rb") as file:
        file.seek(max(earlier, log.stat().st_size - TAIL))
        lines = file.read().decode(errors="replace").splitlines()
    steps = [line.strip() for line in lines if line.strip().startswith(STEPS)]
    return steps[-1] if steps else ""


def prepare(recipe: Recipe, stream: TextIO) -> None:
    """Make the engine and the model of one. Raises UserError."""
    screen = Screen(stream)
    screen.head("engine", f"{recipe.name} {recipe.release} on this machine's CPU, and a tiny model")
    with restored():
        ensure(recipe, screen)


def tour(recipe: Recipe, environ: Mapping[str, str], *, as_json: bool) -> int:
    """The main job, start to end; the status of the command that failed, 0 if none did.

    Raises UserError, and KeyboardInterrupt once what it began is down.
    """
    stream = sys.stderr if as_json else sys.stdout
    prepare(recipe, stream)
    screen, answered = Screen(stream), None
    screen.head("up", f"glm5-serve up --profile {recipe.profile} --detach")
    is_ours = True
    try:
        status, _ = demo.run(recipe, "up", "--detach")
        if status:
            is_ours = False  # it said why; what is up may be somebody's
            return status
        answered = demo.ask(recipe)
        _show(answered, recipe, screen, environ)
    finally:
        if is_ours:
            screen.head("down", f"glm5-serve down --profile {recipe.profile}")
            status, said = demo.run(recipe, "down", stdout=subprocess.PIPE)
            screen.note(said.strip())
    if as_json:
        told = {"schema": 1, "engine": recipe.key, "release": recipe.release}
        print(json.dumps(told | asdict(answered)))
    else:
        nextstep.tell(
            (f"up {recipe.profile}", "the same, and it stays up"),
            ("doctor", "what would hang, crash or slow a model here"),
            ("init", "a profile of your own"),
            always=True,
        )
    return status


def _show(
    answered: demo.Answered, recipe: Recipe, screen: Screen, environ: Mapping[str, str]
) -> None:
    """What it answers, how long its start took, and where everything is."""
    screen.head("chat", f"POST {answered.endpoint}/v1/chat/completions")
    screen.row("user", demo.QUESTION)
    screen.row("assistant", answered.answer, "bold")
    screen.head("start", "")
    for phase, seconds in timeline(answered.seconds):
        screen.row(phase, f"{seconds:6.1f} s")
    screen.head("where", "")
    screen.row("engine", str(recipe.engine))
    screen.row("model", str(model(environ)))
    screen.row("profile", answered.profile)
    screen.row("server log", answered.server_log)
