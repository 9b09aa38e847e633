"""Which process a record means, and what it does, as the kernel has it: a pid alone tells
neither.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from launcher.statedir.state import LauncherRecord

CGROUPS = Path("/sys/fs/cgroup")
PROGRAM = b"launcher.supervise"  # the module that a launcher runs


def boot_id() -> str:
    """Which boot of the machine this is: a pid means nothing in another one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_ticks(pid: int) -> int | None:
    """When `pid` was started, in clock ticks since boot; None when there is no such process.

    With the boot id it names a process for good: pids are reused.
    """
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return None


def is_alive(launcher: LauncherRecord, owner: int) -> bool:
    """Whether the process that a state file names is still the same, a launcher, and its `owner`'s
    or ours.
    """
    return uid_of(launcher.pid) in (owner, os.geteuid()) and is_same(launcher)


def is_launcher(pid: int) -> bool:
    """Whether a process runs the program that `up` becomes."""
    with contextlib.suppress(OSError):
        return any(
            word.endswith(b"supervise")
            for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        )
    return False


def launchers() -> Iterator[tuple[int, int, Path]]:
    """Every launcher that this user sees, whoever's: its pid, its user, and the folder that it
    serves from by its own word.
    """
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            folder = os.fsdecode(words[words.index(PROGRAM) + 1])
            pid = int(entry.name)
            if (uid := uid_of(pid)) is not None and folder.startswith("/"):
                yield pid, uid, Path(folder)


def has_program(pid: int) -> bool:
    """Whether it still runs anything: one that ends does not, nor does a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


def uid_of(pid: int) -> int | None:
    """Whose a process is.

    Who owns its folder in /proc is not asked: root does, where nobody may trace it.
    """
    with contextlib.suppress(OSError, IndexError, ValueError):
        status = Path(f"/proc/{pid}/status").read_bytes()
        return int(status.partition(b"\nUid:")[2].split()[1])
    return None


def run_state(pid: int) -> str | None:
    """The letter that the kernel has for what a process does, `T` if it is stopped; None if it is
    dead.
    """
    try:
        letter = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return None
    return None if letter in "ZX" else letter


def halted(pid: int) -> str | None:
    """What keeps a living process from doing anything, to follow its number; None where nothing
    is seen to.
    """
    if run_state(pid) == "T":
        return "is stopped by a signal"
    return "is frozen with its control group" if _is_frozen(pid) else None


def _is_frozen(pid: int) -> bool:
    """Whether somebody froze its control group (`docker pause`), as far as that is to be seen."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                events = CGROUPS / path.lstrip("/") / "cgroup.events"
                if events.exists() and "frozen 1" in events.read_text():
                    return True
            elif controllers == "freezer":
                state = CGROUPS / "freezer" / path.lstrip("/") / "freezer.state"
                if state.exists() and state.read_text().strip() != "THAWED":
                    return True
    return False


def is_here(pid: int) -> bool:
    """Whether a process lives in this PID namespace, and not in one of a container below it."""
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text()
        numbers = [line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")]
        return pid > 0 and len(numbers[0]) == 1
    return False


def is_same(launcher: LauncherRecord) -> bool:
    """Whether the process that a state file names is still the same, and a launcher, whoever's."""
    pid = launcher.pid
    if launcher.boot_id != boot_id() or start_ticks(pid) != launcher.start_ticks:
        return False
    return is_launcher(pid)


def pid_namespace() -> str | None:
    """What the numbers of processes mean something in; None where the kernel does not say."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  it names nothing that a path could
    except OSError:
        return None


def is_elsewhere(launcher: LauncherRecord) -> bool:
    """Whether a launcher lives where pids mean other processes: in a container, or outside of this
    one.
    """
    return bool(launcher.pid_namespace) and launcher.pid_namespace != pid_namespace()
