"""A server that is to go, waited for: until its gateway sends it nothing more, and until nobody
waits for an answer of it.
"""

from __future__ import annotations

import time
from functools import partial

from launcher.gateway.leaving import Leaving
from launcher.serve import procfs, reaper
from launcher.serve.events import Drained, Left
from launcher.serve.loop import Work
from launcher.serve.run import ServerRun
from launcher.serve.service import Service

# seconds between looks, and how many in a row must find nobody
DRAINED_EVERY, DRAINED_TIMES = 0.25, 4


class Draining:
    """Waits in threads of their own, each for as long as its run is the present one."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def leave(self, run: ServerRun) -> None:
        """Wait until its gateway has let go of it."""
        self._service.loop.aside(partial(self._leave, run))

    def drain(self, run: ServerRun) -> None:
        """Wait until it has no request and no client."""
        self._service.loop.aside(partial(self._drain, run))

    def _leave(self, run: ServerRun) -> Work:
        """Wait until its gateway has let go of it, and nobody waits for an answer any more."""
        service, made = self._service, self._service.plan
        home, asked = service.instance.folder.parent, service.server(run)
        leaving = Leaving(home, made.gateway, asked.url, service.key, reaper.descendants)
        until = time.monotonic() + made.policy.leave_within
        while service.run is run and time.monotonic() < until and not leaving.is_over():
            time.sleep(DRAINED_EVERY)
        until = time.monotonic() + made.policy.stop_timeout
        while service.run is run and time.monotonic() < until and service.engine.in_flight(asked):
            time.sleep(DRAINED_EVERY)
        return lambda: service.feed(Left(service.clock.now(), run.number))

    def _drain(self, run: ServerRun) -> Work:
        """Wait until nobody waits for an answer any more; a moment longer, for one that is just
        asked for. One that does not listen yet holds none, and may not hear that it is to end:
        vLLM 0.32.0 does not while its ranks import (run).
        """
        service = self._service
        asked, quiet = service.server(run), 0
        while quiet < DRAINED_TIMES and service.run is run:
            time.sleep(DRAINED_EVERY)
            clients = procfs.clients(asked.host, asked.port)
            may_hold = run.is_open or run.allowed.is_quiet
            holds = service.engine.in_flight(asked) if may_hold else 0
            quiet = quiet + 1 if clients == 0 and holds == 0 else 0
        return partial(self._drained, run)

    def _drained(self, run: ServerRun) -> None:
        """One that takes itself apart is left to it: killed meanwhile it may leave GPU memory
        behind.
        """
        service = self._service
        if run is not service.run:
            return
        # at the last moment, or unknown
        if procfs.clients(service.plan.host, service.plan.port) != 0:
            self.drain(run)
        elif not run.leaving:
            service.feed(Drained(service.clock.now(), run.number))
