"""CPU time of `doctor --json` on hosts of 1 to 16 GPUs beside a bare interpreter.

Aim: <= 25x for 8 GPUs.

usage: bench/doctor.py [RUNS]     prints minimum and median in ms of all its processes together, and the ratio of
the medians. The driver is the stand-in library of the tests: what the real one takes is not in it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from rig.nvml import scenario

ENGINE = f"engine.python={sys.executable}"  # an interpreter, and no shell script that looks for one
DOCTOR = [
    str(Path(sys.executable).with_name("glm5-serve")),
    "doctor",
    "--json",
    "-p",
    "8xpro6000",
    "--set",
    ENGINE,
]


def cpu_ms(command: list[str], environ: dict[str, str]) -> float:
    """User and system time of one run and of the processes that it waited for, in ms."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} exited with status {process.returncode}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    # where it is set, each run compiles what it imports
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as folder:
        library = scenario.library(Path(folder))
        commands = {"python -c pass": ([sys.executable, "-c", "pass"], dict(os.environ))}
        for count in (1, 8, 16):
            file = scenario.write(Path(folder) / f"host{count}", scenario.rtx_pro_6000(count))
            commands[f"doctor, {count} GPUs"] = (
                DOCTOR,
                os.environ | scenario.environ(library, file),
            )
        times: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(runs + 1):
            for name, (command, environ) in commands.items():
                taken = cpu_ms(command, environ)
                if run:  # the first warms the page cache and the .pyc files
                    times[name].append(taken)
    bare = statistics.median(times["python -c pass"])
    print(f"{'CPU ms, ' + str(runs) + ' runs':24}{'min':>8}{'median':>8}{'ratio':>8}   aim")
    for name, taken in times.items():
        median = statistics.median(taken)
        aim = "<= 25" if "8 GPUs" in name else "less than twice 8 GPUs" if "16" in name else ""
        print(f"{name:24}{min(taken):8.1f}{median:8.1f}{median / bare:8.2f}   {aim}")


if __name__ == "__main__":
    main()
