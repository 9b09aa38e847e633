"""What supervising costs while nothing happens: launcher and reaper beside supervisord, both over
the same server.

Both run at the same time for SECONDS; the server itself, a stand-in that costs nothing, is not
counted. RSS counts pages that processes share for each of them, PSS divides them. Aims: memory <=
1.3x, CPU <= 3x.

usage: bench/idle.py [SECONDS]
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
STAND_IN = Path(__file__).parents[1] / "tests/rig/stub"
SETTLE, READY = 5, 120  # seconds
MODEL = {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
    "a.safetensors": b"\2" + bytes(7) + b"{}",
}


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def memory_kib(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {
        kind: int(re.search(rf"^{kind}: +(\d+)", text, re.MULTILINE)[1]) for kind in ("Rss", "Pss")
    }


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, ended threads included, to the nanosecond (the id is
    clock_getcpuclockid(3)'s).

    /proc/PID/stat counts ticks of 10 ms, which is all that happens here in a minute.
    """
    return time.clock_gettime((~pid << 3) | 2)


def start_ours(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """`up` in the foreground, its output in a file as under a service manager; launcher and
    reaper.
    """
    for name, data in MODEL.items():
        (folder / name).write_bytes(data)
    profile = folder / "idle.toml"
    profile.write_text(
        f'[engine]\npython = "{sys.executable}"\n[flags]\nmodel-path = "{folder}"\ndevice = "cpu"'
        f'\nport = {free_port()}\n[env]\nPYTHONPATH = "{STAND_IN}"\n'
    )
    environ = os.environ | {"GLM5_SERVE_STATE_DIR": str(folder / "state")}
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [GLM5_SERVE, "up", "-p", profile], env=environ, stdout=log, stderr=log
        )
    try:
        _until_ready(up, environ, profile)
        reaper = Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()
    except BaseException:
        up.terminate()
        up.wait()
        raise
    return up, [up.pid, *map(int, reaper)]


def _until_ready(up: subprocess.Popen[bytes], environ: dict[str, str], profile: Path) -> None:
    """Until its server is ready; before it has a state there is nothing to be read of it."""
    asked = [GLM5_SERVE, "status", "-p", profile, "--json"]
    end = time.monotonic() + READY
    while time.monotonic() < end and up.poll() is None:
        said = subprocess.run(asked, env=environ, capture_output=True, text=True, check=False)
        if said.stdout and json.loads(said.stdout)["state"] == "ready":
            return
        time.sleep(0.2)
    sys.exit(f"its server is not ready: {(profile.parent / 'up.log').read_text()[-2000:]}")


def start_supervisord(folder: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """supervisord over the same command, with nothing else configured."""
    config = folder / "supervisord.conf"
    root = "user=root\n" if os.geteuid() == 0 else ""
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/supervisord.log\npidfile={folder}/pid\n{root}"
        f"[program:server]\ncommand={sys.executable} -m sglang.launch_server --port {free_port()}\n"
        f'environment=PYTHONPATH="{STAND_IN}"\n'
    )
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, [process.pid]


def main() -> None:
    if importlib.util.find_spec("supervisor") is None:
        sys.exit("supervisord is missing: pip install supervisor")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as name:
        running = {
            "glm5-serve": start_ours(Path(name)),
            "supervisord": start_supervisord(Path(name)),
        }
        try:
            time.sleep(SETTLE)
            before = {who: sum(map(cpu_seconds, pids)) for who, (_, pids) in running.items()}
            time.sleep(seconds)
            figures = {
                who: [
                    sum(memory_kib(pid)["Rss"] for pid in pids) / 1024,
                    sum(memory_kib(pid)["Pss"] for pid in pids) / 1024,
                    100 * (sum(map(cpu_seconds, pids)) - before[who]) / seconds,
                ]
                for who, (_, pids) in running.items()
            }
        finally:
            for process, _ in running.values():
                process.send_signal(signal.SIGTERM)
            for process, _ in running.values():
                process.wait()
    print(f"{f'idle for {seconds:g} s':16}{'RSS MiB':>10}{'PSS MiB':>10}{'CPU %':>10}")
    for who, row in figures.items():
        print(f"{who:16}{row[0]:10.1f}{row[1]:10.1f}{row[2]:10.3f}")
    ratios = [a / b if b else float("nan") for a, b in zip(*figures.values(), strict=True)]
    print(f"{'ratio':16}" + "".join(f"{ratio:10.2f}" for ratio in ratios))
    print(f"{'aim':16}{'<= 1.3':>10}{'<= 1.3':>10}{'<= 3':>10}")


if __name__ == "__main__":
    main()
