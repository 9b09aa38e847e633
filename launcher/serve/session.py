"""One run of the server: its session, started and signalled by this class alone, and counted to
zero.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.serve import cgroup, reaper
from launcher.statedir.processes import boot_id, start_ticks
from launcher.statedir.session import Session

# Read once: a package that is upgraded, or removed, under a running launcher must not change how it
# starts a server. The reaper gets it as a descriptor of its own: below /proc/<launcher> nobody may
# look who has fewer capabilities than the launcher, and under the unit the reaper has.
_REAPER = os.memfd_create("glm5-reaper", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
os.write(_REAPER, Path(reaper.__file__).read_bytes())
fcntl.fcntl(
    _REAPER, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
)
# the variable by which a server's processes are known when their launcher is gone
MARK = "GLM5_SERVE_SESSION"

PIECE = 1 << 16  # bytes that are read at a time
# bytes that the server may print before anybody reads; as much as any user may ask for
ROOM = 1 << 20
# What this host lacked for the first process, and may have again: no fault of the command's.
SHORT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY)
HERE_WITHIN = 10.0  # seconds for what a killed reaper left to go: a driver may hold it for ever


@dataclass(frozen=True)
class Died:
    """The end of the server's first process: `status` as waitpid has it, `how` in words."""

    status: int | None
    how: str


# Nobody can tell how the server itself ended: it went with the process that would have.
UNREAPED = Died(None, "its reaper was killed")


class ProcessTree:
    """A server under its reaper (see `reaper.py` for who kills what when)."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        unwanted: Sequence[str] = (),
        shared: Sequence[str] = (),
        *,
        held: bool = False,
        claim: str = "",
    ) -> None:
        """Start `argv` with `env` and a mark, which begins with the launcher's `claim`; `held` not
        before `go`. Output of every process goes to `self.output` (a pipe).

        Files that are `unwanted` after it, and those of shared memory with a name like one in
        `shared` that its processes mapped, are removed by whoever sees its end, be the launcher
        gone or not.
        """
        self.pid: int | None = None
        self.died: Died | None = None
        self._words = b""
        self._before = reaper.descendants(os.getpid(), zombies=True)
        with contextlib.ExitStack() as undo:
            self.control, theirs = socket.socketpair()
            undo.callback(self.control.close)
            undo.enter_context(theirs)
            self.output, output = os.pipe()
            # without room a server waits while we wait for a disk
            with contextlib.suppress(OSError):
                fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, ROOM)
            undo.callback(os.close, self.output)
            undo.callback(os.close, output)
            self.control.setblocking(False)
            os.set_blocking(self.output, False)
            own = os.urandom(16).hex()
            mark = f"{claim}.{own}" if claim else own
            self.cgroup = cgroup.make(own)
            program, end = f"/proc/self/fd/{_REAPER}", str(theirs.fileno())
            words = [f"{reaper.JOIN}{self.cgroup}"] if self.cgroup else []
            words += [f"{reaper.SHARED}{name}" for name in shared]
            words += [reaper.HELD] if held else []
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", program, end, *words, *unwanted, "--", *argv],
                env={**env, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[_REAPER, theirs.fileno()],
                start_new_session=True,
            )
            undo.pop_all()
        #: What its processes are known by without their launcher (see `serve/leftovers.py`).
        self.record = Session(
            mark=mark,
            boot_id=boot_id(),
            reaper=self._reaper.pid,
            reaper_ticks=start_ticks(self._reaper.pid),
            output=str(Path(f"/proc/self/fd/{self.output}").readlink()),
            cgroup=str(self.cgroup) if self.cgroup else None,
            shared=tuple(shared),
        )
        theirs.close()
        os.close(output)

    def go(self) -> None:
        """Start what was held."""
        self._say(b"G")

    def remember(self) -> None:
        """Have the reaper remember the shared memory that the server has by now."""
        self._say(b"S")

    def terminate(self) -> None:
        """SIGTERM to the server's first process alone.

        SGLang drains only then: a scheduler that gets the signal itself dies of it (seen on
        0.5.23).
        """
        self._say(b"T")
        self._wake()

    def kill(self) -> None:
        """SIGKILL to every process of the session."""
        self._say(b"K")
        self._wake()

    def _wake(self) -> None:
        """A reaper that somebody stopped, with its process group say, hears nothing."""
        self._reaper.send_signal(signal.SIGCONT)

    def listen(self) -> bool:
        """Take in what the reaper said; False once the last process is gone."""
        try:
            words = self.control.recv(4096)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            words = b""
        self._words += words
        *lines, self._words = self._words.split(b"\n")
        for line in lines:
            self._hear(line.decode())
        return bool(words)

    def pieces(self) -> Iterator[bytes]:
        """What the server printed and nobody read yet, at most a full pipe of it."""
        for _ in range(ROOM // PIECE + 1):
            try:
                piece = os.read(self.output, PIECE)
            except BlockingIOError:
                return
            if not piece:
                return
            yield piece

    def close(self, spare: int = 0) -> Died:
        """After `listen` said False: let go of everything, and say how the server ended.

        The launcher is a subreaper too: if the reaper itself was killed, its flock came here, and
        is killed here. Not so the child `spare`, and those that were there before the session.
        """
        self.control.close()
        if _end_of(self._reaper) != 0:
            if self.cgroup:
                cgroup.kill(self.cgroup)
            memory, spared = reaper.SharedMemory(self.record.shared), {spare, *self._before}
            memory.look(lambda: {*reaper.descendants(os.getpid())} - spared)
            reaper.exterminate(spared, HERE_WITHIN)
            memory.remove()
        if self.cgroup:
            cgroup.remove(self.cgroup)
        os.close(self.output)
        return self.died or UNREAPED

    def members(self) -> list[int]:
        """The living processes of the session, the reaper left out; none once it is over: pids are
        reused.
        """
        return reaper.descendants(self._reaper.pid) if self._reaper.returncode is None else []

    def _say(self, word: bytes) -> None:
        try:
            self.control.send(word)
        except OSError:
            return  # the reaper is gone: `listen` will tell

    def _hear(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "pid":
            self.pid = int(rest)
        elif word == "exec":
            number, _, why = rest.partition(" ")
            status = None if int(number) in SHORT else 127
            self.died = Died(status, f"could not be executed: {why}")
        elif word == "exit":
            self.died = Died(int(rest), in_words(int(rest)))


def _end_of(reaper: subprocess.Popen[bytes]) -> int | None:
    """How the reaper ended.

    It has let go of its socket: it is gone, or does not get away any more.
    """
    try:
        return reaper.wait(HERE_WITHIN)
    except subprocess.TimeoutExpired:
        return None


def in_words(status: int) -> str:
    """A wait status as an operator says it."""
    if status >= 0:
        return f"exited with status {status}"
    return (
        f"was killed by {signal.Signals(-status).name}"
        if -status in set(signal.Signals)
        else f"signal {-status}"
    )
