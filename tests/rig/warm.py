"""`glm5-serve` in a fork of a process that has imported it: a command costs some hundredths of a
second of a processor, and not half a second.

Each is a process of its own, with its own environment, folder and descriptors, as if it had been
executed. What an interpreter decides when it starts (its flags, the locale, what it is preloaded
with) is decided once: a command that is to see another value of these is to be executed. So is one
that a test looks for by its command line.

usage: warm.py SOCKET   (a descriptor; the other end is `Warm`'s)
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LARGEST = 100_000  # bytes of a request
# Of a process that starts, or its interpreter: none of a fork's business.
DECIDED = ("PYTHON", "LANG", "LC_", "TZ", "LD_", "MALLOC_", "_GLM5")
IMPORTED = (
    "launcher.cli",
    "launcher.operate.control",
    "launcher.operate.identity",
    "launcher.operate.sizing",
    "launcher.output.doctor",
    "launcher.output.estimate",
    "launcher.lint.run",
)
LOOKED_UP = (
    ["fit", "-p", "8xpro6000", "--gpu", "rtx-pro-6000"],
    ["fit", "-p", "8xpro6000-vllm", "--gpu", "rtx-pro-6000"],
)


class Warm:
    """Starts commands from here on."""

    def __init__(self) -> None:
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()])

    def close(self) -> None:
        """Let it go."""
        self._end.close()
        self._process.wait(60)

    def run(
        self, words: Sequence[str], environ: Mapping[str, str], folder: Path, within: float
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, and to that of its output. Raises TimeoutExpired."""
        asked = json.dumps([words, dict(environ), str(folder)]).encode()
        pipes = [os.pipe() for _ in range(3)]
        socket.send_fds(self._end, [asked], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        said = _read([read for read, _ in pipes], within)
        out, err, ended = (b"".join(pieces) for pieces in said.values())
        pid, _, status = ended.partition(b" ")
        if not status:
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(pid), signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(words), within, out, err)
        texts = (each.decode().replace("\r\n", "\n") for each in (out, err))
        return subprocess.CompletedProcess(list(words), int(status), *texts)


def can_be(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a command is the same in a fork of this process' Warm."""
    theirs = {name: value for name, value in environ.items() if name.startswith(DECIDED)}
    ours = {name: value for name, value in os.environ.items() if name.startswith(DECIDED[1:])}
    small = sum(map(len, (*words, *environ, *environ.values()))) < LARGEST // 8
    return theirs == ours and small and os.geteuid() == os.getuid()


def _read(ends: Sequence[int], within: float) -> dict[int, list[bytes]]:
    """What comes out of each until all are closed, or the time is over; closes them."""
    said: dict[int, list[bytes]] = {end: [] for end in ends}
    left, last = set(ends), time.monotonic() + within
    while left and time.monotonic() < last:
        for end in select.select(left, [], [], max(0.0, last - time.monotonic()))[0]:
            if piece := os.read(end, 1 << 16):  # no bound: there is something to read
                said[end].append(piece)
            else:
                left.discard(end)
    for end in ends:
        os.close(end)
    return said


def serve(end: socket.socket) -> Sequence[str] | None:
    """Fork for each request; returns in a child its command, here None when nobody asks any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:  # no bound: until its process is gone
        asked, descriptors, _, _ = socket.recv_fds(end, LARGEST, 3)
        if not asked:
            return None
        if os.fork() == 0:
            end.close()
            return _child(json.loads(asked), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _child(asked: tuple[list[str], dict[str, str], str], descriptors: Sequence[int]) -> list[str]:
    """In a child: the command; its own parent tells how it ends, and does not return."""
    words, environ, folder = asked
    out, err, ended = descriptors
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        os.close(out)
        os.close(err)
        os.write(ended, b"%d " % child)
        _, status = os.waitpid(child, 0)  # no bound: who asks kills it
        os.write(ended, b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(ended)
    for number, descriptor in ((1, out), (2, err)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # These two were made for what was there before: one can seek in a file.
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    return words


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    importlib.import_module("launcher.cli").every_command()
    for asked in LOOKED_UP:  # what packaged tables say, they say to all
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
            importlib.import_module("launcher.cli").cli.main(asked, standalone_mode=False)
    command = serve(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        sys.argv = [str(Path(sys.executable).with_name("glm5-serve")), *command]
        from launcher.cli import main

        main()
