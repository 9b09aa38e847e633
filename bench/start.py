"""A start under `up` beside the bare server, in turn, on the real SGLang (`make engine`).

Ours: from exec to the `ready` event. Bare: the same command from exec to its first 200 on
/health_generate (asked every 50 ms). Aim: <= 1.02. That endpoint sleeps a second before it answers,
so the bare server's own word that it is ready ("fired up") is compared too. And from SGLang's word
to our `ready` event. Aim: <= 0.2 s. Pairs change places, because what runs first may find a colder
cache.

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
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
FIRED_UP = "The server is fired up and ready to roll!"
GIVE_UP = 300  # seconds


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def word_in(path: Path) -> float:
    """The moment at which a log first has SGLang's own word, looking every 5 ms."""
    rest = ""
    while not path.exists():
        time.sleep(0.005)
    with path.open(errors="replace") as file:
        while FIRED_UP not in rest:
            time.sleep(0.005)
            rest = rest[-len(FIRED_UP) :] + file.read()
    return time.monotonic()


def ours(state: Path) -> tuple[float, float]:
    """Seconds from exec to the `ready` event under `up`, and of these the seconds after SGLang's
    own word.
    """
    environ = os.environ | {"GLM5_SERVE_STATE_DIR": str(state)}
    log = state / "cpu-demo" / "server.log"
    log.unlink(missing_ok=True)
    command = [GLM5_SERVE, "up", "-p", "cpu-demo", "--json", "--set", f"flags.port={free_port()}"]
    with ThreadPoolExecutor() as pool:
        word = pool.submit(word_in, log)
        began = time.monotonic()
        with subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as up:
            try:
                ready = next(
                    time.monotonic()
                    for line in up.stdout or ()
                    if json.loads(line).get("state") == "ready"
                )
                return ready - began, ready - word.result(GIVE_UP)
            finally:
                up.send_signal(signal.SIGTERM)
                up.communicate()


def bare(state: Path) -> tuple[float, float]:
    """Seconds from exec to the first 200 of the command that `render` prints, and to SGLang's own
    word.
    """
    port, log = free_port(), state / "bare.log"
    log.unlink(missing_ok=True)
    words = [GLM5_SERVE, "render", "-p", "cpu-demo", "--json", "--set", f"flags.port={port}"]
    plan = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    with ThreadPoolExecutor() as pool, log.open("wb") as output:
        word = pool.submit(word_in, log)
        began = time.monotonic()
        server = subprocess.Popen(
            [*plan["program"], *plan["arguments"]],
            env=os.environ | plan["env"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            while not healthy(port):
                if server.poll() is not None or time.monotonic() - began > GIVE_UP:
                    sys.exit("the bare server did not come up")
                time.sleep(0.05)
            return time.monotonic() - began, word.result(GIVE_UP) - began
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
    print(
        f"{'seconds':10}{'up':>9}{'bare 200':>10}{'bare word':>11}{'up/200':>9}{'up/word':>9}{'word to ready':>15}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(pairs):
            first, second = (bare, ours) if pair % 2 else (ours, bare)
            took = {run: run(Path(folder)) for run in (first, second)}
            (mine, delay), (answer, word) = took[ours], took[bare]
            rows.append((mine / answer, mine / word, delay))
            print(
                f"pair {pair + 1:<5}{mine:9.2f}{answer:10.2f}{word:11.2f}"
                f"{mine / answer:9.3f}{mine / word:9.3f}{delay:15.3f}",
                flush=True,
            )
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{'median':40}{medians[0]:9.3f}{medians[1]:9.3f}{medians[2]:15.3f}")
    print(f"{'aim':40}{'<= 1.02':>9}{'':9}{'<= 0.2':>15}")


if __name__ == "__main__":
    main()
