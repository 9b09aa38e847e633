"""What supervision costs a start: exec to ready under `glm5-serve up`, beside the bare server from the same plan.

The bare server runs the argv and environment that `render` prints, and is ready at its first 200 on
/health_generate, asked every 50 ms. SGLang sleeps a second in that answer, so the moment of its own readiness
line is taken too, in both runs, from the log as it stands on disk. The two take turns; nothing is left running.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO

from table import show

from launcher.startlog import READY

GLM5_SERVE = Path(sys.executable).with_name("glm5-serve")
PROFILE = "cpu-demo"
LOOK_EVERY, ASK_EVERY = 0.005, 0.05  # seconds between looks at the log, and between questions to the bare server
PATIENCE = 60.0  # seconds for a stop, before SIGKILL


@dataclass(frozen=True)
class Start:
    """Seconds from exec to SGLang's own readiness line, and to the moment that an operator has it ready."""

    line: float
    ready: float

    @property
    def after(self) -> float:
        """From the line to ready."""
        return self.ready - self.line


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def words(command: str, port: int) -> list[str]:
    """A glm5-serve command on the demo's profile."""
    return [str(GLM5_SERVE), command, "-p", PROFILE, "--set", f"flags.port={port}", "--json"]


def line_at(log: Path, process: subprocess.Popen[str]) -> float:
    """The moment at which SGLang's readiness line stands in the log."""
    seen, offset = b"", 0
    while READY.encode() not in seen:
        if process.poll() is not None:
            raise SystemExit(f"{log}: the server ended before it was ready")
        time.sleep(LOOK_EVERY)
        with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
            file.seek(offset)
            piece = file.read()
            seen, offset = seen[-len(READY) :] + piece, offset + len(piece)
    return time.monotonic()


def said_ready(events: IO[str]) -> float:
    """The moment at which `up --json` says ready."""
    for line in events:
        event = json.loads(line)
        if event["event"] == "state" and event["state"] == "ready":
            return time.monotonic()
    raise SystemExit("glm5-serve up ended before it was ready")


def answers(port: int, process: subprocess.Popen[str]) -> float:
    """The moment of the first 200 on /health_generate."""
    while process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/health_generate")
            if connection.getresponse().status == 200:
                return time.monotonic()
        time.sleep(ASK_EVERY)
    raise SystemExit("the bare server ended before it was ready")


def supervised(folder: Path) -> Start:
    """One start under glm5-serve."""
    env = {**os.environ, "GLM5_SERVE_STATE_DIR": str(folder)}
    command = words("up", free_port())
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        up = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        try:
            line = pool.submit(line_at, folder / PROFILE / "server.log", up)
            assert up.stdout is not None
            ready = said_ready(up.stdout)
            return Start(line.result() - began, ready - began)
        finally:
            stop(up, up.send_signal)


def bare(folder: Path) -> Start:
    """One start of the very same command without glm5-serve."""
    port = free_port()
    plan = json.loads(subprocess.run(words("render", port), check=True, capture_output=True, text=True).stdout)
    env = {name: value for name, value in os.environ.items() if not name.startswith("GLM5_SERVE")} | plan["env"]
    log = folder / "server.log"
    with ThreadPoolExecutor(1) as pool, log.open("w") as sink:
        began = time.monotonic()
        server = subprocess.Popen(
            plan["argv"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            text=True,
            start_new_session=True,
        )
        try:
            line = pool.submit(line_at, log, server)
            ready = answers(port, server)
            return Start(line.result() - began, ready - began)
        finally:
            stop(server, lambda number: os.killpg(server.pid, number))


def stop(process: subprocess.Popen[str], send: Callable[[signal.Signals], None]) -> None:
    """SIGTERM, patience, SIGKILL: the last one always, for what the first process leaves in its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            send(number)
            process.wait(PATIENCE)
    if process.stdout is not None:
        process.stdout.close()


def measure(pairs: int) -> tuple[list[Start], list[Start]]:
    """Starts under glm5-serve and bare ones, in turn."""
    with_us: list[Start] = []
    without: list[Start] = []
    for number in range(1, pairs + 1):
        for start, taken in ((supervised, with_us), (bare, without)):
            print(f"pair {number} of {pairs}: {start.__name__}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                taken.append(start(Path(folder)))
    return with_us, without


def main() -> None:
    """Measure and print; a ratio stands under min for the ratio of minima, under median for that of medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", "--pairs", type=int, default=3, help="of starts (default: %(default)s)")
    with_us, without = measure(parser.parse_args().pairs)
    ours, theirs = [start.ready for start in with_us], [start.ready for start in without]
    our_lines, their_lines = [start.line for start in with_us], [start.line for start in without]
    after = [start.after for start in with_us]
    show(
        ("from exec", "min", "median", "aim"),
        seconds("up, to its ready event", ours),
        seconds("up, to SGLang's own line", our_lines),
        seconds("bare, to the first 200 on /health_generate", theirs),
        seconds("bare, to SGLang's own line", their_lines),
        ratio("up ready / bare 200", ours, theirs, "<= 1.02"),
        ratio("up's line / bare's line", our_lines, their_lines, ""),
        ratio("up ready / bare's line", ours, their_lines, ""),
        ("up, from SGLang's own line to ready", f"{min(after):.3f} s", f"{median(after):.3f} s", "<= 0.2 s"),
    )


def seconds(name: str, taken: list[float]) -> tuple[str, ...]:
    """A row of times."""
    return name, f"{min(taken):.2f} s", f"{median(taken):.2f} s", ""


def ratio(name: str, ours: list[float], theirs: list[float], aim: str) -> tuple[str, ...]:
    """A row of ratios."""
    return name, f"{min(ours) / min(theirs):.3f}", f"{median(ours) / median(theirs):.3f}", aim


if __name__ == "__main__":
    main()
