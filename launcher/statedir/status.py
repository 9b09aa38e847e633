"""How an instance is, for anybody who asks: what its launcher said last, as far as the kernel bears
it out.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher import printable
from launcher.errors import in_words
from launcher.files import guarded, reading
from launcher.files.ownership import user
from launcher.files.reading import UnfitError
from launcher.statedir import namelock
from launcher.statedir.events import Event, parsed
from launcher.statedir.lock import Lock
from launcher.statedir.processes import (
    boot_id,
    halted,
    has_program,
    is_alive,
    is_elsewhere,
    is_same,
    run_state,
    start_ticks,
    uid_of,
)
from launcher.statedir.schema import OtherSchemaError, if_any, whole
from launcher.statedir.session import Session
from launcher.statedir.state import BARE, LauncherRecord, Pids, StateRecord
from launcher.statedir.times import told

LARGEST_STATE = 1 << 20  # bytes; it has some two thousand
LARGEST_END = 64 << 10  # bytes of events that are looked at for the last state
NEVER = "never started here"
BEING_LAUNCHED = "being launched"  # `up` judges the host: there is no state yet
# What a launcher writes while it lives, and nobody else does.
SIGNS = ("state.json", "events.jsonl", "readings.json", "server.log")
FINAL = ("stopped", "failed")  # states that a launcher ends in


class Status:
    """The state file of an instance (`path`), its events and its lock, and what follows from all of
    them.
    """

    def __init__(self, name: str, path: Path, events: Path, lock: Lock) -> None:
        self._name = name
        self._folder = path.parent
        self._path = path
        self._events = events
        self._lock = lock

    def look(self) -> StateRecord:
        """How it is, for anybody who asks: never raises, and says so when what it finds cannot be
        believed.
        """
        held = False
        try:
            held = self._lock.is_held()
            seen, launcher = self._recorded()
            same = self.is_of_holder(launcher)
        except FileNotFoundError:
            return self._bare("starting", BEING_LAUNCHED) if held else self._bare("stopped", NEVER)
        except PermissionError:
            return self._bare("unknown", self._closed())
        except UnfitError as error:
            return self._bare("unknown", f"{error.filename} {in_words(error)}")
        except OtherSchemaError as error:
            fix = f"`glm5-serve down --profile {self._name}`, then `up`"
            return self._bare("unknown", f"{self._path} {error}: {fix}, starts fresh")
        except OSError as error:
            return self._bare("unknown", f"{self._path} cannot be read: {in_words(error)}")
        except ValueError as error:
            return self._bare("unknown", f"{self._path} was not written by glm5-serve: {error}")
        if held and same:
            return self._living(seen, launcher)
        if held and is_same(launcher) and not is_elsewhere(launcher):
            return self._bare("unknown", self._given_away(launcher))
        if held and not self._is_going(launcher):
            return self._bare("starting", BEING_LAUNCHED)
        return self._ended(seen, launcher)

    def _closed(self) -> str:
        """Why its state file may not be read by this user, and what shows it."""
        with contextlib.suppress(OSError):
            file, folder = self._path.lstat().st_uid, self._folder.lstat().st_uid
            if file != folder:
                gone = "" if self._lock.is_held() else f": `rm {self._path}` as root removes it"
                return (
                    f"{self._path} is owned by {user(file)}, and its folder by {user(folder)}, to"
                    f" whom it is closed{gone}"
                )
        place = f"GLM5_SERVE_STATE_DIR={self._folder.parent.absolute()}"  # root's is another
        words = ["sudo", "env", place, "glm5-serve", "status", "--profile", self._name]
        ask = f"`{shlex.join(words)}` shows how it is"
        return f"{self._path} may not be read by this user: {ask}"

    def _given_away(self, launcher: LauncherRecord) -> str:
        """What is the case where its launcher lives, and is neither its folder's owner's nor this
        user's.
        """
        folder, runs_as = self._folder.lstat().st_uid, uid_of(launcher.pid)
        return (
            f"its launcher (pid {launcher.pid}) runs as"
            f" {'another user' if runs_as is None else user(runs_as)}, and {self._folder} was given"
            f" to {user(folder)} meanwhile: `glm5-serve down --profile {self._name}` as root ends"
            " it"
        )

    def _recorded(self) -> tuple[StateRecord, LauncherRecord]:
        """What the state file tells, and of which launcher. Raises OSError, ValueError."""
        seen = StateRecord.from_json(self._json())
        if seen.launcher is None:
            raise ValueError("it names no launcher")
        return seen, seen.launcher

    def last(self) -> StateRecord | None:
        """What the state file tells, whoever holds the instance now; None where it tells
        nothing.
        """
        with contextlib.suppress(OSError, ValueError):
            return self._recorded()[0]
        return None

    def _json(self) -> Any:
        """What the state file holds. Raises OSError; ValueError also where it is a copy of another
        instance's: what that one's processes are is none of ours.
        """
        data = reading.parsed(guarded.read(self._path, LARGEST_STATE))
        if isinstance(data, dict) and data.get("profile") not in (None, self._name):
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
        return seen.but(state="dead", reason=reason, since=self._last_sign(seen.since))

    def _last_sign(self, since: str | None) -> str | None:
        """When its launcher is last known to have lived: when it wrote one of its files last. It
        has no later word of its own, and nobody else wrote down when it died.
        """
        written = list[float]()
        for name in SIGNS:
            with contextlib.suppress(OSError):
                written.append((self._folder / name).lstat().st_mtime)
        return max([told(at) for at in written if at <= time.time()] + [since or ""]) or None

    def _last_told(self, since: str) -> Event | None:
        """The final state that the events end with, told after the state file's; None where they
        do not.
        """
        try:
            with os.fdopen(guarded.opened(self._events), "rb") as file:
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
        if why := halted(pid):
            reason = f"the launcher (pid {pid}) {why}, nothing watches the server; it was {was}"
            return seen.but(state="unknown", reason=reason)
        if was == "ready" and server and run_state(server) is None:
            reason = (
                f"the server (pid {server}) is dead, which the launcher (pid {pid}) has not"
                f" told yet{self._why_not()}"
            )
            return seen.but(state="unknown", reason=reason)
        return seen

    def _why_not(self) -> str:
        """What keeps a launcher from telling anything."""
        with contextlib.suppress(OSError):
            if not os.statvfs(self._folder).f_bavail:
                return f": the disk of {self._folder} is full"
        return ""

    def is_of_holder(self, launcher: LauncherRecord) -> bool:
        """Whether a record is that of who holds the lock. Raises OSError."""
        if is_elsewhere(launcher):
            return bool(launcher.claim) and launcher.claim == self._lock.signature()
        return is_alive(launcher, self._folder.lstat().st_uid)

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
            and namelock.holder(self._folder) in (None, pid)
        )

    def has_said(self, pid: int, states: Collection[str]) -> bool:
        """Whether the launcher of that pid wrote one of these states last."""
        launcher = self.launcher()
        return launcher is not None and launcher.pid == pid and self._part("state") in states

    def session(self) -> Session:
        """What marks the processes of the last server (`serve.leftovers`): what its launcher told
        of it, and what stood in the lock before, for one that was killed and had told nothing yet.
        """
        session, launcher = if_any(Session.from_json, self._part("session")), self.launcher()
        session = replace(session or Session(), claim=self._lock.signature() or None)
        if launcher and is_elsewhere(launcher):  # its pids mean nothing here
            session = replace(session, reaper=None)
        if launcher and session.boot_id is None:
            session = replace(session, boot_id=launcher.boot_id)
        return session

    def is_untold(self) -> bool:
        """Whether who held it last told nothing of himself: it was killed as soon as it began."""
        launcher, claim = self.launcher(), self._lock.signature()
        return bool(claim) and (launcher is None or launcher.claim not in (None, claim))

    def _bare(self, state: str, reason: str) -> StateRecord:
        return StateRecord(self._name, state, reason=reason, parts=BARE)

    def _part(self, name: str) -> Any:
        """A part of the state file, whatever the rest of it is; None where there is no such."""
        with contextlib.suppress(OSError, ValueError):
            said = self._json()
            return said.get(name) if isinstance(said, dict) else None
        return None

    def run(self) -> int:
        """The number of the last run that the state file names, whatever the rest of it is; else
        0.
        """
        return if_any(whole, self._part("run")) or 0

    def launcher(self) -> LauncherRecord | None:
        """The launcher that the state file names, whatever the rest of it is."""
        return if_any(LauncherRecord.from_json, self._part("launcher"))

    def is_elsewhere(self) -> bool:
        """Whether a launcher is alive that lives in another PID namespace: nothing here can signal
        it.
        """
        launcher = self.launcher()
        if launcher is None or not is_elsewhere(launcher):
            return False
        with contextlib.suppress(OSError):
            return self._lock.is_held() and self.is_of_holder(launcher)
        return False
