"""What `up` itself takes, from its exec to that of the server, beside a bare interpreter, in turn.
Aim: <= 50x.

usage: bench/own.py [RUNS]        prints minimum and median in ms, and the ratio of the minima: other work on the
machine makes a start longer, and none shorter. The engine is the stand-in of the tests, behind a script that
notes when it is started to serve; it has no GPU to ask for.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
STUB = Path(__file__).parents[1] / "tests/rig/stub"
PROFILE = """description = "the stand-in engine"
[engine]
python = "{folder}/bin/python"
[flags]
model-path = "{folder}/model"
device = "cpu"
port = {port}
[env]
PYTHONPATH = "{stub}"
"""
PYTHON = """#!/bin/sh
if [ "$1" != -c ]; then date +%s%N > {folder}/new && mv {folder}/new {folder}/served; fi
exec {python} "$@"
"""


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def prepare(folder: Path) -> None:
    """A profile of the stand-in, with a checkpoint of no size."""
    folder.chmod(0o700)
    (folder / "model").mkdir()
    for name, data in {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "a.safetensors": b"\2" + bytes(7) + b"{}",
    }.items():
        (folder / "model" / name).write_bytes(data)
    (python := folder / "bin/python").parent.mkdir()
    python.write_text(PYTHON.format(folder=folder, python=sys.executable))
    python.chmod(0o755)
    (folder / "stub.toml").write_text(PROFILE.format(folder=folder, stub=STUB, port=free_port()))


def own_ms(folder: Path) -> float:
    """One `up`, ended as soon as it has started the server."""
    served = folder / "served"
    served.unlink(missing_ok=True)
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("GLM5_SERVE")
    }
    state = tempfile.mkdtemp(dir=folder)  # a new one, where nothing of the last run is waited for
    environ |= {"GLM5_SERVE_STATE_DIR": state, "HOME": str(folder)}
    began = time.time()
    with subprocess.Popen(
        [GLM5_SERVE, "up", "-p", "./stub.toml"],
        env=environ,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as up:
        while not served.exists():
            if up.poll() is not None:
                sys.exit(f"up ended with status {up.returncode} before it had started a server")
            time.sleep(0.002)
        up.terminate()
    return int(served.read_text()) / 1e6 - began * 1000


def bare_ms() -> float:
    began = time.time()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.time() - began) * 1000


def main() -> None:
    # where it is set, each run compiles what it imports
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        own_ms(folder)  # once for the page cache and the .pyc files
        pairs = [(bare_ms(), own_ms(folder)) for _ in range(runs)]
    columns = dict(
        zip(("python -c pass", "up to its server"), zip(*pairs, strict=True), strict=True)
    )
    bare = min(columns["python -c pass"])
    print(f"{'ms, ' + str(runs) + ' runs':24}{'min':>8}{'median':>8}{'ratio':>8}   aim")
    for label, taken in columns.items():
        median = statistics.median(taken)
        aim = "<= 50" if label.startswith("up") else ""
        print(f"{label:24}{min(taken):8.1f}{median:8.1f}{min(taken) / bare:8.2f}   {aim}")


if __name__ == "__main__":
    main()
