"""The service that is kept up, as all parts of its supervisor see it: its plan, its state, and
which run of the server it has now.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from launcher.engines import startup
from launcher.engines.server import Server
from launcher.files import guarded
from launcher.gateway.runtime import runtime
from launcher.plan import plan
from launcher.plan.plan import Plan
from launcher.redact import keys
from launcher.serve.events import Event
from launcher.serve.logfile import ServerLog
from launcher.serve.loop import Loop
from launcher.serve.recorder import Recorder, Snapshot
from launcher.serve.run import ServerRun
from launcher.serve.states import Idle, Past, State
from launcher.statedir.folder import StateDir


class Service:
    """One instance. Its parts change it in the thread of `loop` alone; other threads read it."""

    def __init__(
        self, instance: StateDir, recorder: Recorder, feed: Callable[[Event], None]
    ) -> None:
        """`feed` takes an event through the state machine. Raises what `read_plan` does."""
        self.instance = instance
        self.recorder = recorder
        self.feed = feed
        self.loop = Loop(self.complain)
        self.clock = self.loop.clock
        before = instance.runs()
        self.state: State = Idle(Past(run=before, before=before))
        self.run: ServerRun | None = None
        #: The run before, until it is known why it ended and its GPU memory is back.
        self.gone: ServerRun | None = None
        self.start = startup.begin(self.clock.now())
        self.last_error: str | None = None
        self.use_plan(*self.read_plan())

    def read_plan(self) -> tuple[Plan, str | None]:
        """The plan of its file, and its key.

        Raises OSError, ValueError, KeyError, TypeError or UserError.
        """
        made = plan.loads(guarded.read(self.instance.plan).decode())
        return made, keys.read_key(Path(made.key_file)) if made.key_file else None

    def use_plan(self, made: Plan, key: str | None) -> None:
        """Serve by this plan from now on."""
        self.plan, self.key, self.engine = made, key, runtime(made.engine)
        self.recorder.key = key
        self.policy = made.policy.as_follower() if made.follows else made.policy
        self.log = ServerLog(self.instance.server_log, key, self.recorder.writer.put)

    def server(self, run: ServerRun) -> Server:
        """Where its server is asked, and by which processes it is known: nobody else gets the
        key.
        """
        return Server(self.plan.host, self.plan.port, self.key, run.peer)

    def picture(self) -> Snapshot:
        """How it is now."""
        session = self.run.session if self.run else None
        server, record = (session.pid, session.record) if session else (None, None)
        return Snapshot(
            self.plan, self.state, self.start, server, self.last_error, self.clock.now(), record
        )

    def complain(self, error: Exception) -> None:
        """Our bug, a package upgraded under us, a host out of descriptors: no reason to stop
        serving.
        """
        self.recorder.complain(
            f"glm5-serve itself failed at something: {type(error).__name__}: {error}"
        )
