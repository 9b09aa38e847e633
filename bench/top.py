"""What `top` costs while it is looked at: CPU of itself and its child, drawing 160 columns each second.

One server, the stand-in of the tests, and eight GPUs of the stand-in driver library, which nobody else reads: its child
asks for them. Aim: < 1 % of a core.

usage: bench/top.py [SECONDS]
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from idle import cpu_seconds  # noqa: E402
from own import GLM5_SERVE, PROFILE, STUB, free_port, prepare  # noqa: E402
from rig.nvml import scenario  # noqa: E402

SETTLE = 10  # seconds
ROWS, COLUMNS = 50, 160


def children(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def swallow(terminal: int) -> None:
    """Read what is drawn, as a terminal would."""
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:
        pass


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        (folder / "stub.toml").write_text(
            PROFILE.format(folder=folder, stub=STUB, port=free_port()).replace(
                f"{folder}/python", sys.executable
            )
        )
        environ = os.environ | {
            "GLM5_SERVE_STATE_DIR": f"{folder}/state",
            "HOME": name,
            "TERM": "xterm-256color",
        }
        subprocess.run(
            [GLM5_SERVE, "up", "-d", "-p", "./stub.toml"],
            env=environ,
            cwd=folder,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        host = scenario.host(8, util_gpu=97, power_mw=412000)
        host |= {
            "fail.nvmlEventSetCreate": "NOT_SUPPORTED"
        }  # the stand-in looks for events 200 times a second
        gpus = scenario.write(folder / "gpus", host)
        environ |= scenario.environ(scenario.library(folder), gpus)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(GLM5_SERVE, [GLM5_SERVE, "top"], environ)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        threading.Thread(target=swallow, args=(terminal,), daemon=True).start()
        try:
            time.sleep(SETTLE)
            looked_at = [pid, *children(pid)]
            before = [cpu_seconds(one) for one in looked_at]
            time.sleep(seconds)
            took = [cpu_seconds(one) - was for one, was in zip(looked_at, before, strict=True)]
        finally:
            os.write(terminal, b"q")
            os.waitpid(pid, 0)
            subprocess.run(
                [GLM5_SERVE, "down", "--now"], env=environ, check=True, stdout=subprocess.DEVNULL
            )
    shares = " ".join(f"{100 * one / seconds:.2f}" for one in took)
    print(
        f"{100 * sum(took) / seconds:.2f} % of a core over {seconds:g} s (itself, its child: {shares}); aim < 1 %"
    )


if __name__ == "__main__":
    main()
