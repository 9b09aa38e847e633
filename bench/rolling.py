"""Requests lost while two replicas are restarted under load, one after the other, behind the gateway.

Two real SGLang servers on the CPU (`make engine`) behind smg. CLIENTS clients ask one request after the other, streams and
plain ones in turn, of TOKENS tokens. Three ways to restart the two:
  rolling     `glm5-serve restart --rolling`: out of the gateway's list, idle, SIGTERM, up, ready, in again
  readiness   SIGTERM to the server's first process, nothing told to the gateway, which asks /ready every 2 s (as in Kubernetes)
  plain       SIGTERM to all processes of the server, as systemd does it by default; it is started again
The next one follows when the gateway sends requests to the first one again. Lost is a request that was not answered whole.
Aim: `rolling` loses none.

usage: bench/rolling.py [rolling|readiness|plain]... [--clients N] [--tokens N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from rig.load import Load

GLM5_SERVE = Path(sys.executable).with_name("glm5-serve")
GATEWAY, METRICS, FIRST = 30190, 30199, 30110
NAMES = ("cpu-demo@1", "cpu-demo@2")
BEFORE, AFTER = 5.0, 5.0  # seconds of load before and after


class Two:
    """Two replicas and their gateway, with a state folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.environ = os.environ | {"GLM5_SERVE_STATE_DIR": str(folder)}

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [GLM5_SERVE, *words], env=self.environ, capture_output=True, text=True, timeout=600
        )
        return done.stdout if "--json" in words or not done.returncode else sys.exit(done.stderr)

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        listen = f"--listen=127.0.0.1:{GATEWAY}", f"--metrics-listen=127.0.0.1:{METRICS}"
        settings = "--set=replicas=2", f"--set=flags.port={FIRST}"
        try:
            self.run("gateway", "up", "--detach", *listen)
            with ThreadPoolExecutor() as pool:  # what is measured comes after the first start
                for name in NAMES:
                    pool.submit(self.run, "up", name, "--detach", *settings)
            self.until_routed(2)
            yield
        finally:
            for name in ("cpu-demo", "gateway"):
                self.run("down", name, "--now")

    def until_routed(self, count: int, within: float = 400) -> None:
        end = time.monotonic() + within
        while self.routed() != count:
            if time.monotonic() > end:
                sys.exit(f"not {count} servers behind the gateway within {within:g} s")
            time.sleep(0.3)

    def routed(self) -> int:
        told = json.loads(self.run("gateway", "status", "--json"))
        return sum(one["gateway"] == "routed" for one in told["workers"])

    def server(self, name: str) -> psutil.Process:
        seen = json.loads(self.run("status", name, "--json"))
        return psutil.Process(seen["pids"]["server"])

    def restart(self, how: str) -> None:
        if how == "rolling":
            self.run("restart", "cpu-demo", "--rolling")
            return
        for name in NAMES:
            server = self.server(name)
            all_ = [server, *server.children(recursive=True)]
            for process in all_ if how == "plain" else [server]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGTERM)
            psutil.wait_procs([server], timeout=120)
            self.until_routed(1)
            self.until_routed(2)


def measured(two: Two, how: str, count: int, tokens: int) -> None:
    """Restart both under load; what became of the requests, a line."""
    with Load(GATEWAY, "tiny", clients=count, tokens=tokens) as load:
        time.sleep(BEFORE)
        began = time.monotonic()
        two.restart(how)
        took = time.monotonic() - began
        time.sleep(AFTER)
    asked = load.outcomes.total()
    print(
        f"{how:10} {asked - sum(load.lost.values())} of {asked} whole, restarted in {took:.0f} s;"
        f" lost: {load.lost or 'none'}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", nargs="*", default=["rolling", "readiness", "plain"])
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=200)
    ask = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and takes down what it started
    with tempfile.TemporaryDirectory() as folder:
        two = Two(Path(folder))
        with two.up():
            for how in ask.how:
                measured(two, how, ask.clients, ask.tokens)


if __name__ == "__main__":
    main()
