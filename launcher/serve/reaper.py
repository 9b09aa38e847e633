"""A small init for one server: whatever the server starts, however it detaches, dies when the
launcher does.

Runs as a program of its own between the launcher and the server and needs no privilege:

    python -I -S reaper.py SOCKET [held] [join=CGROUP] [shared=NAME...] [UNWANTED...] -- COMMAND...

SOCKET is the descriptor that it talks by; `held`, it starts nothing before it is told to, so that
what is UNWANTED can be made when somebody is there to remove it. CGROUP is the control group that
all of it goes into, and each file UNWANTED is removed at the end, as are the files of shared memory
with a NAME (a glob) that the server's processes had mapped. It is a child subreaper, so
every orphan of the server becomes its child, and it holds one end of a socket whose other end the
launcher holds. The kernel closes that end when the launcher is gone, SIGKILL included; then, or
when it reads `K`, it kills every descendant until none is left.

    launcher -> reaper   G  go, where it was held
                         S  it serves: remember the shared memory that it has
                         T  SIGTERM to the server's first process
                         K  kill everything                        (closed)  the same
    reaper -> launcher   pid N | exec ERRNO WHY | exit STATUS      (closed)  the last is gone

`exit` comes when the first process ends, STATUS as waitpid has it (a signal is negative). Whatever
the server left behind is killed then: SGLang's own ranks may outlive their parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36
CAPABILITY_VERSION = (
    0x20080522  # of capset(2)'s structs: effective, permitted, inheritable; 32 bits, twice
)
CAP_SYS_PTRACE = 1 << 19
DEADLY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What a process does to itself, and what stops it: these stay what they are.
FAULTS = (
    *(
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGTRAP,
        signal.SIGSYS,
    ),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT),
)
TRACKER = b"multiprocessing.resource_tracker"
# Seconds for a tracker to remove what it keeps a list of, all others gone: those in which it does
# nothing, and in all; seconds between two looks at it.
TRACKED_WITHIN, TRACKED_AT_MOST, PAUSE = 2.0, 20.0, 0.01
HELD, JOIN, SHARED = "held", "join=", "shared="
MEMORY = "/dev/shm/"
# Seconds between two looks whether those that were killed are gone: clients wait for the next
# launch, and within a second most are; and later, for who is held by a driver.
LOOKS_SOON, SOON, LOOKS_LATE = 0.01, 1.0, 0.2
LOOKED_WITHIN = 5.0  # seconds: a driver may hold a process so that a look at it never ends
OOM = "/proc/{}/oom_score_adj"


def become_subreaper() -> None:
    """Have every orphaned descendant reparented to this process instead of to init (Linux >=
    3.4).
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(root: int, *, zombies: bool = False) -> list[int]:
    """The living processes below `root`, parents first; `zombies`: those that are dead and not
    collected, too.

    Raises OSError where this process cannot look (no descriptor left): nobody found would be a lie.
    """
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            # in one read, longer than any: each process of the host is looked at, again and again
            with open(f"/proc/{entry}/stat", "rb", buffering=0) as file:
                state, parent = file.read(4096).rpartition(b")")[2].split(None, 2)[:2]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if zombies or state != b"Z":
            children.setdefault(int(parent), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            found.append(child)
            todo.append(child)
    return found


def exterminate(spare: Collection[int] = (), within: float = math.inf) -> dict[int, int]:
    """Kill every descendant but those to `spare` until none is left, or `within` seconds are over.

    The status of each that was this process's own child. All are stopped before any is killed, so
    that none forks while the list is read. Python's resource trackers come last: once all others
    are gone they remove the shared memory that these left, which would hold memory until a reboot.
    Returns late when the driver holds one in
    uninterruptible sleep: nothing can kill that, and its memory is not free yet. One whose threads
    are not all gone looks like a zombie already, and holds its memory, too. Who became another user
    may not be killed, and is not waited for.
    """
    trackers = {pid for pid in _victims(set(spare)) or () if is_tracker(pid)}
    dead = _exterminate({*spare, *trackers}, within)
    if trackers:  # a look at who is left is one at every process of the host, and clients wait
        dead |= _let_end(trackers, set(spare), within)
        dead |= _exterminate(spare, within)
    return dead


def _let_end(trackers: set[int], spared: set[int], within: float) -> dict[int, int]:
    """Wait for the trackers; what they are kept from running on a busy host does not count."""
    dead: dict[int, int] = {}
    idle, end = 0.0, time.monotonic() + min(TRACKED_AT_MOST, within)
    for pid in trackers:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGCONT)
    while not trackers.isdisjoint(_victims(spared) or ()):
        if idle > TRACKED_WITHIN or time.monotonic() > end:
            break
        idle += 0.0 if any(map(_is_runnable, trackers)) else PAUSE
        time.sleep(PAUSE)
        dead |= reap()
    return dead


def _is_runnable(pid: int) -> bool:
    """Whether it runs, or would if there were a processor for it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"R"
    except OSError:
        return False


def is_tracker(pid: int) -> bool:
    """Whether it is a resource tracker of Python's `multiprocessing`, which ends by itself.

    Its command is asked last: the kernel may never answer that for a process that a driver holds,
    and a tracker has one thread, and waits for a pipe.
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            told = dict(line.partition(b":")[::2] for line in file)
        if int(told[b"Threads"]) > 1 or told[b"State"].strip().startswith(b"D"):
            return False
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return TRACKER in file.read()
    except (OSError, KeyError, ValueError):
        return False


def _exterminate(spare: Collection[int], within: float) -> dict[int, int]:
    dead: dict[int, int] = {}
    spared, pause, began = set(spare), 0.002, time.monotonic()
    while (victims := _victims(spared)) != []:
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims or ():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
                except PermissionError:
                    spared.add(pid)
        dead |= reap()
        took = time.monotonic() - began
        if took > within:
            break
        time.sleep(pause)
        pause = min(pause * 2, LOOKS_SOON if took < SOON else LOOKS_LATE)
    return dead | reap()


def _victims(spared: set[int]) -> list[int] | None:
    """Who is left but those to spare; None where that cannot be looked up now."""
    try:
        return [pid for pid in descendants(os.getpid(), zombies=True) if pid not in spared]
    except OSError:
        return None


def reap() -> dict[int, int]:
    """Collect every dead child: pid -> status, a signal as a negative number."""
    dead: dict[int, int] = {}
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return dead
            dead[pid] = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return dead


class SharedMemory:
    """The files of shared memory that a server's processes have mapped: those outlive them, and
    hold memory until a reboot.

    Only what bears one of the engine's `names` (globs) is ever removed: a model may lie in /dev/shm
    as well.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = names
        self.found: set[str] = set()

    def look(self, pids: Callable[[], Iterable[int]]) -> None:
        """Remember what these processes have mapped now, as far as that can be seen soon."""
        if self.names:
            _within(LOOKED_WITHIN, lambda: self._add(self.found, pids()))

    def remove(self) -> None:
        """Remove what is remembered of this user's, unless anybody who lives has it mapped, too."""
        left, used = [path for path in tuple(self.found) if _is_mine(path)], set[str]()
        if not left or not _within(LOOKED_WITHIN, lambda: self._add(used, _everybody())):
            return
        for path in left:
            if path not in used:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _add(self, to: set[str], pids: Iterable[int]) -> None:
        for pid in pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb") as file:
                for line in file:
                    _, slash, name = os.fsdecode(line.rstrip(b"\n")).partition(MEMORY)
                    if slash and any(fnmatchcase(name, wanted) for wanted in self.names):
                        to.add(MEMORY + name)


def _within(seconds: float, work: Callable[[], None]) -> bool:
    """Whether it was done so soon; it goes on aside where it was not."""
    done = threading.Event()

    def run() -> None:
        with contextlib.suppress(OSError):  # no descriptor left
            work()
            done.set()

    with contextlib.suppress(RuntimeError):  # no thread left
        threading.Thread(target=run, daemon=True).start()
        return done.wait(seconds)
    return False


def _everybody() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _is_mine(path: str) -> bool:
    try:
        return os.lstat(path).st_uid == os.geteuid()
    except OSError:
        return False


def start(control: int, command: list[str]) -> int | None:
    """Start the server; its pid, or None when the command cannot be executed.

    The launcher is told either way.
    """
    try:
        server = os.posix_spawnp(
            command[0], command, os.environ, setsigdef=_catchable(), setsigmask=[]
        )
    except OSError as error:
        say(control, f"exec {error.errno} {error.strerror}: {command[0]}")
        return None
    say(control, f"pid {server}")
    unprotect(server)
    return server


def unprotect(server: int) -> None:
    """Where the kernel is to spare the launcher (OOMScoreAdjust= of our unit), it is not to spare
    the server.

    The server holds the memory: were it spared, the kernel would kill others for it.
    """
    try:
        with open(OOM.format("self")) as file:
            if int(file.read()) >= 0:
                return
        with open(OOM.format(server), "w") as file:
            file.write("0")
    except OSError:
        return  # no /proc, or it is gone already


def _catchable() -> list[signal.Signals]:
    """Every signal that can be handled."""
    return sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def watch(control: int, signals: int, server: int, look: Callable[[], None]) -> None:
    """Obey the launcher until the server ends, or has to; its status is told then."""
    dead: dict[int, int] = {}
    told_to_kill = False
    while server not in dead and not told_to_kill:
        for ready in select.select([control, signals], [], [])[0]:
            word = hear(ready)
            if ready is signals:
                told_to_kill |= not set(word).isdisjoint(DEADLY)
            else:
                told_to_kill |= not word or b"K" in word
                look()
                if b"T" in word:
                    os.kill(server, signal.SIGTERM)
        dead |= reap()
    if server not in dead:
        dead |= exterminate()
    say(control, f"exit {dead.get(server, -signal.SIGKILL)}")


def lay_down_capability(libc: ctypes.CDLL) -> None:
    """What our unit hands on to the launcher (CAP_SYS_PTRACE, inheritable) no server may have.

    Where no new privileges may be got, as in the unit, not even root gets it back.
    """
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    if sets[2] & CAP_SYS_PTRACE:
        for index in range(3):
            sets[index] &= ~CAP_SYS_PTRACE
        libc.capset(header, sets)


def hear(end: int, at_most: int = 64) -> bytes:
    """What came, or nothing when the other end is gone; with words unread there, the kernel calls
    it a reset.
    """
    try:
        return os.read(end, at_most)
    except ConnectionResetError:
        return b""


def say(control: int, text: str) -> None:
    """Tell the launcher, if it is still there."""
    with contextlib.suppress(OSError):
        os.write(control, text.encode() + b"\n")


def main() -> None:
    """Take the socket and the command from the command line."""
    dashes = sys.argv.index("--")
    end, words = int(sys.argv[1]), sys.argv[2:dashes]
    is_held = HELD in words
    unwanted = [word for word in words if word != HELD and not word.startswith((JOIN, SHARED))]
    memory = SharedMemory([word.removeprefix(SHARED) for word in words if word.startswith(SHARED)])

    def look() -> None:
        memory.look(lambda: descendants(os.getpid()))

    os.closerange(3, end)
    os.closerange(end + 1, 1 << 20)
    os.set_inheritable(end, False)
    become_subreaper()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NAME, b"glm5-reaper", 0, 0, 0)
    # Who stopped it as well as killed the launcher would keep it from hearing that.
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)
    lay_down_capability(libc)
    for word in words:
        if word.startswith(JOIN):
            join(word.removeprefix(JOIN))
    signals = hear_signals()
    try:
        goes = not is_held or hear(end, 1) == b"G"
        if goes and (server := start(end, sys.argv[dashes + 1 :])):
            watch(end, signals, server, look)
    finally:
        look()
        exterminate()  # what the server left; and a bug above must not cost the operator a GPU
        memory.remove()
        for path in unwanted:
            with contextlib.suppress(OSError):
                remove(path)


def remove(path: str) -> None:
    """Remove a file, or an empty folder; but none of another folder that a symlink leads to by now.
    Raises OSError.
    """
    folder, name = os.path.split(path)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            os.unlink(name, dir_fd=place)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=place)
    finally:
        os.close(place)


def join(group: str) -> None:
    """Go into a control group, with all that is started from now on."""
    with contextlib.suppress(OSError), open(f"{group}/cgroup.procs", "w") as file:
        file.write("0")


def hear_signals() -> int:
    """A descriptor that tells of signals.

    None of them ends this process, whatever the launcher's parent did.
    """
    signals, bell = os.pipe()
    os.set_blocking(bell, False)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    for number in _catchable():
        if number not in FAULTS:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return signals


if __name__ == "__main__":
    main()
