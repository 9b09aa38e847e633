"""Hosts that are reached over ssh: the real sshd on this machine's loopback, one a host, each with
programs of its own.

Nothing of the machine's ssh is touched: keys, known hosts and configuration are the test's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conftest import TESTS, free_port, is_taken, running, until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
RECORDED = TESTS / "hosts/asus8x"
# What stands in for each program there, by what a recorded host printed.
PROGRAMS = {
    "nvidia-smi": """case "$*" in
-q) cat {0}/nvidia_smi_q.txt ;;
"topo -m") cat {0}/nvidia_topo.txt ;;
*) exit 1 ;;
esac""",
    "lspci": "cat {0}/lspci.txt",
    "dmesg": "cat {0}/dmesg.txt",
    "lscpu": "cat {0}/lscpu.txt",
    "numactl": "cat {0}/numa.txt",
    "uname": "echo Linux h 6.14.0-37-generic '#1' SMP x86_64 GNU/Linux",
}


def key(path: Path) -> Path:
    """A key pair of one's own."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(words, check=True, timeout=60)
    return path


@dataclass
class Fleet:
    """Hosts by name, and the ssh configuration that leads to them."""

    folder: Path
    started: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(
                exist_ok=True
            )  # where it locks a child in that knows nobody yet
        self.folder.chmod(0o755)
        self.config, self.known = self.folder / "config", self.folder / "known_hosts"
        self.user, self.server = key(self.folder / "user"), key(self.folder / "server")
        self.known.write_text("")
        self.config.write_text("")

    def host(
        self, name: str, *, accepts: Path | None = None, known: Path | None = None, **programs: str
    ) -> None:
        """Start a host. It accepts the user's key, or another one; known_hosts has its key, or
        another one.
        """
        home = self.folder / name
        (home / "bin").mkdir(parents=True)
        (home / "tmp").mkdir()
        for program, text in {**PROGRAMS, **programs}.items():
            file = home / "bin" / program
            file.write_text(f"#!/bin/sh\n{text.format(RECORDED)}\n")
            file.chmod(0o755)
        port = self.alias(name)
        public = (known or self.server).with_suffix(".pub").read_text()
        self.known.write_text(f"{self.known.read_text()}[127.0.0.1]:{port} {public}")
        self._serve(port, (accepts or self.user).with_suffix(".pub"), home)

    def _serve(self, port: int, accepted: Path, home: Path) -> None:
        """Start sshd on a port; who comes in lives in that home."""
        log = home / "sshd.log"
        words = [SSHD, "-D", "-f", "/dev/null", "-h", str(self.server), "-E", str(log)]
        for option in (
            f"ListenAddress=127.0.0.1:{port}",
            f"AuthorizedKeysFile={accepted}",
            "StrictModes=no",
            "PidFile=none",
            "PermitRootLogin=yes",
            "UsePAM=no",
            f"SetEnv=PATH={home}/bin:{os.environ['PATH']} HOME={home} TMPDIR={home}/tmp",
        ):
            words += ["-o", option]
        self.started.enter_context(running(*words))
        until(lambda: is_taken(port), f"sshd answers: {log}")

    def alias(self, name: str, port: int | None = None) -> int:
        """A name that leads to a port of this machine, whoever listens there, and the port."""
        port = port or free_port()
        told = f"Host {name}\n HostName 127.0.0.1\n Port {port}\n User {_me()}\n"
        told += f" IdentityFile {self.user}\n IdentitiesOnly yes\n"
        told += f" UserKnownHostsFile {self.known}\n GlobalKnownHostsFile /dev/null\n"
        self.config.write_text(self.config.read_text() + told)
        return port

    def silent(self, name: str) -> None:
        """A host that accepts connections and never says a word."""
        taken = self.started.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.alias(name, taken.getsockname()[1])


def _me() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


@contextlib.contextmanager
def fleet(folder: Path) -> Iterator[Fleet]:
    """A fleet whose hosts are gone when the block ends, with all that runs on them."""
    made = Fleet(folder)
    with made.started:
        yield made
    for process in sessions(folder):
        os.kill(process, signal.SIGKILL)


def sessions(folder: Path) -> list[int]:
    """What runs on the hosts: processes whose home is there."""
    mark = f"HOME={folder}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found
