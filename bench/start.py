"""A start under `up` beside the bare server, in turn, on the real SGLang or vLLM (`make engine`).

Ours: from exec to the first token, which is where the smoke test begins, and to the `ready` event,
when its questions are answered. Bare: the same command from exec to the first token that is asked
for (every 50 ms), and to its own word that it is ready. Aim: first token to first token <= 1.02.
And from the server's word to our first token, and to our `ready`. Pairs change places, because what
runs first may find a colder cache; the interval is that of the ratios' medians over resampled pairs
(bootstrap, 95 %).

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


def ours(state: Path) -> tuple[float, float, float]:
    """Seconds from exec under `up` to the first token, to the `ready` event, and to the server's
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
                told = ((json.loads(line), time.monotonic() - began) for line in up.stdout or ())
                token = next(at for event, at in told if event.get("phase") == "smoke")
                ready = next(at for event, at in told if event.get("state") == "ready")
                return token, ready, word.result(GIVE_UP) - began
            finally:
                up.send_signal(signal.SIGTERM)
                up.communicate()


def bare(state: Path) -> tuple[float, float]:
    """Seconds from exec to the first 200 of the command that `render` prints, and to the server's
    own word.
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
        f"{'seconds':10}{'up token':>10}{'up ready':>10}{'bare token':>12}{'token/token':>13}"
        f"{'ready/token':>13}{'word to token':>15}{'word to ready':>15}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for pair in range(pairs):
            first, second = (bare, ours) if pair % 2 else (ours, bare)
            took = {run: run(Path(folder)) for run in (first, second)}
            (token, ready, word), (answer, _) = took[ours], took[bare]
            row = (token / answer, ready / answer, token - word, ready - word)
            rows.append(row)
            print(
                f"pair {pair + 1:<5}{token:10.2f}{ready:10.2f}{answer:12.2f}{row[0]:13.3f}"
                f"{row[1]:13.3f}{row[2]:15.3f}{row[3]:15.3f}",
                flush=True,
            )
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{'median':42}{medians[0]:13.3f}{medians[1]:13.3f}{medians[2]:15.3f}{medians[3]:15.3f}")
    low, high = interval([row[0] for row in rows])
    print(f"{'95 % of medians':35}{f'{low:.3f} to {high:.3f}':>20}")
    print(f"{'aim':42}{'<= 1.02':>13}")


if __name__ == "__main__":
    main()
