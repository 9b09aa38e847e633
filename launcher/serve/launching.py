"""A launch: the plan read again where that is wanted, the port found free, the key laid where the
server reads it, and its first process started.

What it needs of the disk is read and written aside: a disk that hangs stops nothing else.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

from launcher import __version__
from launcher.engines import startup
from launcher.errors import UserError, with_file
from launcher.files import guarded, programs
from launcher.host import port
from launcher.host.collectors.release import release
from launcher.plan import plan
from launcher.plan.plan import Plan
from launcher.redact import keys
from launcher.serve.events import Exited, LaunchFailed
from launcher.serve.loop import Work
from launcher.serve.run import ServerRun
from launcher.serve.sdnotify import PRIVATE
from launcher.serve.service import Service
from launcher.serve.session import ProcessTree

LAUNCH_WITHIN = 30.0  # seconds for the state folder's disk, before a launch
FREED_WITHIN, FREED_EVERY = 3.0, 0.1  # seconds for a port to be free, and between two looks at it
# What this host lacks for a launch, and may have again, its address included, and the state folder
# where something else lies in its place: no server's fault, and no death.
SHORT = frozenset(
    getattr(errno, name)
    for name in (
        "EMFILE ENFILE ENOMEM EAGAIN ENOBUFS ENOSPC EDQUOT EIO EROFS ESTALE EADDRINUSE ENOTDIR"
        " EEXIST"
    ).split()
)


@dataclass
class Launching:
    """A launch that waits for the disk: since when, and the reaper of a server that waits for its
    key.
    """

    number: int
    at: float
    session: ProcessTree | None = None


class Launches:
    """Starts the runs of a service, one at a time; `started` is told of each."""

    def __init__(self, service: Service, started: Callable[[ServerRun], None]) -> None:
        self._service = service
        self._started = started
        self.pending: Launching | None = None
        #: Another version of this program is here now, and made the plan: that one is to launch it.
        self.is_superseded = False

    def begin(self, number: int, *, fresh: bool) -> None:
        """Launch run `number`, by the plan as it lies there now where `fresh`."""
        service = self._service
        self.pending = Launching(number, service.clock.now())
        service.start = startup.begin(self.pending.at)
        service.loop.aside(
            partial(self._prepare, number, fresh), partial(self._failed, number, MemoryError())
        )

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._give_up()
        now = self._service.clock.now()
        self._service.feed(Exited(now, None, "it was not launched yet"))

    def tick(self, now: float) -> None:
        """Give up a launch that has waited for its disk for too long."""
        if self.pending and now >= self.pending.at + LAUNCH_WITHIN:
            error = TimeoutError(errno.EAGAIN, "its state folder does not answer")
            self._failed(self.pending.number, error)

    def withdraw_key(self) -> None:
        """Remove the file that nobody reads any more: a server that is past its first phase has
        read its key.
        """
        service = self._service
        run, path = service.run, service.plan.key_config

        def withdraw() -> None:
            if service.run is run and not self.pending:  # the next one's may lie there already
                keys.remove_key(path)

        if path:
            service.recorder.writer.put(withdraw)

    def _give_up(self) -> None:
        if self.pending and (session := self.pending.session):
            session.kill()
            session.close()
        self.pending = None

    def _is_pending(self, number: int) -> bool:
        return self.pending is not None and self.pending.number == number

    def _prepare(self, number: int, fresh: bool) -> Work:
        """In a thread of its own."""
        service = self._service
        try:
            if fresh and (other := self._other_version()):
                return partial(self._hand_over, number, other)
            made, key = service.read_plan() if fresh else (service.plan, service.key)
            programs.require_trusted(made.python, _environ(made), Path.cwd())
            _require_free(made)
            claim = service.instance.lock.signature()
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            return partial(self._failed, number, error)
        return partial(self._prepared, number, made, key, claim)

    def _other_version(self) -> str | None:
        """The glm5-serve that made the plan, where it is another one: the package was upgraded.

        Raises OSError, ValueError.
        """
        made_by = plan.maker(guarded.read(self._service.instance.plan).decode())
        return made_by if made_by != __version__ else None

    def _hand_over(self, number: int, other: str) -> None:
        """End, for the version that is installed now: nothing runs, and it made the plan."""
        if self._is_pending(number):
            self._service.recorder.complain(
                f"glm5-serve {__version__} became {other}: that takes over from here"
            )
            self.is_superseded = True

    def _failed(self, number: int, error: Exception) -> None:
        """A host that is short of something is tried again; a plan that cannot be started says no
        for good.
        """
        if not self._is_pending(number):
            return
        service = self._service
        self._give_up()
        now = service.clock.now()
        service.last_error = f"cannot launch: {with_file(error)}"
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in SHORT):
            service.feed(LaunchFailed(now, service.last_error))
        else:
            service.feed(Exited(now, 1, service.last_error))

    def _prepared(self, number: int, made: Plan, key: str | None, claim: str) -> None:
        """Start the server, unless nobody wants it any more; who removes its key's file comes
        first.
        """
        pending = self.pending
        if pending is None or pending.number != number:
            return
        service = self._service
        again = made is service.plan and service.state.past.restarts > 0
        if made is not service.plan:
            service.use_plan(made, key)
        path = made.key_config if key else None
        try:
            session = self._spawn(path, claim)
        except (OSError, ValueError) as error:
            self._failed(number, error)
            return
        begin = partial(self._begin, number, session, again)
        if not path or not key:
            begin()
            return
        pending.session = session
        lay = partial(self._lay, number, path, service.engine.key.file % key, begin)
        service.loop.aside(lay, partial(self._failed, number, MemoryError()))

    def _lay(self, number: int, path: str, text: str, begin: Work) -> Work:
        """Lay the key where the server reads it; in a thread of its own."""
        try:
            keys.write_key(path, text)
        except OSError as error:
            return partial(self._failed, number, error)
        return begin

    def _begin(self, number: int, session: ProcessTree, again: bool) -> None:
        """Let it run."""
        if not self._is_pending(number):
            self.withdraw_key()  # it came too late
            return
        if self.pending and self.pending.session:
            session.go()
        self.pending, service = None, self._service
        allowed = service.engine.allowed(service.plan)
        service.run = ServerRun(
            number, session, service.log, service.start, service.engine, allowed, service.clock
        )
        self._started(service.run)
        if again:
            service.loop.aside(self._same_engine)

    def _spawn(self, key_file: str | None, claim: str) -> ProcessTree:
        """The server's reaper, and its first process where that has no `key_file` to wait for.

        Raises OSError or ValueError.
        """
        made, key, of = self._service.plan, self._service.key, self._service.engine
        keyed = {of.key.variable: key} if of.key.variable and key else {}
        env = _environ(made, keyed)
        unwanted = [key_file] if key_file else []
        held = bool(key_file)
        return ProcessTree(made.argv, env, unwanted, of.shared, held=held, claim=claim)

    def _same_engine(self) -> Work:
        """A launch after a death does not resolve again: an engine that was upgraded meanwhile is
        worth a word.
        """
        made, of = self._service.plan, self._service.engine
        env = {**os.environ, **made.env}
        found = release(of.package, made.python, env) if made.release else None
        why = f"the plan was made for {made.release}: `glm5-serve restart` makes a new one"
        text = f"the engine is {of.name} {found} now, {why}"
        complain = self._service.recorder.complain
        return lambda: complain(text) if found and found != made.release else None


def _environ(made: Plan, keyed: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The variables of a plan's server; `keyed` is the one with its key, if one has it."""
    hidden = {name for name in os.environ if name.startswith("GLM5_SERVE")} | set(PRIVATE)
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    return _with_own_programs({**env, **keyed, **made.env}, made.python)


def _require_free(made: Plan) -> None:
    """Raise OSError where somebody has the server's port: now, not after minutes of loading.

    What got away from the last run, and is killed, may have it for a moment.
    """
    until = time.monotonic() + FREED_WITHIN
    while held := port.obstacle(made.host, made.port):
        if held.errno != errno.EADDRINUSE:
            return
        if time.monotonic() > until:
            raise held
        time.sleep(FREED_EVERY)


def _with_own_programs(env: dict[str, str], python: str) -> dict[str, str]:
    """The environment in which the programs beside the engine's interpreter come first: ninja, by
    which kernels are compiled, is one.
    """
    folder = python.rpartition("/")[0]
    return env | {"PATH": f"{folder}:{env.get('PATH', os.defpath)}"} if folder else env
