"""A launcher that is told to stop, waited for: what it does meanwhile is told. One whose files are
not to be believed is ended by the kernel's word.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from launcher import counting
from launcher.engines.server import Server
from launcher.errors import Exit, UserError
from launcher.files import ownership
from launcher.gateway.instances import plan_of
from launcher.gateway.runtime import runtime
from launcher.host.peer import Peer
from launcher.operate import whose
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key
from launcher.serve.reaper import descendants
from launcher.statedir.events import Event, parsed
from launcher.statedir.folder import Signalled, StateDir
from launcher.statedir.holder import Held, holder
from launcher.statedir.processes import start_ticks
from launcher.statedir.times import seconds_since

Tell = Callable[[str], None]
AT_ONCE = 1.0  # seconds for a stop that is worth no word
GONE_WITHIN = 90.0  # seconds for what a killed launcher leaves: a driver may hold a process
ASIDE = "of-root-"  # how the name of a file begins that is left in another user's folder
LATE = "not gone within"  # what a launcher says of a server that it had to kill


class Drain:
    """The drain of a launcher that was told to stop, told once it takes time."""

    def __init__(self, instance: StateDir, tell: Tell) -> None:
        self._instance, self._tell = instance, tell
        self._told_at = instance.told()
        self._plan = plan_of(instance)
        self._began, self._is_told = time.monotonic(), False

    def look(self) -> None:
        """Say that it drains, where it has for a moment."""
        if self._is_told or time.monotonic() < self._began + AT_ONCE:
            return
        seen = self._instance.look()
        if seen.state != "stopping":
            return
        self._is_told = True
        count = _in_flight(self._instance, self._plan)
        waits = f"{counting.of(count, 'request')} under way" if count else "what is under way ends"
        until = ""
        if self._plan:
            end = time.time() + _at_most(self._plan) - (seconds_since(seen.since, time.time()) or 0)
            until = f", until {time.strftime('%H:%M:%S', time.localtime(end))} at the latest"
        now = f"; `glm5-serve down --now --profile {self._instance.name}` kills it"
        self._tell(f"{self._instance.name} drains: {waits}{until}{now}")

    def end(self) -> str:
        """What came of it beside that it is down: that it had to be killed; else ""."""
        for event in reversed(_since(self._instance, self._told_at)):
            reason = str(event.fields.get("reason", ""))
            if event.kind == "state" and LATE in reason:
                return f"; {LATE}{reason.partition(LATE)[2].partition(';')[0]}"
        return ""


def _at_most(made: Plan) -> float:
    """Seconds that a stop may take before the server is killed (`serve/lifecycle._ask_to_go`)."""
    policy = made.policy
    leaves = policy.leave_within + policy.stop_timeout if policy.leave_within else 0.0
    return max(policy.drain_delay, leaves) + policy.stop_timeout


def _in_flight(instance: StateDir, made: Plan | None) -> int | None:
    """How many requests its server runs or holds; None where nobody can tell."""
    if made is None or made.follows:
        return None
    with contextlib.suppress(OSError, UserError, ValueError):
        key = read_key(Path(made.key_file)) if made.key_file else None
        launcher = instance.look().pids.launcher
        peer = Peer(lambda: descendants(launcher) if launcher else [])  # nobody else gets the key
        return runtime(made.engine).in_flight(Server(made.host, made.port, key, peer))
    return None


def _since(instance: StateDir, start: int) -> list[Event]:
    """The events that were told since there were so many bytes of them."""
    from launcher.files import guarded

    with contextlib.suppress(OSError), os.fdopen(guarded.opened(instance.events), "rb") as file:
        file.seek(start if instance.told() >= start else 0)
        return [*parsed(file.read().decode(errors="replace").splitlines())]
    return []


def end_astray(
    instance: StateDir, held: Held, number: int, wait: Callable[[Signalled], str]
) -> str:
    """End a launcher whose folder was given away, and what it started, by the kernel's word; in
    words, what was done. `wait` returns once it is over. Raises UserError.
    """
    if os.geteuid() not in (0, held.uid):
        what = f"{instance.name} is up, but {whose.in_words(instance, held)}"
        raise UserError(what, fix=f"{whose.ends_it(instance, held)}, as root")
    how = ""
    below = {pid: start_ticks(pid) for pid in descendants(held.pid)}
    try:
        told = Signalled(held.pid, os.pidfd_open(held.pid))
    except ProcessLookupError:
        return f"{instance.name} is down"
    with os.fdopen(told.pidfd):
        if holder(instance.folder, instance.lock.path) == held:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(told.pidfd, number)
            how = wait(told)
    killed = _kill(instance, below)
    aside = _set_aside(instance)
    return (
        f"{instance.name} is down: its launcher (pid {held.pid}) ran as"
        f" {ownership.user(held.uid)}{how}{killed}{aside}"
    )


def _kill(instance: StateDir, below: dict[int, int | None]) -> str:
    """Have what the launcher had started be gone: its reaper kills it, else this does."""
    alive: Callable[[], list[int]] = lambda: [
        pid for pid, ticks in below.items() if ticks and start_ticks(pid) == ticks
    ]
    if not (left := _waited(alive, 10.0)):
        return ""
    for pid in left:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            try:
                if start_ticks(pid) == below[pid]:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)
    if held := _waited(alive, GONE_WITHIN):
        raise UserError(
            f"processes of {instance.name} got SIGKILL and are not gone: {_listed(held)}",
            fix="the kernel holds them, most often in the driver: `dmesg` may say why; a reboot"
            " ends them",
            status=Exit.NO,
        )
    return f"; killed what was left of its server: {_listed(left)}"


def _waited(alive: Callable[[], list[int]], within: float) -> list[int]:
    until = time.monotonic() + within
    while (left := alive()) and time.monotonic() < until:
        select.select([], [], [], 0.05)
    return left


def _listed(pids: Iterable[int]) -> str:
    return ", ".join(f"pid {pid}" for pid in pids)


def _set_aside(instance: StateDir) -> str:
    """Have what root's launcher wrote there be in nobody's way who starts next, who is the folder's
    owner. It stays root's: he may have moved other files of root's there.
    """
    if os.geteuid():
        return ""
    with contextlib.suppress(OSError):
        folder = os.open(instance.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            owner = os.fstat(folder).st_uid
            with os.scandir(folder) as found:
                roots = [one.name for one in found if owner and _is_roots(one)]
            for name in roots:
                os.rename(name, f"{ASIDE}{name}", src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)
        left = f", what it wrote there as root is named {ASIDE}*" if roots else ""
        return f"; its state folder is owned by {ownership.user(owner)}{left}"
    return ""


def _is_roots(one: os.DirEntry[str]) -> bool:
    seen = one.stat(follow_symlinks=False)
    return stat.S_ISREG(seen.st_mode) and seen.st_uid == 0 and not one.name.startswith(ASIDE)
