"""A profile that is, or was, up: its folder, who holds it, and what it last said.

<state home>/<profile>/
    lock           held (flock) by the launcher as long as it lives: the kernel lets go for it
    plan.json      what runs (no secrets)
    state.json     how it is, replaced atomically
    events.jsonl   what happened
    server.log     what the server printed, scrubbed
    launcher.log   what the launcher printed (--detach)
    readings.json  probe latency and GPUs, every few seconds
    starts.json    how long each phase of the last starts took
    stacks-N.txt   what the processes of run N did when it hung
    config.yaml    the API key for the engine, mode 0600, while the launcher lives
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import signal
import stat
import time
from calendar import timegm
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from launcher import __version__, printable
from launcher.errors import Exit, UserError
from launcher.files import guarded, reading
from launcher.files.ownership import require_private
from launcher.files.reading import UnfitError
from launcher.files.rotation import rotate
from launcher.statedir import namelock, starts
from launcher.statedir.events import Event, parsed
from launcher.statedir.schema import OtherSchemaError, if_any
from launcher.statedir.session import Session
from launcher.statedir.state import BARE, LauncherRecord, Pids, StateRecord

LARGEST_STATE = 1 << 20  # bytes; it has some two thousand
LARGEST_EVENTS = 8 << 20  # bytes
LARGEST_END = 64 << 10  # bytes of events that are looked at for the last state
FINAL = ("stopped", "failed")  # states that a launcher ends in
KEPT_EVENTS = 2  # older files of them
KEPT_STACKS = 5  # of runs that hung
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(@[1-9][0-9]{0,2})?")  # a replica's has its number


def state_home(environ: Mapping[str, str]) -> Path:
    """Where instances keep their files.

    `$GLM5_SERVE_STATE_DIR`; under systemd `$STATE_DIRECTORY`; `/var/lib/glm5-serve` for root, so
    that root's shell finds what the service runs; else `$XDG_STATE_HOME/glm5-serve`.
    """
    if said := environ.get("GLM5_SERVE_STATE_DIR") or environ.get("STATE_DIRECTORY"):
        return Path(said)
    if os.geteuid() == 0:
        return Path("/var/lib/glm5-serve")
    base, owner = Path(environ.get("XDG_STATE_HOME", "")), Path(environ.get("HOME", ""))
    if not base.is_absolute():  # a relative one is none, says the specification
        base = (owner if owner.is_absolute() else Path("/")) / ".local/state"
    return base / "glm5-serve"


def now_text() -> str:
    """The time of day as the files say it: UTC, ISO 8601, milliseconds."""
    seconds, fraction = divmod(time.time(), 1)
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(fraction * 1000):03d}Z"
    )


def seconds_since(since: str | None, now: float) -> float | None:
    """Seconds from a time of day as the files say it to `now` (since 1970); None for what is no
    such time. Clocks are set: less than none is none.
    """
    try:
        return max(0.0, now - timegm(time.strptime((since or "")[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None


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
    pid = launcher.pid
    if launcher.boot_id != boot_id() or start_ticks(pid) != launcher.start_ticks:
        return False
    return _uid(pid) in (owner, os.geteuid()) and is_launcher(pid)


def is_launcher(pid: int) -> bool:
    """Whether a process runs the program that `up` becomes."""
    with contextlib.suppress(OSError):
        return any(
            word.endswith(b"supervise")
            for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        )
    return False


def has_program(pid: int) -> bool:
    """Whether it still runs anything: one that ends does not, nor does a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


def _uid(pid: int) -> int | None:
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


def pid_namespace() -> str | None:
    """What the numbers of processes mean something in; None where the kernel does not say."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115  it names nothing that a path could
    except OSError:
        return None


class Signalled(NamedTuple):
    """A launcher that got a signal, with a pidfd to wait for its end on."""

    pid: int
    pidfd: int


class Claim(NamedTuple):
    """What makes a process the one launcher of an instance, as long as it keeps these descriptors
    open.
    """

    lock: int  # of the lock file
    name: int | None  # of the name (see `namelock`), where one is to be had

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.lock,) if self.name is None else (self.lock, self.name)

    def release(self) -> None:
        """Let another launcher have it."""
        for descriptor in self.descriptors:
            os.close(descriptor)


class StateDir:
    """The folder of one profile."""

    def __init__(self, home: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise UserError(
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
        self.starts = self.folder / starts.FILE
        self.server_log = self.folder / "server.log"
        self.launcher_log = self.folder / "launcher.log"

    def stacks(self, run: int) -> Path:
        """Where the stacks of a run that hung are kept."""
        return self.folder / f"stacks-{run}.txt"

    def forget_stacks(self, run: int) -> None:
        """Make room for a run's stacks: those that another launcher's run of this number left, and
        the oldest.
        """
        older = sorted(self.folder.glob("stacks-*.txt"), key=lambda path: path.lstat().st_mtime)
        for path in (*older[:-KEPT_STACKS], self.stacks(run)):
            path.unlink(missing_ok=True)

    def claim(self) -> Claim:
        """Become the one launcher of this profile: descriptors to be kept for life.

        Raises UserError when another launcher holds it, the folder cannot be written, or not by
        us alone.
        """
        try:
            name = namelock.take(self.folder)
        except namelock.HeldError as held:
            if held.pid != os.getpid():  # who makes its folder anew has its name already
                raise self._is_up(held.pid) from None
            name = None
        except OSError as error:
            raise self.cannot_write(error) from None
        try:
            return Claim(self._lock(), name)
        except BaseException:
            if name is not None:
                os.close(name)
            raise

    def abandon(self, claim: Claim) -> None:
        """Let another launcher have it, and leave nothing of a start that was refused. Nobody else
        starts it meanwhile: the name is held.
        """
        if claim.name is not None:
            with contextlib.suppress(OSError):
                if [*self.folder.iterdir()] == [self.lock]:
                    self.lock.unlink()
                    self.folder.rmdir()
        claim.release()

    def _lock(self) -> int:
        try:
            self._make_folder()
            require_private(self.folder)
            self._require_regular()
            lock = guarded.opened(self.lock, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self.cannot_write(error) from None
        try:
            for attempt in range(10):  # `status` holds the lock for an instant when it looks
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._probe_disk()
                    self._sign(lock)
                    return lock
                time.sleep(0.01 * attempt)
            raise self._is_up(None)
        except OSError as error:
            os.close(lock)
            raise self.cannot_write(error) from None
        except BaseException:
            os.close(lock)
            raise

    def _make_folder(self) -> None:
        for above in reversed(self.folder.parents):
            above.mkdir(mode=0o755, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def _require_regular(self) -> None:
        files = (
            self.lock,
            self.plan,
            self.state,
            self.events,
            self.readings,
            self.starts,
            self.server_log,
            self.launcher_log,
        )
        for path in files:
            if kind := guarded.strange(path):
                fix = f"look where it comes from, then remove it: `rm {path}`"
                raise UserError(f"{path} is {kind}, wanted a regular file", fix=fix)

    def _is_up(self, pid: int | None) -> UserError:
        seen = self.look()
        pid = pid or seen.pids.launcher
        since = f" since {seen.since}" if seen.since else ""
        lost = (
            ", although its state folder was removed"
            if pid and is_launcher(pid) and not self.is_held()
            else ""
        )
        return UserError(
            f"{self.name} is already up: {seen.state}{since}, launcher pid {pid}{lost}",
            fix=(
                f"`glm5-serve status --profile {self.name}` shows it, `glm5-serve down --profile"
                f" {self.name}` stops it"
            ),
            status=Exit.NO,
        )

    def _sign(self, lock: int) -> None:
        """Write into the lock what the state file of its holder will have, too."""
        os.ftruncate(lock, 0)
        os.pwrite(lock, os.urandom(8).hex().encode(), 0)

    def _signature(self) -> str:
        with contextlib.suppress(OSError):
            return guarded.read(self.lock, 64).decode(errors="replace")
        return ""

    def holds(self, lock: int) -> bool:
        """Whether the lock that is held on a descriptor is still that of this folder, which may be
        another now.
        """
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return os.path.samestat(self.lock.lstat(), os.fstat(lock))
        return False

    def launcher_record(self) -> LauncherRecord:
        """What a launcher writes of itself into its state file, for others to know it by."""
        pid = os.getpid()
        return LauncherRecord(
            pid, start_ticks(pid), boot_id(), pid_namespace(), self._signature(), __version__
        )

    def cannot_write(self, error: OSError) -> UserError:
        """The refusal for a folder that takes no files."""
        if error.errno == errno.ENOSPC:
            fix = f"free some space: `df -h {self.folder.parent}`"
        else:
            fix = "give this user the folder, or choose another with GLM5_SERVE_STATE_DIR"
        return UserError(f"cannot write the state folder {self.folder}: {error.strerror}", fix=fix)

    def _probe_disk(self) -> None:
        probe = self.folder / ".probe"
        try:
            guarded.replace(probe, b"x" * 65536)
        finally:
            probe.unlink(missing_ok=True)

    def is_held(self) -> bool:
        """Is a launcher alive? The kernel answers: no pid is compared."""
        try:
            lock = guarded.opened(self.lock)
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
        guarded.replace(path, f"{json.dumps(data, indent=1)}\n".encode())

    def told(self) -> int:
        """How many bytes of events there are so far."""
        with contextlib.suppress(FileNotFoundError):
            return self.events.stat().st_size
        return 0

    def tell(self, event: Event) -> None:
        """Append an event; a file that had grown large is `events.jsonl.1` from then on.

        Raises OSError.
        """
        if self.told() > LARGEST_EVENTS:
            rotate(self.events, KEPT_EVENTS)
        with os.fdopen(guarded.opened(self.events, guarded.APPEND), "a") as file:
            file.write(json.dumps(event.to_json()) + "\n")

    def look(self) -> StateRecord:
        """How it is, for anybody who asks: never raises, and says so when what it finds cannot be
        believed.
        """
        held = self.is_held()
        try:
            seen, launcher = self._recorded()
            same = self._is_of_holder(launcher)
        except FileNotFoundError:
            return (
                self._bare("starting", "being launched")
                if held
                else self._bare("stopped", "never started here")
            )
        except PermissionError:
            return self._bare("unknown", f"{self.state} may not be read by this user")
        except UnfitError as error:
            return self._bare("unknown", f"{error.filename} {error.strerror}")
        except OtherSchemaError as error:
            return self._bare("unknown", f"{self.state} {error}")
        except (OSError, ValueError) as error:
            return self._bare("unknown", f"{self.state} was not written by glm5-serve: {error}")
        if held and same:
            return self._living(seen, launcher)
        if held and not self._is_going(launcher):
            return self._bare("starting", "being launched")
        return self._ended(seen, launcher)

    def _recorded(self) -> tuple[StateRecord, LauncherRecord]:
        """What the state file tells, and of which launcher. Raises OSError, ValueError."""
        seen = StateRecord.from_json(self._json())
        if seen.launcher is None:
            raise ValueError("it names no launcher")
        return seen, seen.launcher

    def _json(self) -> Any:
        """What the state file holds. Raises OSError; ValueError also where it is a copy of another
        instance's: what that one's processes are is none of ours.
        """
        data = reading.parsed(guarded.read(self.state, LARGEST_STATE))
        if isinstance(data, dict) and data.get("profile") not in (None, self.name):
            raise ValueError(f"it is of {printable.line(str(data['profile'])[:80])}")
        return data

    def unsaid_end(self) -> str:
        """How the launcher before this one ended, where it said nothing of it; else "". For who
        holds the instance, and has not written its own state yet. A launcher that became one of
        another version is the same process, and did not end.
        """
        with contextlib.suppress(OSError, ValueError):
            seen, launcher = self._recorded()
            ended = self._ended(seen, launcher)
            is_other = launcher.pid != os.getpid()
            return ended.reason if is_other and ended.state == "dead" else ""
        return ""

    def _ended(self, seen: StateRecord, launcher: LauncherRecord) -> StateRecord:
        """What is so without a launcher: the end that it told, else that it died."""
        seen = replace(seen, pids=Pids())
        if seen.state in FINAL:
            return seen
        # a full disk takes a line of events, and no new state file
        if last := self._last_told(str(seen.since)):
            reason = str(last.fields.get("reason"))
            return seen.but(state=last.fields["state"], reason=reason, since=last.time)
        pid, was = launcher.pid, seen.state
        reason = f"the launcher (pid {pid}) died unexpectedly (killed?) while {was}"
        return seen.but(state="dead", reason=reason)

    def _last_told(self, since: str) -> Event | None:
        """The final state that the events end with, told after the state file's; None where they
        do not.
        """
        try:
            with os.fdopen(guarded.opened(self.events), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LARGEST_END))
                lines = file.read(LARGEST_END).decode(errors="replace").splitlines()
        except OSError:
            return None
        told = [event for event in parsed(lines) if event.kind == "state"]
        if not told or told[-1].fields.get("state") not in FINAL or told[-1].time < since:
            return None
        return told[-1]

    def _living(self, seen: StateRecord, launcher: LauncherRecord) -> StateRecord:
        """What a launcher said that holds its lock, unless it cannot have noticed what became of
        its server.
        """
        if is_elsewhere(launcher):
            reason = f"{seen.reason}; its launcher lives in another PID namespace"
            return seen.but(pids=Pids(), reason=reason)
        pid, server, was = launcher.pid, seen.pids.server, seen.state
        if run_state(pid) == "T":
            reason = (
                f"the launcher (pid {pid}) is stopped by a signal, nothing watches the server; it"
                f" was {was}"
            )
            return seen.but(state="unknown", reason=reason)
        if was == "ready" and server and run_state(server) is None:
            reason = (
                f"the server (pid {server}) is dead, which the launcher (pid {pid}) has not"
                " told yet"
            )
            return seen.but(state="unknown", reason=reason)
        return seen

    def _is_of_holder(self, launcher: LauncherRecord) -> bool:
        """Whether a record is that of who holds the lock. Raises OSError."""
        if is_elsewhere(launcher):
            return bool(launcher.claim) and launcher.claim == self._signature()
        return is_alive(launcher, self.folder.lstat().st_uid)

    def _is_going(self, launcher: LauncherRecord) -> bool:
        """Whether a record's launcher is on its way out: a process loses its program, all that a
        look at it shows, before its locks.
        """
        pid = launcher.pid
        is_it = not is_elsewhere(launcher) and launcher.boot_id == boot_id()
        return (
            is_it
            and start_ticks(pid) == launcher.start_ticks
            and not has_program(pid)
            and namelock.holder(self.folder) in (None, pid)
        )

    def has_said(self, pid: int, states: Collection[str]) -> bool:
        """Whether the launcher of that pid wrote one of these states last."""
        launcher = self._launcher()
        return launcher is not None and launcher.pid == pid and self._part("state") in states

    def session(self) -> Session:
        """What marks the processes of the last server (`serve.leftovers`); without any mark where
        nothing was told.
        """
        session, launcher = if_any(Session.from_json, self._part("session")), self._launcher()
        if session is None:
            return Session()
        if launcher and is_elsewhere(launcher):  # its pids mean nothing here
            session = replace(session, reaper=None)
        if launcher and session.boot_id is None:
            session = replace(session, boot_id=launcher.boot_id)
        return session

    def _bare(self, state: str, reason: str) -> StateRecord:
        return StateRecord(self.name, state, reason=reason, parts=BARE)

    def _part(self, name: str) -> Any:
        """A part of the state file, whatever the rest of it is; None where there is no such."""
        with contextlib.suppress(OSError, ValueError):
            said = self._json()
            return said.get(name) if isinstance(said, dict) else None
        return None

    def _launcher(self) -> LauncherRecord | None:
        return if_any(LauncherRecord.from_json, self._part("launcher"))

    def is_elsewhere(self) -> bool:
        """Whether a launcher is alive that lives in another PID namespace: nothing here can signal
        it.
        """
        launcher = self._launcher()
        if launcher is None or not is_elsewhere(launcher) or not self.is_held():
            return False
        with contextlib.suppress(OSError):
            return self._is_of_holder(launcher)
        return False

    def signal(self, number: int) -> Signalled | None:
        """Signal the launcher, None when none is alive here. Pid reuse cannot misdirect it.

        Raises PermissionError for the launcher of another user.
        """
        launcher = self._launcher()
        if launcher is None:
            return None
        try:
            signalled = Signalled(launcher.pid, os.pidfd_open(launcher.pid))
        except (OSError, OverflowError, ValueError):
            return None
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, signalled.pidfd)
            with contextlib.suppress(ProcessLookupError):
                if self.is_held() and not is_elsewhere(launcher) and self._is_of_holder(launcher):
                    signal.pidfd_send_signal(signalled.pidfd, number)
                    undo.pop_all()
                    return signalled
        return None


def is_elsewhere(launcher: LauncherRecord) -> bool:
    """Whether a launcher lives where pids mean other processes: in a container, or outside of this
    one.
    """
    return bool(launcher.pid_namespace) and launcher.pid_namespace != pid_namespace()


def known(home: Path) -> list[StateDir]:
    """Every instance that is or was up from this state home, those of other users too.

    A profile that was refused leaves only a lock, and whatever else lies there is not ours.
    """
    with contextlib.suppress(OSError):
        names = sorted(path.name for path in home.iterdir() if _NAME.fullmatch(path.name))
        return [
            instance for instance in (StateDir(home, name) for name in names) if _was_up(instance)
        ]
    return []


def _was_up(instance: StateDir) -> bool:
    """Whether there is something to tell; of a folder that is closed to us, that it is closed."""
    try:
        return stat.S_ISDIR(instance.folder.lstat().st_mode) and (
            _is_there(instance.state) or instance.is_held()
        )
    except PermissionError:
        return True
    except OSError:
        return False


def _is_there(path: Path) -> bool:
    """Whether anything has that name. Raises PermissionError where it cannot be told."""
    with contextlib.suppress(FileNotFoundError):
        return bool(path.lstat())
    return False
