"""What the canary costs: tokens a second of a load beside one that is asked the canary's questions, too, in turn.

usage: [ENGINE=sglang|vllm] bench/canary.py [--record FILE] [stand-in] [PAIRS]

The real engine on this CPU, or the stand-in of the tests. One question a minute is lost in the noise of any
machine, so it is asked one after the other, as fast as they come, and what that costs is scaled down to one a minute:
CLIENTS clients ask without a pause for SECONDS, with and without, PAIRS times. Prints each pair, the medians, and the
share of throughput that one question a minute takes. Aim: < 0.5 %.
--record puts into a file what LOOKS answers told, for the tests: tokens, seconds, seconds a step, tokens accepted, the load
in powers of two, and the share of the time that a rank stood in line for a processor; of a server that nobody else asks
(`idle`), and of one that CLIENTS clients ask (`load`).
"""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from engines import OF

from launcher.engines.server import Server
from launcher.gateway.runtime import runtime
from launcher.plan import plan
from launcher.serve import canary, canary_ask, procfs

ROOT = Path(__file__).parents[1]
GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
CLIENTS, SECONDS, LOOKS = 4, 8.0, 200
STAND_IN = """[engine]
python = "{python}"
[flags]
model-path = "{folder}/model"
device = "cpu"
port = 21990
reasoning-parser = "glm45"
tool-call-parser = "glm47"
[env]
PYTHONPATH = "{root}/tests/rig/stub"
STUB_FAULTS = "{folder}/faults.json"
"""


@contextlib.contextmanager
def served(profile: str, folder: Path) -> Iterator[canary_ask.Asked]:
    """A server without a canary of its own, and how it is asked."""
    environ = os.environ | {"GLM5_SERVE_STATE_DIR": str(folder / "state")}
    if profile == "stand-in":
        (folder / "model").mkdir()
        for name in ("config.json", "tokenizer.json"):
            (folder / "model" / name).write_text("{}")
        (folder / "model/model.safetensors").write_bytes(b"\2" + bytes(7) + b"{}")
        (folder / "faults.json").write_text('{"steps": {"seconds": 0.0005, "accepted": 2}}')
        profile = str(folder / "stand-in.toml")
        said = STAND_IN.format(python=sys.executable, folder=folder, root=ROOT)
        Path(profile).write_text(said)
    words = ["--set", "canary.every=0", "-d"]
    subprocess.run([GLM5_SERVE, "up", "-p", profile, *words], env=environ, check=True, timeout=300)
    try:
        [made] = (folder / "state").glob("*/plan.json")
        told = plan.loads(made.read_text())
        server, engine = Server(told.host, told.port), runtime(told.engine)
        line = canary_ask.Line()
        yield canary_ask.Asked(server, engine, told.model_name, told.smoke, told.parsers, line)
    finally:
        subprocess.run([GLM5_SERVE, "down", "--now"], env=environ, check=False, timeout=120)


def kinds(asked: canary_ask.Asked, profile: str) -> list[str]:
    return ["context", "tools", "reasoning"] if profile == "stand-in" else ["fact"]


def load(asked: canary_ask.Asked, until: float) -> int:
    """One client that asks without a pause, once at least: how many tokens came."""
    tokens, question = 0, asked.smoke["questions"][0]["ask"]
    body = {"model": asked.model, "messages": [{"role": "user", "content": question}]}
    text = json.dumps({**body, "temperature": 0, "max_tokens": 64})
    made = http.client.HTTPConnection(asked.server.host, asked.server.port, timeout=60)
    with contextlib.closing(made):
        while not tokens or time.monotonic() < until:
            made.request("POST", "/v1/chat/completions", text, {"Content-Type": "application/json"})
            answer: dict[str, Any] = json.loads(made.getresponse().read())
            tokens += answer["usage"]["completion_tokens"]
    return tokens


def measured(asked: canary_ask.Asked, asks: Callable[[float], int]) -> tuple[float, int]:
    """Tokens a second of all clients, and how many questions were asked meanwhile."""
    began = time.monotonic()
    until, told = began + SECONDS, list[int]()
    clients = [
        threading.Thread(target=lambda: told.append(load(asked, until))) for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    questions = asks(until)
    for client in clients:
        client.join()
    return sum(told) / (time.monotonic() - began), questions


def in_line(asked: canary_ask.Asked) -> procfs.InLine:
    """How long its ranks have stood in line for a processor, by now."""
    server = next(
        c.pid
        for c in psutil.net_connections("tcp")
        if c.status == "LISTEN" and c.pid and c.laddr.port == asked.server.port
    )
    pids = [server, *(child.pid for child in psutil.Process(server).children(recursive=True))]
    return procfs.in_line(pids, time.monotonic(), asked.engine.ranks)


def record(asked: canary_ask.Asked, asks: list[str], clients: int) -> list[list[float | None]]:
    """What a server says that so many others ask, too: the answers that were right and told of."""
    rows: list[list[float | None]] = []
    over = threading.Event()
    others = [
        threading.Thread(target=lambda: [load(asked, 0.0) for _ in iter(over.is_set, True)])
        for _ in range(clients)
    ]
    for other in others:
        other.start()
    for number in range(LOOKS):
        question = canary.Question(asks[number % len(asks)], number // len(asks))
        before = in_line(asked)
        look = canary_ask.look(asked, question)
        waited = round(before.share(in_line(asked)), 3)
        if look.said is canary.Said.RIGHT and (signs := look.signs):
            step = signs.step and round(signs.step, 7)
            rows.append([look.tokens, look.seconds, step, signs.accepted, *signs.load, waited])
        time.sleep(0.1)
    over.set()
    for other in others:
        other.join()
    return rows


def kept(file: Path, asked: canary_ask.Asked, profile: str, asks: list[str]) -> None:
    """Put what is recorded of a server into the file."""
    found = json.loads(file.read_text())
    found["made"][profile] = f"{datetime.date.today()}, {os.cpu_count()} cores, no GPU"
    for name, clients in (("idle", 0), ("load", CLIENTS)):
        rows = found["looks"][f"{profile}, {name}"] = record(asked, asks, clients)
        print(f"{profile}, {name}: {len(rows)} of {LOOKS} answers")
    text = json.dumps(found, indent=0).replace(",\n", ", ").replace("[\n", "[").replace("\n]", "]")
    file.write_text(text.replace("], [", "],\n[") + "\n")


def main() -> None:
    words = sys.argv[1:]
    to = Path(words.pop(words.index("--record") + 1)) if "--record" in words else None
    words = [word for word in words if word != "--record"]
    profile = words.pop(words.index("stand-in")) if "stand-in" in words else OF.profile
    pairs = int(words[0]) if words else 6
    with (
        tempfile.TemporaryDirectory(dir=Path.home()) as name,
        served(profile, Path(name)) as asked,
    ):
        asks = kinds(asked, profile)
        if to:
            kept(to, asked, profile, asks)
            return

        def ask(until: float) -> int:
            number = 0
            while time.monotonic() < until:
                canary_ask.look(asked, canary.Question(asks[number % len(asks)], number))
                number += 1
            return number

        measured(asked, lambda until: 0)  # warm
        rows = [(measured(asked, lambda until: 0), measured(asked, ask)) for _ in range(pairs)]
    print(f"{'tok/s':>10}{'asked':>10}{'questions':>11}{'ratio':>8}")
    for (without, _), (beside, questions) in rows:
        print(f"{without:10.1f}{beside:10.1f}{questions:11}{beside / without:8.3f}")
    lost = statistics.median(1 - beside / without for (without, _), (beside, _) in rows)
    rate = statistics.median(questions for _, (_, questions) in rows) / SECONDS
    share = 100 * lost / (60 * rate)
    print(f"{rate:.2f} questions a second cost {100 * lost:.1f} %: one a minute {share:.4f} %")
    print(f"{'aim':10} < 0.5 %")


if __name__ == "__main__":
    main()
