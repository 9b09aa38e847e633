"""A start under `up` beside the bare server, in turn, on the real SGLang or vLLM (`make engine`).

Ours: from exec to the `ready` event, the questions of the smoke test included. Bare: the same
command from exec to the first token that is asked for (every 50 ms), and to its own word that it is
ready. Aim: <= 1.02 of the token. And from its word to our `ready` event. Aim: <= 0.2 s. Pairs change
places, because what runs first may find a colder cache; the interval is that of the ratios' medians
over resampled pairs (bootstrap, 95 %).

usage: [ENGINE=vllm] bench/start.py [PAIRS]
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engines import OF, TOKENS, tokens

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
GIVE_UP = 300  # seconds
RESAMPLED = 2000


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def word_in(path: Path) -> float:
    """The moment at which a log first has the server's own word, looking every 5 ms."""
    rest = ""
    while not path.exists():
        time.sleep(0.005)
    with path.open(errors="replace") as file:
        while OF.word not in rest:
            time.sleep(0.005)
            rest = rest[-len(OF.word) :] + file.read()
    return time.monotonic()


def ours(state: Path) -> tuple[float, float]:
    """Seconds from exec to the `ready` event under `up`, and of these the seconds after SGLang's
    own word.
    """
    environ = os.environ | {"GLM5_SERVE_STATE_DIR": str(state)}
    log = state / OF.profile / "server.log"
    log.unlink(missing_ok=True)
    command = [GLM5_SERVE, "up", "-p", OF.profile, "--json", "--set", f"flags.port={free_port()}"]
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
    words = [GLM5_SERVE, "render", "-p", OF.profile, "--json", "--set", f"flags.port={port}"]
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
        connection.request(
            "POST", TOKENS, json.dumps(tokens(1)), {"Content-Type": "application/json"}
        )
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def interval(ratios: list[float]) -> tuple[float, float]:
    """Where 95 % of the medians of resampled pairs lie."""
    dice = random.Random(1)
    medians = sorted(
        statistics.median(dice.choices(ratios, k=len(ratios))) for _ in range(RESAMPLED)
    )
    return medians[RESAMPLED // 40], medians[-RESAMPLED // 40]


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(
        f"{'seconds':10}{'up':>9}{'bare token':>10}{'bare word':>11}{'up/token':>9}{'up/word':>9}{'word to ready':>15}"
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
    low, high = interval([row[0] for row in rows])
    print(f"{'95 % of medians':40}{f'{low:.3f} to {high:.3f}':>20}")
    print(f"{'aim':40}{'<= 1.02':>9}{'':9}{'<= 0.2':>15}")


if __name__ == "__main__":
    main()
