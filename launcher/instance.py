"""A profile that is, or was, up: its folder, who holds it, and what it last said.

<state home>/<profile>/lock         held (flock) by the launcher as long as it lives: the kernel lets go for it
                       plan.json    what runs (no secrets)         state.json    how it is, replaced atomically
                       events.jsonl what happened                  server.log    what the server printed, scrubbed
                       launcher.log what the launcher printed (--detach)
                       readings.json probe latency and GPUs, every few seconds
                       stacks-N.txt what the processes of run N did when it hung
                       config.yaml  the API key for SGLang, mode 0600, while the launcher lives
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from launcher.errors import Exit, RefusalError
from launcher.serverlog import rotate

SCHEMA = 1
LARGEST_EVENTS = 8 << 20  # bytes
KEPT_EVENTS = 2  # older files of them
KEPT_STACKS = 5  # of runs that hung
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def state_home(environ: Mapping[str, str]) -> Path:
    """Where instances keep their files.

    `$GLM5_SERVE_STATE_DIR`; under systemd `$STATE_DIRECTORY`; `/var/lib/glm5-serve` for root, so that root's
    shell finds what the service runs; else `$XDG_STATE_HOME/glm5-serve`.
    """
    if said := environ.get("GLM5_SERVE_STATE_DIR") or environ.get("STATE_DIRECTORY"):
        return Path(said)
    if os.geteuid() == 0:
        return Path("/var/lib/glm5-serve")
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local/state")
    return Path(base) / "glm5-serve"


def now_text() -> str:
    """The time of day as the files say it: UTC, ISO 8601, milliseconds."""
    seconds, fraction = divmod(time.time(), 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(fraction * 1000):03d}Z"


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


def is_alive(launcher: Mapping[str, Any]) -> bool:
    """Is the process that a state file names still the same one? Raises KeyError, TypeError for no such record."""
    return bool(launcher["boot_id"] == boot_id() and start_ticks(launcher["pid"]) == launcher["start_ticks"])


class Instance:
    """The folder of one profile."""

    def __init__(self, home: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise RefusalError(
                f"profile name {name!r} cannot name a folder",
                fix="rename the file: letters, digits and . _ - only",
                status=Exit.USAGE,
            )
        self.name = name
        self.folder = home / name
        self.lock = self.folder / "lock"
        self.plan = self.folder / "plan.json"
        self.state = self.folder / "state.json"
        self.events = self.folder / "events.jsonl"
        self.readings = self.folder / "readings.json"
        self.server_log = self.folder / "server.log"
        self.launcher_log = self.folder / "launcher.log"

    def stacks(self, run: int) -> Path:
        """Where the stacks of a run that hung are kept."""
        return self.folder / f"stacks-{run}.txt"

    def forget_stacks(self, run: int) -> None:
        """Make room for a run's stacks: those that another launcher's run of this number left, and the oldest."""
        older = sorted(self.folder.glob("stacks-*.txt"), key=lambda path: path.stat().st_mtime)
        for path in (*older[:-KEPT_STACKS], self.stacks(run)):
            path.unlink(missing_ok=True)

    def claim(self) -> int:
        """Become the one launcher of this profile: an open, locked descriptor, to be kept for life.

        Raises RefusalError when another launcher holds it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._probe_disk()
        except OSError as error:
            raise self.cannot_write(error) from None
        for attempt in range(10):  # `status` holds the lock for an instant when it looks
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            time.sleep(0.01 * attempt)
        os.close(lock)
        seen = self.look()
        raise RefusalError(
            f"profile {self.name} is up already: {seen['state']} since {seen.get('since')}, "
            f"launcher pid {seen.get('pids', {}).get('launcher')}",
            fix=f"`glm5-serve status --profile {self.name}` shows it, `glm5-serve down --profile {self.name}` "
            "stops it",
            status=Exit.NO,
        )

    def cannot_write(self, error: OSError) -> RefusalError:
        """The refusal for a folder that takes no files."""
        if error.errno == errno.ENOSPC:
            fix = f"free some space: `df -h {self.folder.parent}`"
        else:
            fix = "give this user the folder, or choose another with GLM5_SERVE_STATE_DIR"
        return RefusalError(f"cannot write the state folder {self.folder}: {error.strerror}", fix=fix)

    def _probe_disk(self) -> None:
        probe = self.folder / f".probe-{os.getpid()}"
        try:
            probe.write_bytes(b"x" * 65536)
        finally:
            probe.unlink(missing_ok=True)

    def holds(self, lock: int) -> bool:
        """Whether the descriptor is of the lock that lies in the folder now: none lies in one that was removed."""
        try:
            return os.path.samestat(os.fstat(lock), self.lock.stat())
        except FileNotFoundError:
            return False

    def is_held(self) -> bool:
        """Is a launcher alive? The kernel answers: no pid is compared."""
        try:
            lock = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def write(self, path: Path, data: Mapping[str, Any]) -> None:
        """Replace a JSON file whole, or leave the old one whole. Raises OSError."""
        fresh = path.with_suffix(f".{os.getpid()}")
        try:
            fresh.write_text(json.dumps(data, indent=1) + "\n")
            if os.geteuid() == 0:  # root may restart what a service of another user runs
                owner = self.folder.stat()
                os.chown(fresh, owner.st_uid, owner.st_gid)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)

    def told(self) -> int:
        """How many bytes of events there are so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.events.stat().st_size
        return 0

    def tell(self, event: Mapping[str, Any]) -> None:
        """Append an event; a file that had grown large is `events.jsonl.1` from then on. Raises OSError."""
        if self.told() > LARGEST_EVENTS:
            rotate(self.events, KEPT_EVENTS)
        with self.events.open("a") as file:
            file.write(json.dumps(event) + "\n")

    def look(self) -> dict[str, Any]:
        """How it is, for anybody who asks: never raises, and says so when what it finds cannot be believed."""
        held = self.is_held()
        try:
            seen = json.loads(self.state.read_text())
            if seen["schema"] != SCHEMA:
                return self._bare(
                    "unknown", f"{self.state} has schema {seen['schema']}, this glm5-serve reads {SCHEMA}"
                )
            pid, same = int(seen["launcher"]["pid"]), is_alive(seen["launcher"])
            seen |= {"state": str(seen["state"]), "pids": dict(seen["pids"])}  # what every reader relies on
        except FileNotFoundError:
            return (
                self._bare("starting", "being launched") if held else self._bare("stopped", "never started here")
            )
        except PermissionError:
            return self._bare("unknown", f"{self.state} may not be read by this user")
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            return self._bare("unknown", f"{self.state} was not written by glm5-serve: {type(error).__name__}")
        if held and same:
            return dict(seen)
        if held:
            return self._bare("starting", "being launched")
        if seen["state"] not in ("stopped", "failed"):
            seen |= {
                "state": "dead",
                "reason": f"the launcher (pid {pid}) is gone without a word; it was {seen['state']}",
            }
        return {**seen, "pids": {}}

    def _bare(self, state: str, reason: str) -> dict[str, Any]:
        return {"schema": SCHEMA, "profile": self.name, "state": state, "reason": reason, "pids": {}}

    def signal(self, number: signal.Signals) -> int | None:
        """Signal the launcher; a pidfd to wait on, or None when none is alive. Pid reuse cannot misdirect it."""
        try:
            launcher = json.loads(self.state.read_text())["launcher"]
            pidfd = os.pidfd_open(launcher["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with contextlib.suppress(ProcessLookupError, KeyError, TypeError):
            if self.is_held() and is_alive(launcher):
                signal.pidfd_send_signal(pidfd, number)
                return pidfd
        os.close(pidfd)
        return None


def parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events that lines of an events file tell; a full disk cuts some short, and those are left out."""
    for line in lines:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                yield event


def known(home: Path) -> list[Instance]:
    """Every instance that is or was up from this state home, those of other users too.

    A profile that was refused leaves only a lock, and whatever else lies there is not ours.
    """
    with contextlib.suppress(OSError):
        names = sorted(path.name for path in home.iterdir() if _NAME.fullmatch(path.name))
        return [instance for instance in (Instance(home, name) for name in names) if _was_up(instance)]
    return []


def _was_up(instance: Instance) -> bool:
    """Whether there is something to tell; of a folder that is closed to us, that it is closed."""
    try:
        return instance.state.exists() or instance.is_held()
    except PermissionError:
        return True
    except OSError:
        return False
