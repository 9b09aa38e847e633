"""A profile that is, or was, up: its folder, its files, and its launcher.

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
import json
import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from launcher import __version__
from launcher.errors import Exit, UserError
from launcher.files import guarded, places
from launcher.files.ownership import require_private
from launcher.files.rotation import rotate
from launcher.statedir import namelock, starts
from launcher.statedir.events import Event
from launcher.statedir.lock import Claim, Lock
from launcher.statedir.processes import (
    boot_id,
    is_elsewhere,
    is_launcher,
    pid_namespace,
    start_ticks,
)
from launcher.statedir.replica import split
from launcher.statedir.state import LauncherRecord, StateRecord
from launcher.statedir.status import Status
from launcher.statedir.times import local

LARGEST_EVENTS = 8 << 20  # bytes
KEPT_EVENTS = 2  # older files of them
KEPT_STACKS = 5  # of runs that hung
LONGEST_NAME = 128  # characters: units, keys and temporary files are called by it, and more
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(@[1-9][0-9]{0,2})?")  # a replica's has its number


class Signalled(NamedTuple):
    """A launcher that got a signal, with a pidfd to wait for its end on."""

    pid: int
    pidfd: int


class StateDir:
    """The folder of one profile."""

    def __init__(self, home: Path, name: str) -> None:
        if (is_long := len(name) > LONGEST_NAME) or not NAME.fullmatch(name):
            most = f", which has {len(name)} characters," if is_long else ""
            raise UserError(
                f"profile name {name!r}{most} cannot name a folder",
                fix=f"letters, digits and . _ - only, {LONGEST_NAME} at most: give, or rename the"
                " file to, such a name",
                status=Exit.USAGE,
            )
        self.name = name
        self.folder = home / name
        self.lock = Lock(self.folder / "lock")
        self.plan = self.folder / "plan.json"
        self.state = self.folder / "state.json"
        self.events = self.folder / "events.jsonl"
        self.readings = self.folder / "readings.json"
        self.starts = self.folder / starts.FILE
        self.server_log = self.folder / "server.log"
        self.launcher_log = self.folder / "launcher.log"
        self.status = Status(name, self.state, self.events, self.lock)

    def stacks(self, run: int) -> Path:
        """Where the stacks of a run that hung are kept."""
        return self.folder / f"stacks-{run}.txt"

    def forget_stacks(self, run: int) -> None:
        """Make room for a run's stacks: those that another launcher's run of this number left, and
        the oldest.
        """
        older = sorted(self.folder.glob("stacks-*.txt"), key=lambda path: path.lstat().st_mtime)
        for path in (*older[:-KEPT_STACKS], self.stacks(run)):
            guarded.remove(path)

    def claim(self, check: Callable[[], None] = lambda: None, *, sign: bool = True) -> Claim:
        """Become the one launcher of this profile: descriptors to be kept for life. `check` may
        refuse while it is held, and what the last launcher left to be known by is still there; so
        it is for who launches nothing (`sign`).

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
            return Claim(self._take_lock(check, sign=sign), name)
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
                if [*self.folder.iterdir()] == [self.lock.path]:
                    self.lock.path.unlink()
                    self.folder.rmdir()
        claim.release()

    def _take_lock(self, check: Callable[[], None], *, sign: bool) -> int:
        try:
            self._make_folder()
            require_private(self.folder)
            self._require_regular()
            lock = self.lock.take()
        except BlockingIOError:
            raise self._is_up(None) from None
        except OSError as error:
            raise self.cannot_write(error) from None
        try:
            self._probe_disk()
            check()
            if sign:
                self.lock.sign(lock)
        except OSError as error:
            os.close(lock)
            raise self.cannot_write(error) from None
        except BaseException:
            os.close(lock)
            raise
        return lock

    def _make_folder(self) -> None:
        for above in reversed(self.folder.parents):
            above.mkdir(mode=0o755, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def profile_file(self) -> str | None:
        """The file of the profile that it was started by; None where it was not, or where the
        folder is another user's.
        """
        with contextlib.suppress(OSError, UserError):
            if self.folder.lstat().st_uid == os.geteuid():
                return split(self.look().profile_path or "")[0] or None
        return None

    def _require_regular(self) -> None:
        files = (
            self.lock.path,
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
        since = f" since {local(seen.since)}" if seen.since else ""
        lost = (
            ", although its state folder was removed"
            if pid and is_launcher(pid) and not self.is_held()
            else ""
        )
        whose = f", launcher pid {pid}" if pid else ""
        fuser = "" if pid else f"; `fuser -v {self.lock.path}` names who has its lock"
        return UserError(
            f"{self.name} is already up: {seen.state}{since}{whose}{lost}",
            fix=(
                f"`glm5-serve status --profile {self.name}` shows it, `glm5-serve down --profile"
                f" {self.name}` stops it{fuser}"
            ),
            status=Exit.NO,
        )

    def launcher_record(self) -> LauncherRecord:
        """What a launcher writes of itself into its state file, for others to know it by."""
        pid = os.getpid()
        return LauncherRecord(
            pid, start_ticks(pid), boot_id(), pid_namespace(), self.lock.signature(), __version__
        )

    def cannot_write(self, error: OSError) -> UserError:
        """The refusal for a folder that takes no files."""
        if error.errno == errno.ENOSPC:
            fix = f"free some space: `df -h {self.folder.parent}`"
        elif error.errno == errno.EDQUOT:
            fix = "free some space, or ask for more: `quota -s`"
        elif error.errno == errno.EFBIG:
            fix = "`ulimit -f unlimited`; in a unit LimitFSIZE=infinity"
        else:
            fix = "give this user the folder, or choose another with GLM5_SERVE_STATE_DIR"
        where = places.obstacle(self.folder)
        why = f"it would lie in {where}" if where else error.strerror
        return UserError(f"cannot write the state folder {self.folder}: {why}", fix=fix)

    def _probe_disk(self) -> None:
        probe = self.folder / ".probe"
        try:
            guarded.replace(probe, b"x" * 65536)
        finally:
            probe.unlink(missing_ok=True)

    def runs(self) -> int:
        """How many times its server was launched so far, by any launcher. A start that was not over
        when its launcher was killed is in the state file alone.
        """
        return max(self.status.run(), *(start.run for start in starts.read(self.starts)), 0)

    def is_held(self) -> bool:
        """Whether a launcher is alive."""
        return self.lock.is_held()

    def look(self) -> StateRecord:
        """How it is, for anybody who asks: never raises, and says so when what it finds cannot be
        believed.
        """
        return self.status.look()

    def write(self, path: Path, data: Mapping[str, Any]) -> None:
        """Replace a JSON file whole, or leave the old one whole. Raises OSError."""
        guarded.replace(path, f"{json.dumps(data, indent=1)}\n".encode())

    def told(self) -> int:
        """How many bytes of events there are so far."""
        with contextlib.suppress(OSError):  # whoever else may write there makes a link of it
            return self.events.lstat().st_size
        return 0

    def tell(self, event: Event) -> None:
        """Append an event; a file that had grown large is `events.jsonl.1` from then on.

        Raises OSError.
        """
        if self.told() > LARGEST_EVENTS:
            rotate(self.events, KEPT_EVENTS)
        with os.fdopen(guarded.opened(self.events, guarded.APPEND), "a") as file:
            file.write(json.dumps(event.to_json()) + "\n")

    def signal(self, number: int) -> Signalled | None:
        """Signal the launcher, None when none is alive here. Pid reuse cannot misdirect it.

        Raises PermissionError for the launcher of another user.
        """
        launcher = self.status.launcher()
        if launcher is None:
            return None
        try:
            signalled = Signalled(launcher.pid, os.pidfd_open(launcher.pid))
        except (OSError, OverflowError, ValueError):
            return None
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, signalled.pidfd)
            with contextlib.suppress(ProcessLookupError):
                if (
                    self.is_held()
                    and not is_elsewhere(launcher)
                    and self.status.is_of_holder(launcher)
                ):
                    signal.pidfd_send_signal(signalled.pidfd, number)
                    undo.pop_all()
                    return signalled
        return None
