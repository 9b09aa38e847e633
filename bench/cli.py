"""CPU time of the commands beside a bare interpreter, in turn, on a host where nothing is up. Aim: `--help` and
`--version` <= 6x.

usage: bench/cli.py [RUNS]        prints minimum and median in ms, and the ratio of the medians; 0: of one round, in
which files are read for the first time
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
BARE = "python -c pass"
AIM = {"--version": 6, "--help": 6}
# Those that look and end by themselves; 1 is their "no".
WORDS = (
    *AIM,
    *("status", "logs", "events", "top --once --interval 0.2"),
    *("profiles", "render -p 8xpro6000", "render -p 8xpro6000 --explain", "diff 8xpro6000 8xb200"),
    *("fit -p 8xpro6000", "lint launch.sh", "diagnose server.log", "checks", "metrics"),
    *("doctor -p 8xpro6000", "facts"),
)
TEXTS = {
    "launch.sh": "python -m sglang.launch_server --model-path nvidia/GLM-5-NVFP4 --tp-size 8\n",
    "server.log": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n",
}


def cpu_ms(command: list[str], environ: Mapping[str, str], folder: str) -> float:
    """User and system time of one run with its children, in ms: what the machine's other work
    does not change much.
    """
    quiet = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    process = subprocess.Popen(command, env=dict(environ), cwd=folder, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(command)} exited with status {process.returncode}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    commands = {BARE: [sys.executable, "-c", "pass"]}
    commands |= {words: [GLM5_SERVE, *words.split()] for words in WORDS}
    times: dict[str, list[float]] = {name: [] for name in commands}
    with TemporaryDirectory() as folder:
        for name, text in TEXTS.items():
            (Path(folder) / name).write_text(text)
        environ = os.environ | {"HOME": folder, "GLM5_SERVE_STATE_DIR": f"{folder}/state"}
        # where it is set, each run compiles what it imports
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        for at in range(runs + 1):
            for name, command in commands.items():
                taken = cpu_ms(command, environ, folder)
                # first once for the page cache and .pyc files
                times[name] += [taken] if at or not runs else []
    bare = statistics.median(times[BARE])
    print(f"{'CPU ms, ' + str(runs) + ' runs':32}{'min':>8}{'median':>8}{'ratio':>8}   aim")
    for name, taken in times.items():
        median = statistics.median(taken)
        aim = f"<= {AIM[name]}" if name in AIM else ""
        print(f"{name:32}{min(taken):8.1f}{median:8.1f}{median / bare:8.2f}   {aim}")


if __name__ == "__main__":
    main()
