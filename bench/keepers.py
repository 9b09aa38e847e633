"""Three that keep one server up, for the benchmarks: glm5-serve, systemd and supervisord, over the
same command.

The command is the real SGLang or vLLM on the CPU (`make engine`), as `glm5-serve render` prints it
for its profile (`engines.py`). What systemd and supervisord are told is what people write: the command, restart always;
the rest is their default.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
from engines import OF, TOKENS, tokens

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from rig.systemd_host import SystemdHost

GLM5_SERVE = str(Path(sys.executable).with_name("glm5-serve"))
GIVE_UP = 300  # seconds


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


class Keeper:
    """Keeps the server at `port` up. `inside` puts a command where that port can be reached."""

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = self.asked = free_port()  # the server's; where a balancer asks about it
        self.marks = f"--port {self.port}"
        words = [
            GLM5_SERVE,
            "render",
            "-p",
            OF.profile,
            "--json",
            "--set",
            f"flags.port={self.port}",
        ]
        plan = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        self.argv: list[str] = [*plan["program"], *plan["arguments"]]
        self.env: Mapping[str, str] = plan["env"]

    def inside(self, words: list[str]) -> list[str]:
        return words

    def restart(self) -> None:
        """A planned restart, as an operator asks for it; returns when the keeper says that it is
        done.
        """
        raise NotImplementedError

    def server(self) -> psutil.Process | None:
        """The server's first process."""
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                if self.marks in line and "reaper" not in line and line.startswith(self.argv[0]):
                    return process
            except psutil.Error:
                continue
        return None

    def rank(self) -> psutil.Process:
        """The process that has the weights."""
        server = self.server()
        assert server
        below = server.children(recursive=True)
        return next(p for p in below if OF.rank in "".join(p.cmdline()[:1]))

    def wait(self, within: float = GIVE_UP) -> float | None:
        """The moment (monotonic) of the first token that is generated from now on, if one is."""
        words = [sys.executable, str(Path(__file__)), str(self.port), str(within)]
        done = subprocess.run(self.inside(words), capture_output=True, text=True, check=False)
        return float(done.stdout) if done.returncode == 0 else None


class Ours(Keeper):
    """`glm5-serve up` with its profile's policy, but for pauses between deaths."""

    name = "glm5-serve"

    @contextmanager
    def running(self) -> Iterator[Ours]:
        self.environ = os.environ | {"GLM5_SERVE_STATE_DIR": str(self.folder / "state")}
        words = ["up", "-p", OF.profile, "--detach", "--set", f"flags.port={self.port}"]
        words += [
            "--set",
            f"supervision.stop_timeout={STOP_WITHIN}",
            "--set",
            "supervision.backoff=0",
        ]
        self.asked = self.port
        if OF.ready != "/ready":  # the engine has none that knows of a drain
            self.asked = free_port()
            words += ["--health-listen", f"127.0.0.1:{self.asked}"]
            words += ["--set", "supervision.drain_delay=1"]
        self.run(*words)
        try:
            yield self
        finally:
            self.run("down")

    def run(self, *words: str) -> None:
        subprocess.run([GLM5_SERVE, *words], env=self.environ, check=True, capture_output=True)

    def restart(self) -> None:
        self.run("restart")


STOP_WITHIN = 60  # seconds that a planned stop may take, for those who are told


class Supervisord(Keeper):
    """supervisord, autorestart; `told` raises its patience at a stop from the default of 10 s."""

    name = "supervisord"
    more = ""

    @contextmanager
    def running(self) -> Iterator[Supervisord]:
        self.config = self.folder / "supervisord.conf"
        environ = ",".join(f'{name}="{value}"' for name, value in self.env.items())
        self.config.write_text(f"""[supervisord]
nodaemon=true
user=root
logfile={self.folder}/supervisord.log
pidfile={self.folder}/supervisord.pid
[unix_http_server]
file={self.folder}/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{self.folder}/sock
[program:server]
command={shlex.join(self.argv)}
environment={environ}
autorestart=true
{self.more}
""")
        words = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.config)]
        with subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as keeper:
            try:
                assert self.wait()
                yield self
            finally:
                keeper.terminate()

    def restart(self) -> None:
        words = [
            sys.executable,
            "-m",
            "supervisor.supervisorctl",
            "-c",
            str(self.config),
            "restart",
            "server",
        ]
        subprocess.run(words, check=True, capture_output=True)


class SupervisordTold(Supervisord):
    name = f"supervisord, stopwaitsecs={STOP_WITHIN}"
    more = f"stopwaitsecs={STOP_WITHIN}"


class Systemd(Keeper):
    """A unit with Restart=always on a real systemd, in namespaces of its own."""

    name = "systemd"
    more = ""

    @contextmanager
    def running(self) -> Iterator[Systemd]:
        environ = "\n".join(f'Environment="{name}={value}"' for name, value in self.env.items())
        unit = f"[Service]\nExecStart={shlex.join(self.argv)}\n{environ}\nRestart=always\n{self.more}\n"
        with SystemdHost() as self.host:
            self.host.write("/etc/systemd/system/server.service", unit)
            self.host.systemctl("start", "server")
            assert self.wait()
            yield self

    def inside(self, words: list[str]) -> list[str]:
        return [
            "nsenter",
            "-t",
            str(self.host.pid1),
            *"-m -p -u -i -n -C -r -w".split(),
            "--",
            *words,
        ]

    def restart(self) -> None:
        self.host.systemctl("restart", "server")


class SystemdTold(Systemd):
    name = f"systemd, KillMode=mixed, TimeoutStopSec={STOP_WITHIN}"
    more = f"KillMode=mixed\nTimeoutStopSec={STOP_WITHIN}"


def generates(port: int) -> bool:
    """One token, asked for within two seconds."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request(
            "POST", TOKENS, json.dumps(tokens(1)), {"Content-Type": "application/json"}
        )
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":  # asked by Keeper.wait, where the port can be reached
    port, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    while not generates(port):
        if time.monotonic() > end:
            sys.exit(1)
        time.sleep(0.02)
    print(time.monotonic())
