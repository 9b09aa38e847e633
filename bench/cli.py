"""What the command line costs: CPU time of `glm5-serve --help` and `--version` beside `python -c pass`.

CPU time is user + system of the child as wait4 tells it, not wall time, so a busy machine disturbs it little.
The commands take turns, all with this interpreter, all with compiled modules, as pip would have left them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from table import show

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "glm5-serve --help": [GLM5_SERVE, "--help"],
    "glm5-serve --version": [GLM5_SERVE, "--version"],
}
AIM = "<= 6x"


def compiled(environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """An environment in which modules are compiled once, to `folder`, whatever the caller's says."""
    kept = {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": folder}


def cpu_seconds(command: list[str], env: Mapping[str, str]) -> float:
    """Run a command, its output to nowhere; the CPU time it took."""
    to_nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
    pid = os.posix_spawn(command[0], command, env, file_actions=[to_nowhere])
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exited with status {os.waitstatus_to_exitcode(status)}, wanted 0")
    return usage.ru_utime + usage.ru_stime


def measure(runs: int) -> dict[str, list[float]]:
    """The CPU seconds of every run of every command."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        env = compiled(os.environ, folder)
        for command in COMMANDS.values():
            cpu_seconds(command, env)  # compiles what it imports
        for _ in range(runs):
            for name, command in COMMANDS.items():
                taken[name].append(cpu_seconds(command, env))
    return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", "--runs", type=int, default=15, help="of each command (default: %(default)s)")
    taken = measure(parser.parse_args().runs)
    base, *_ = (median(seconds) for seconds in taken.values())
    rows = [("CPU time", "min", "median", "ratio", "aim")]
    for name, seconds in taken.items():
        beside = ("", "") if name not in list(COMMANDS)[1:] else (f"{median(seconds) / base:.2f}x", AIM)
        rows.append((name, f"{min(seconds) * 1000:.1f} ms", f"{median(seconds) * 1000:.1f} ms", *beside))
    show(*rows)


if __name__ == "__main__":
    main()
