"""`glm5-serve` in a fork of a process that has imported it: a command costs some hundredths of a
second of a processor, and not half a second.

Each is a process of its own, with its own environment, folder and descriptors, as if it had been
executed. What an interpreter decides when it starts (its flags, the locale, what it is preloaded
with) is decided once: a command that is to see another value of these is to be executed. So is one
that a test looks for by its command line.

usage: warm.py SOCKET   (a descriptor; the other end is `Warm`'s)
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

LARGEST = 100_000  # bytes of a request
STARTS = 300.0  # seconds until a fork is there; the first waits for all that is imported
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
GIVEN = b"python3 -m sglang.launch_server --model-path m --tp-size 8\n"
LOOKED_UP = (
    "fit -p 8xpro6000 --gpu rtx-pro-6000",
    "fit -p 8xpro6000-vllm --gpu rtx-pro-6000",
    "doctor --from GIVEN -p 8xpro6000",
    "lint GIVEN --all-releases",
    "lint GIVEN --to vllm",
    "diagnose GIVEN",
    "checks",
    "metrics",
    "status",
    "bench",
    "gateway status",
    "smoke",
)


class Warm:
    """Starts commands from here on."""

    def __init__(self) -> None:
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            words = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()])

    def fileno(self) -> int:
        """Where to ask: who inherits it may send what `run` does."""
        return self._end.fileno()

    def close(self) -> None:
        """Let it go."""
        self._end.close()
        self._process.wait(60)

    def run(
        self,
        words: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        within: float,
        output: int | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, and to that of its output; to another descriptor of the
        caller's, where one is told. Raises TimeoutExpired, by which it is killed, where that takes
        longer than so many seconds from its fork on.
        """
        asked = json.dumps([words, dict(environ), str(folder)]).encode()
        pipes = [os.pipe() for _ in range(3)]
        written, *others = (write for _, write in pipes)
        written = written if output is None else output
        socket.send_fds(self._end, [asked], [0, written, *others])
        for _, write in pipes:
            os.close(write)
        reads = [read for read, _ in pipes]
        assert select.select(reads[-1:], [], [], STARTS)[0], "nothing forks"
        pid = os.read(reads[-1], 64)  # no bound: there is something to read
        out, err, ended = (b"".join(pieces) for pieces in _read(reads, within).values())
        pid, _, status = (pid + ended).partition(b" ")
        if not status:
            with contextlib.suppress(ProcessLookupError):
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
    """Fork for each request, and tell how each ends; returns in a child its command, here None when
    nobody asks any more.
    """
    living: dict[int, tuple[int, int]] = {}  # by its pidfd, who it is, and where its end is told
    while True:  # no bound: until its process is gone
        ready, _, _ = select.select([end, *living], [], [])  # no bound: so is this
        for over in filter(living.get, ready):
            child, ended = living.pop(over)
            _, status = os.waitpid(child, 0)  # no bound: it is over
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(ended, b"%d" % os.waitstatus_to_exitcode(status))
            os.close(ended)
            os.close(over)
        if end not in ready:
            continue
        asked, descriptors, _, _ = socket.recv_fds(end, LARGEST, 4)
        if not asked:
            return None
        *streams, ended = descriptors
        if (child := os.fork()) == 0:
            end.close()
            for pidfd, (_, told) in living.items():
                os.close(pidfd)
                os.close(told)
            os.close(ended)
            return _become(json.loads(asked), streams)
        for stream in streams:
            os.close(stream)
        os.write(ended, b"%d " % child)
        living[os.pidfd_open(child)] = child, ended


def _become(asked: tuple[list[str], dict[str, str], str], streams: Sequence[int]) -> list[str]:
    """In a child: its streams, its environment and its folder; returns its command."""
    words, environ, folder = asked
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # These were made for what was there before: one can seek in a file.
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    return words


def prepare() -> None:
    """Import what commands do, and read the packaged tables: they say the same to all."""
    for module in IMPORTED:
        importlib.import_module(module)
    cli = importlib.import_module("launcher.cli")
    cli.every_command()
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory() as folder, quiet[0], quiet[1]:
        os.environ["GLM5_SERVE_STATE_DIR"] = folder  # nobody's servers are asked
        given = Path(folder, "given")
        given.write_bytes(GIVEN)
        for asked in LOOKED_UP:
            words = asked.replace("GIVEN", str(given)).split()
            with contextlib.suppress(Exception):
                cli.cli.main(words, standalone_mode=False)


def leave(status: int) -> NoReturn:
    """End as an interpreter does, but for taking apart what was imported before the fork: that costs
    more than most commands.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    prepare()
    gc.collect()
    gc.freeze()  # or a fork's first collection copies all of it
    command = serve(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        sys.argv = [str(Path(sys.executable).with_name("glm5-serve")), *command]
        from launcher.cli import main

        try:
            main()
        except SystemExit as ended:
            leave(int(ended.code or 0))
