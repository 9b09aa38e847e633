"""The main job, start to end, on any machine: bring the real server up, ask it something, take it
down. `run.py [sglang] [vllm]`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
from engine import MODEL, Recipe, console, ensure, named

from launcher.output.events import timeline

GLM5_SERVE = Path(sys.executable).with_name("glm5-serve")
QUESTION = "What is the capital of France?"


def serve(profile: str, command: str, *options: str, stdout: int | None = None) -> tuple[int, str]:
    """Run one glm5-serve command on a profile to its own end: its status, and what it printed to a
    pipe.

    Ctrl-C goes to the command too, which takes down what it began; raises KeyboardInterrupt once it
    has.
    """
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    words = [GLM5_SERVE, command, "-p", profile, *options]
    # In /: `up` refuses a folder that others may write, as a checkout may be.
    with subprocess.Popen(words, text=True, stdout=stdout, cwd="/") as process:
        if interrupts:  # pressed before there was a process to get it
            process.send_signal(signal.SIGINT)
        printed = process.communicate()[0]
    signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt
    return process.returncode, printed


def main(recipe: Recipe) -> int:
    profile = recipe.profile
    console.print(f"[bold]engine[/]  {recipe.name} on this machine's CPU, and a tiny model")
    ensure(recipe)
    console.print(f"\n[bold]up[/]  {GLM5_SERVE.name} up --profile {profile} --detach")
    try:
        status, _ = serve(profile, "up", "--detach")
        if status:
            return status
        show(json.loads(serve(profile, "status", "--json", stdout=subprocess.PIPE)[1]), recipe)
    finally:
        console.print(f"\n[bold]down[/]  {GLM5_SERVE.name} down --profile {profile}")
        status, _ = serve(profile, "down")
    return status


def show(seen: dict[str, Any], recipe: Recipe) -> None:
    """What it answers, how long its start took, and where everything is."""
    console.print(f"\n[bold]chat[/]  POST {seen['endpoint']}/v1/chat/completions")
    console.print(f"  user       {QUESTION}")
    console.print(
        f"  assistant  {ask(seen['endpoint'], seen['model'])}", style="bold", markup=False
    )
    console.print("\n[bold]start[/]")
    for phase, seconds in timeline(seen["start"]["seconds"]):
        console.print(f"  {phase:<18} {seconds:6.1f} s")
    console.print("\n[bold]where[/]")
    for name, path in (
        ("engine", recipe.folder / "engine"),
        ("model", MODEL),
        ("profile", seen["profile_path"]),
        ("server log", seen["server_log"]),
    ):
        console.print(f"  {name:<11} {path}", soft_wrap=True)


def ask(endpoint: str, model: str) -> str:
    """The answer to the question, through the OpenAI-compatible endpoint."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 32,
    }
    answer = requests.post(f"{endpoint}/v1/chat/completions", json=body, timeout=60)
    answer.raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"]).strip()


if __name__ == "__main__":
    try:
        sys.exit(max(main(recipe) for recipe in named(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
