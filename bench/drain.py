"""Requests lost in a planned restart under load: glm5-serve, systemd and supervisord over the same
command.

The real SGLang or vLLM on the CPU (`make engine`), one keeper at a time. CLIENTS clients ask one request after the other,
of 1 to SECONDS seconds each; like a load balancer each asks before a request whether it is ready, and waits while that is not 200.
vLLM has only /health for that; ours answers /ready itself (`--health-listen`). After ten seconds comes the restart. Lost is a request that was accepted and not answered whole; one that was
refused can be asked elsewhere and is none. Closed is the time in which no request could be begun. systemd and
supervisord once with their defaults, once told to be as patient as ours. Aim: ours loses none.

usage: [ENGINE=vllm] bench/drain.py [CLIENTS [SECONDS]]     root is needed for systemd
"""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import engines
from engines import OF, TOKENS
from keepers import Ours, Supervisord, SupervisordTold, Systemd, SystemdTold

LOAD_BEFORE, LOAD_AFTER = 10.0, 5.0  # seconds


class Client(threading.Thread):
    """Asks until it is told to stop; `rate` tokens a second, `longest` seconds a request."""

    def __init__(
        self, ports: tuple[int, int], rate: float, longest: float, stop: threading.Event
    ) -> None:
        super().__init__()
        (self.port, self.asked), self.rate = ports, rate
        self.longest, self.stop = longest, stop
        self.begun: list[float] = []
        self.whole = self.lost = self.refused = 0

    def run(self) -> None:
        dice = random.Random(self.name)
        while not self.stop.is_set():
            if not self.may_come():
                time.sleep(0.1)
                continue
            tokens = min(int(self.rate * dice.uniform(1, self.longest)), OF.longest)
            at = time.monotonic()
            status = self.ask("POST", TOKENS, engines.tokens(tokens), 120)
            if status is None:
                self.refused += 1
            else:
                self.begun.append(at)
                self.whole += status == 200
                self.lost += status != 200

    def may_come(self) -> bool:
        path = OF.ready if self.asked == self.port else "/ready"
        return self.ask("GET", path, None, 5, port=self.asked) == 200

    def ask(self, method: str, path: str, body: object, within: float, port: int = 0) -> int | None:
        """The status of a whole answer, 0 for one that breaks off, None for a refused
        connection.
        """
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=within)
        try:
            connection.connect()
        except OSError:
            return None
        try:
            text = json.dumps(body) if body else None
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


def load(ports: tuple[int, int], count: int, longest: float) -> None:
    """Run clients where the port can be reached, until stdin is closed; what became of it, as JSON
    on stdout.
    """
    stop = threading.Event()
    rate = rate_of(ports, count)
    clients = [Client(ports, rate, longest, stop) for _ in range(count)]
    for client in clients:
        client.start()
    print("loaded", flush=True)
    sys.stdin.read()
    stop.set()
    for client in clients:
        client.join()
    begun = sorted(at for client in clients for at in client.begun)
    closed = max(after - before for before, after in pairwise(begun))
    figures = {
        name: sum(getattr(client, name) for client in clients)
        for name in ("whole", "lost", "refused")
    }
    print(json.dumps(figures | {"closed": closed}))


def rate_of(ports: tuple[int, int], count: int, tokens: int = 200) -> float:
    """Tokens a second of each of `count` requests at a time."""
    asking = Client(ports, 0, 0, threading.Event())
    began = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(asking.ask, "POST", TOKENS, engines.tokens(tokens), 120)
    return tokens / (time.monotonic() - began)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    longest = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    print(f"{count} clients, requests of 1 to {longest:g} s")
    print(f"{'':48}{'answered':>9}{'lost':>6}{'refused':>9}{'closed s':>10}{'of ours':>10}")
    ours = 0.0
    for kind in (Ours, Systemd, SystemdTold, Supervisord, SupervisordTold):
        with tempfile.TemporaryDirectory() as folder, kind(Path(folder)).running() as keeper:
            words = [
                sys.executable,
                str(Path(__file__)),
                "load",
                str(keeper.port),
                str(keeper.asked),
                str(count),
                str(longest),
            ]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            with subprocess.Popen(keeper.inside(words), text=True, **pipes) as asking:
                assert asking.stdout.readline() == "loaded\n"
                time.sleep(LOAD_BEFORE)
                keeper.restart()
                keeper.wait()
                time.sleep(LOAD_AFTER)
                told = json.loads(asking.communicate()[0])
        ours = ours or told["closed"]
        row = f"{told['whole']:9}{told['lost']:6}{told['refused']:9}{told['closed']:10.1f}"
        row += f"{told['closed'] / ours:9.2f}x"
        print(f"{kind.name:48}{row}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        load((int(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4]), float(sys.argv[5]))
    else:
        main()
