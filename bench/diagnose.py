"""CPU time of `diagnose` on logs of 200 MB, beside another tree of this project, in turn. Aim: at
most half of b25cc53's, and 60 MB a second.

usage: bench/diagnose.py TREE [MIB] [RUNS]    TREE is another checkout (git worktree add TREE b25cc53). Prints for each kind of log
MB per second of CPU of both, the ratio of the minima, and the most memory that this one held.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parents[1]
MAIN = "import sys; from launcher.cli import main; sys.exit(main())"
END = (
    "[2026-11-24 05:10:00 TP3] Scheduler hit an exception: Traceback (most recent call last):\n"
    "torch.AcceleratorError: CUDA error: an illegal memory access was encountered\n"
)


def stamp(n: int) -> str:
    return f"2026-11-24 {n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}"


def serving(n: int) -> str:
    if n % 4 == 0:
        return f'[{stamp(n)}] INFO:     10.1.{n % 250}.3:{20000 + n % 40000} - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'
    used = n * 7919 % 100
    return (
        f"[{stamp(n)} TP0] Decode batch, #running-req: {n % 64}, #token: {n * 31 % 400000}, token usage: 0.{used:02},"
        f" cuda graph: True, gen throughput (token/s): {n * 13 % 2000}.{used:02}, #queue-req: {n % 9},\n"
    )


def vllm(n: int) -> str:
    if n % 20 == 0:
        return (
            f"(APIServer pid=1) INFO 11-24 {stamp(n)[11:]} [loggers.py:259] Engine 000: Avg prompt throughput: {n % 900}.4 tokens/s,"
            f" Avg generation throughput: {n % 700 + 1}.0 tokens/s, Running: {n % 60} reqs, Waiting: 0 reqs\n"
        )
    return f'(APIServer pid=1) INFO:     10.1.2.{n % 250}:{20000 + n % 40000} - "POST /v1/chat/completions HTTP/1.1" 200 OK\n'


def kernel(n: int) -> str:
    return f'[{n * 7 % 900000}.{n % 1000000:06}] audit: type=1400 audit({n}.{n % 1000}:{n}): apparmor="ALLOWED" pid={n % 90000}\n'


def docker(n: int) -> str:
    return (
        json.dumps(
            {
                "log": serving(n),
                "stream": "stderr",
                "time": f"{stamp(n).replace(' ', 'T')}.{n % 10**9:09}Z",
            }
        )
        + "\n"
    )


def ids(n: int) -> str:
    id = f"{n * 2654435761 % 2**64:016x}"
    return f"(APIServer pid=1) INFO 11-24 {stamp(n)[11:]} [async_llm.py:420] Added request chatcmpl-{id}.\n"


KINDS: dict[str, Callable[[int], str]] = {
    "SGLang, serving": serving,
    "vLLM, serving": vllm,
    "kernel": kernel,
    "Docker's JSON": docker,
    "an id in each line": ids,
}


def pieces(kind: Callable[[int], str], size: int) -> Iterator[str]:
    done, n = 0, 0
    while done < size:
        piece = "".join(kind(n + i) for i in range(1000))
        n, done = n + 1000, done + len(piece)
        yield piece
    yield END


def cost(tree: Path, log: Path) -> tuple[float, float]:
    """Processor seconds of one run, and the MiB that it held at most."""
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", MAIN, "diagnose", str(log), "--json"]
    process = subprocess.Popen(command, env=environ, cwd=tree, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"diagnose of {tree} exited with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    if len(sys.argv) < 2 or not (Path(sys.argv[1]) / "launcher").is_dir():
        sys.exit("usage: bench/diagnose.py TREE [MIB] [RUNS]")
    other, size = (
        Path(sys.argv[1]).resolve(),
        (int(sys.argv[2]) if len(sys.argv) > 2 else 200) << 20,
    )
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    print(
        f"{'MB a second of CPU':24}{'other':>8}{'this':>8}{'ratio':>8}{'MiB':>6}   aim: ratio >= 2"
    )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        for name, kind in KINDS.items():
            with log.open("w") as file:
                file.writelines(pieces(kind, size))
            took = [(cost(other, log)[0], *cost(HERE, log)) for _ in range(runs)]
            theirs, ours = min(each[0] for each in took), min(each[1] for each in took)
            most, megabytes = max(each[2] for each in took), log.stat().st_size / 1e6
            print(
                f"{name:24}{megabytes / theirs:8.1f}{megabytes / ours:8.1f}{theirs / ours:8.2f}{most:6.0f}"
            )


if __name__ == "__main__":
    main()
