"""A start under `up` beside the bare server, in turn, on the real SGLang (`make engine`).

Ours: from exec to the `ready` event. Bare: the same command from exec to its first 200 on /health_generate (asked
every 50 ms). Aim: <= 1.02. And from SGLang's own word that it is ready to our `ready` event. Aim: <= 0.2 s. Pairs
change places, because what runs first may find a colder cache.

usage: bench/start.py [PAIRS]
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
FIRED_UP = "The server is fired up and ready to roll!"
GIVE_UP = 300  # seconds


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def first_line_with(path: Path, text: str, seen: list[float]) -> None:
    """Note the moment at which a file first has a text, looking every 5 ms."""
    while not (path.exists() and text in path.read_text(errors="replace")):
        time.sleep(0.005)
    seen.append(time.monotonic())


def ours(state: str) -> tuple[float, float]:
    """Seconds to ready under `up`, and of these the seconds after SGLang's own word."""
    environ = os.environ | {"GLM5_SERVE_STATE_DIR": state}
    fired_up: list[float] = []
    log = Path(state, "cpu-demo", "server.log")
    log.unlink(missing_ok=True)
    threading.Thread(target=first_line_with, args=(log, FIRED_UP, fired_up), daemon=True).start()
    began = time.monotonic()
    command = [GLM5_SERVE, "up", "-p", "cpu-demo", "--json", "--set", f"flags.port={free_port()}"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as up:
        try:
            for line in up.stdout or ():
                event = json.loads(line)
                if event["event"] == "state" and event["state"] == "ready":
                    ready = time.monotonic()
                    time.sleep(0.1)
                    return ready - began, ready - fired_up[0]
            sys.exit("`up` ended before it was ready")
        finally:
            up.send_signal(signal.SIGTERM)
            up.communicate()


def bare() -> float:
    """Seconds to the first 200 on /health_generate of the command that `render` prints."""
    port = free_port()
    rendered = subprocess.run(
        [GLM5_SERVE, "render", "-p", "cpu-demo", "--json", "--set", f"flags.port={port}"],
        check=True,
        capture_output=True,
    )
    plan = json.loads(rendered.stdout)
    began = time.monotonic()
    server = subprocess.Popen(
        plan["argv"],
        env=os.environ | plan["env"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not healthy(port):
            if server.poll() is not None or time.monotonic() - began > GIVE_UP:
                sys.exit("the bare server did not come up")
            time.sleep(0.05)
        return time.monotonic() - began
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/health_generate")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"{'seconds':10}{'up':>8}{'bare':>8}{'ratio':>8}{'word to ready':>16}")
    ratios, delays = [], []
    with tempfile.TemporaryDirectory() as state:
        for pair in range(pairs):
            if pair % 2:
                theirs = bare()
            mine, delay = ours(state)
            if not pair % 2:
                theirs = bare()
            ratios.append(mine / theirs)
            delays.append(delay)
            print(f"pair {pair + 1:<5}{mine:8.2f}{theirs:8.2f}{ratios[-1]:8.3f}{delay:16.3f}", flush=True)
    print(f"{'median':10}{'':16}{statistics.median(ratios):8.3f}{statistics.median(delays):16.3f}")
    print(f"{'aim':10}{'':16}{'<= 1.02':>8}{'<= 0.2':>16}")


if __name__ == "__main__":
    main()
