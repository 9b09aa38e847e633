"""The other nodes of a service, looked at while it runs: who is missing, and who is lost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from launcher.serve.events import NodeLost
from launcher.serve.group import LOOK_EVERY, Group, missing
from launcher.serve.loop import Work
from launcher.serve.run import ServerRun
from launcher.serve.service import Service


class GroupWatch:
    """Looks from the first node, for as long as its run is the present one."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def watch(self, run: ServerRun) -> None:
        """Look at them from now on, where there are any."""
        made = self._service.plan
        if made.nodes and not made.follows:
            self._look_again(run, Group(made))

    def _look_again(self, run: ServerRun, group: Group, pause: float = 0.0) -> None:
        self._service.loop.aside(partial(self._look, run, group, pause))

    def _look(self, run: ServerRun, group: Group, pause: float) -> Work:
        """Look once, in a thread of its own."""
        time.sleep(pause)
        service = self._service
        found = group.look() if service.run is run else {}
        absent = missing(service.plan) if run.waits_for_nodes(service.clock.now()) else []
        return partial(self._looked, run, group, found, absent)

    def _looked(
        self, run: ServerRun, group: Group, found: Mapping[int, str | None], absent: list[str]
    ) -> None:
        """Tell who is missing, and who is lost; then look again."""
        service = self._service
        if run is not service.run:
            return
        now = service.clock.now()
        if absent and absent != run.missing:
            service.recorder.complain(f"waits in the rendezvous for {', '.join(absent)}")
        run.missing = absent
        if lost := group.lost(found, now):
            service.feed(NodeLost(now, run.number, lost))
        else:
            self._look_again(run, group, LOOK_EVERY)
