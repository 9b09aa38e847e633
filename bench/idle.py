"""What supervision costs while nothing happens: glm5-serve's launcher and reaper beside supervisord.

Both run the same stand-in server (`stand_in/`) side by side, over the same seconds, with compiled modules. Memory
is RSS and PSS from smaps_rollup, the servers' own not counted. Needs supervisord: `pip install supervisor`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from cli import GLM5_SERVE, compiled
from table import show

STAND_IN = Path(__file__).parent / "stand_in"
SETTLE = 5.0  # seconds
PATIENCE = 30.0  # seconds for a start or a stop
PROFILE = """
[engine]
python = "{python}"
[flags]
model-path = "{folder}"
port = {port}
"""
CONFIG = """
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
[program:server]
command = {command}
environment = PYTHONPATH="{stand_in}"
"""


@dataclass(frozen=True)
class Cost:
    """What processes hold and took: memory in MB of 10^6 bytes, CPU in seconds."""

    rss: float
    pss: float
    cpu: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.rss + other.rss, self.pss + other.pss, self.cpu + other.cpu)

    def row(self, name: str, over: float) -> tuple[str, ...]:
        """A row of the table; `over` are the seconds in which the CPU time was taken."""
        percent = 100 * self.cpu / over
        return name, f"{self.rss:.1f} MB", f"{self.pss:.1f} MB", f"{self.cpu * 1000:.1f} ms", f"{percent:.3f} %"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


@contextlib.contextmanager
def glm5_serve(folder: Path, env: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """The stand-in under glm5-serve: the supervising processes by name."""
    profile = folder / "stand-in.toml"
    profile.write_text(PROFILE.format(python=sys.executable, folder=folder, port=free_port()))
    command = [GLM5_SERVE, "up", "--json", "-p", str(profile), "--set", f"env.PYTHONPATH={STAND_IN}"]
    env = {**env, "GLM5_SERVE_STATE_DIR": str(folder / "state")}
    with running(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)) as up:
        assert up.stdout is not None
        if not any(json.loads(line).get("state") == "ready" for line in up.stdout):
            raise SystemExit("glm5-serve up ended before it was ready")
        (reaper,) = psutil.Process(up.pid).children()
        yield {"launcher": up.pid, "reaper": reaper.pid}


@contextlib.contextmanager
def supervisord(folder: Path, env: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """The stand-in under supervisord, which is one process."""
    port = free_port()
    server = [sys.executable, "-m", "sglang.launch_server", "--model-path", str(folder), "--port", str(port)]
    config = folder / "supervisord.conf"
    config.write_text(CONFIG.format(folder=folder, command=shlex.join(server), stand_in=STAND_IN))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    with running(subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, text=True)) as supervisor:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield {"supervisord": supervisor.pid}


@contextlib.contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is stopped in the end; both supervisors take their server along."""
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(url: str) -> None:
    """Wait until an address answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer within {PATIENCE:g} s")


def memory(pid: int) -> tuple[float, float]:
    """RSS and PSS of a process in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size) for name, size, _ in map(str.split, lines)}
    return sizes["Rss:"] * 1024 / 1e6, sizes["Pss:"] * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process so far, threads that ended included.

    The clock is the one that clock_getcpuclockid(3) names: in nanoseconds, where /proc has ticks of 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


def measure(folder: Path, over: float) -> dict[str, Cost]:
    """The cost of each supervising process, both sides over the same seconds."""
    env = compiled(os.environ, str(folder / "bytecode"))
    for module in ("launcher.supervise", "supervisor.supervisord"):
        # Compiled now: a process that compiles what it imports stays larger for it.
        subprocess.run([sys.executable, "-P", "-c", f"import {module}"], env=env, check=True)
    (folder / "config.json").write_text("{}")
    with glm5_serve(folder, env) as ours, supervisord(folder, env) as theirs:
        time.sleep(SETTLE)
        pids = ours | theirs
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(over)
        return {name: Cost(*memory(pid), cpu_seconds(pid) - before[name]) for name, pid in pids.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-s", "--seconds", type=float, default=60, help="to watch (default: %(default)s)")
    over = parser.parse_args().seconds
    if importlib.util.find_spec("supervisor") is None:
        raise SystemExit(f"supervisord is missing: `{sys.executable} -m pip install supervisor`")
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(Path(folder), over)
    ours, theirs = costs["launcher"] + costs["reaper"], costs["supervisord"]
    ratios = (ours.rss / theirs.rss, ours.pss / theirs.pss, ours.cpu / theirs.cpu)
    show(
        (f"idle for {over:g} s", "RSS", "PSS", "CPU", "of a core"),
        *(cost.row(name, over) for name, cost in costs.items()),
        ours.row("launcher + reaper", over),
        ("ratio to supervisord", *(f"{ratio:.2f}x" for ratio in ratios), ""),
        ("aim", "<= 1.3x", "<= 1.3x", "<= 3x", ""),
    )


if __name__ == "__main__":
    main()
