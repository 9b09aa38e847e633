"""CPU time of `glm5-serve --help` and `--version` beside a bare interpreter, in turn. Aim: <= 6x.

usage: bench/cli.py [RUNS]        prints minimum and median in ms, and the ratio of the medians
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "glm5-serve --version": [GLM5_SERVE, "--version"],
    "glm5-serve --help": [GLM5_SERVE, "--help"],
}


def cpu_ms(command: list[str]) -> float:
    """User and system time of one run, in ms: what the machine's other work does not change
    much.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} exited with status {process.returncode}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    # where it is set, each run compiles what it imports
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for command in COMMANDS.values():
        cpu_ms(command)  # once for the page cache and the .pyc files
    times = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            times[name].append(cpu_ms(command))
    bare = statistics.median(times["python -c pass"])
    print(f"{'CPU ms, ' + str(runs) + ' runs':24}{'min':>8}{'median':>8}{'ratio':>8}   aim")
    for name, taken in times.items():
        median = statistics.median(taken)
        aim = "<= 6" if name.startswith("glm5") else ""
        print(f"{name:24}{min(taken):8.1f}{median:8.1f}{median / bare:8.2f}   {aim}")


if __name__ == "__main__":
    main()
