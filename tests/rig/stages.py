"""What the pictures of tests/rig/screens.py are run in: a home of its own, recorded inputs, a server.

Each command runs where `HOME` is `/srv/op`, in a mount namespace: no picture shows a path of the
machine that it was made on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from nvml import scenario

RIG = Path(__file__).parent
TESTS = RIG.parent
BIN = Path(sys.executable).parent
HOME = "/srv/op"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glm5-serve"
INSIDE = """mount -t tmpfs -o mode=755 none /srv && mkdir /srv/op && mount --bind "$1" /srv/op && cd /srv/op
mkdir -p .cache/glm5-serve && { [ ! -d "$2" ] || mount --bind "$2" .cache/glm5-serve; }
shift 2
exec "$@"
"""
Environ = Mapping[str, str]


def environ() -> dict[str, str]:
    """Of a person on a terminal, whose home is empty."""
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": HOME,
        "GLM5_SERVE_STATE_DIR": f"{HOME}/state",
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }


def words(folder: Path, *command: str) -> list[str]:
    """A command of ours with a folder as its home, and the engines of this user's cache in it."""
    root = ["--map-root-user"] if os.geteuid() else []
    inside = ["sh", "-c", INSIDE, "sh", str(folder), str(CACHE)]
    return ["unshare", "--mount", *root, *inside, "glm5-serve", *command]


def run(folder: Path, env: Environ, *command: str) -> None:
    """Run one to its end; exits with what it said where it fails."""
    done = subprocess.run(
        words(folder, *command), env=env, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")


@contextmanager
def nothing(_: Path, env: Environ) -> Iterator[Environ]:
    """It needs nothing but itself."""
    yield env


@contextmanager
def recorded(folder: Path, env: Environ) -> Iterator[Environ]:
    """Inputs that the commands read: a recorded host, a card's command, the log of a death."""
    shutil.copy(TESTS / "hosts/asus8x.json", folder / "host.json")
    (folder / "card.sh").write_text(CARD)
    (folder / "server.log").write_text(DEATH)
    yield env


@contextmanager
def driver(folder: Path, env: Environ) -> Iterator[Environ]:
    """Eight idle RTX PRO 6000 of the stand-in driver."""
    host = scenario.write(folder / "gpus", scenario.host(8))
    yield {**env, **scenario.environ(scenario.library(folder), host)}


@contextmanager
def served(folder: Path, env: Environ) -> Iterator[Environ]:
    """The stand-in engine under load, on eight GPUs of the stand-in driver."""
    (folder / "model").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / "model" / name).write_text("{}")
    (folder / "model/model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    profile = folder / ".config/glm5-serve/profiles/glm5.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(PROFILE.format(python=sys.executable, rig=RIG))
    load = Load(folder / "faults.json")
    with driver(folder, env) as made:
        run(folder, made, "up", "glm5", "--detach")
        state = json.loads((folder / "state/glm5/state.json").read_text())
        scenario.write(folder / "gpus", busy(psutil.Process(state["pids"]["server"])))
        load.start()
        try:
            yield made
        finally:
            load.over.set()
            load.join(60)
            run(folder, env, "down", "glm5", "--now")


@contextmanager
def real(folder: Path, env: Environ) -> Iterator[Environ]:
    """The real SGLang on this machine's CPU, which nobody else asks (`make engine`)."""
    run(folder, env, "up", "cpu-demo", "--detach")
    try:
        yield env
    finally:
        run(folder, env, "down", "cpu-demo", "--now")


class Load(threading.Thread):
    """What the stand-in engine says of itself, as if it were asked by some and decoded for them."""

    EVERY, TOKENS = 0.25, 2240  # seconds, tokens of each of them

    def __init__(self, faults: Path) -> None:
        super().__init__()
        self.faults, self.over, self.turns = faults, threading.Event(), 0
        self.tell()

    def run(self) -> None:
        while not self.over.wait(self.EVERY):
            self.turns += 1
            self.tell()

    def tell(self) -> None:
        """Write what it says from now on."""
        decoded = self.turns * self.EVERY * self.TOKENS
        load = {
            "dp_rank": 0,
            "num_running_reqs": 38 + self.turns % 5,
            "num_waiting_reqs": 3,
            "token_usage": 0.61,
            "gen_throughput": self.TOKENS,
        }
        metrics = METRICS.format(decoded=decoded, read=7 * decoded, cached=5 * decoded)
        fresh = self.faults.with_suffix(".new")
        fresh.write_text(json.dumps({"loads": [load], "metrics": metrics}))
        fresh.replace(self.faults)


def busy(server: psutil.Process) -> scenario.Scenario:
    """Eight that are busy with the ranks of a server, one of them at its power limit."""
    used = 89 << 30
    host = scenario.host(
        8, mem_used=used, util_gpu=97, clock_sm=2280, pcie_gen=5, clocks_event_reasons=0
    )
    ranks = sorted(server.children(), key=psutil.Process.name)
    for index, rank in enumerate(ranks):
        host[f"gpu.{index}.procs"] = f"{rank.pid}:{used}"
        host[f"gpu.{index}.power_mw"] = 388_000 + 7_000 * (index * 5 % 8)
        host[f"gpu.{index}.temp"] = 58 + index * 3 % 8
    limited = {"clocks_event_reasons": 4, "power_mw": 599_000, "clock_sm": 1815}
    return host | {f"gpu.5.{name}": value for name, value in limited.items()}


PROFILE = """description = "GLM-5 on eight RTX PRO 6000"
[engine]
python = "{python}"
[flags]
model-path = "/srv/op/model"
served-model-name = "glm-5"
tp-size = 8
port = 8000
[supervision]
probe_interval = 1
[doctor]
allow = ["host-memory", "memory-limit", "shared-memory"]
[env]
PYTHONPATH = "{rig}/stub"
STUB_FAULTS = "/srv/op/faults.json"
"""
METRICS = """sglang:realtime_tokens_total{{mode="decode",tp_rank="0"}} {decoded}
sglang:realtime_tokens_total{{mode="prefill_compute",tp_rank="0"}} {read}
sglang:realtime_tokens_total{{mode="prefill_cache",tp_rank="0"}} {cached}
sglang:time_to_first_token_seconds_bucket{{le="0.4"}} 61.0
sglang:time_to_first_token_seconds_bucket{{le="0.8"}} 93.0
sglang:time_to_first_token_seconds_bucket{{le="+Inf"}} 96.0
"""
CARD = """export NCCL_P2P_LEVEL=PHB SAFETENSORS_FAST_GPU=1
python3 -m sglang.launch_server --model lukealonso/GLM-5-NVFP4 --tp 8 \\
  --served-model-name glm-5 --reasoning-parser glm45 --tool-call-parser glm47 \\
  --quantization modelopt_fp4 --kv-cache-dtype fp8_e4m3 --mem-fraction-static 0.95 \\
  --attention-backend flashinfer --moe-runner-backend flashinfer_cutlass \\
  --enable-flashinfer-allreduce-fusion --host 0.0.0.0 --port 8000
"""
DEATH = """[2026-11-20 10:03:11 TP0] Load weight end. elapsed=212.41 s, avail mem=38.60 GB
[2026-11-20 10:03:12 TP3] Scheduler hit an exception: Traceback (most recent call last):
  File "/opt/sglang/lib/python3.12/site-packages/sglang/srt/managers/scheduler.py", line 2894, in run_scheduler_process
    scheduler = Scheduler(
RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.
"""
