"""Whether a gateway still sends a server requests, asked by that server's launcher before it
stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.engines.server import Server
from launcher.gateway.instances import gateway_of
from launcher.gateway.workers import seen
from launcher.host.peer import Peer
from launcher.statedir.folder import StateDir


@dataclass(frozen=True)
class Leaving:
    """A server at `url` that shall go, and its gateway, which has the same key."""

    home: Path  # the state home of both
    gateway: str
    url: str
    key: str | None
    descendants: Callable[[int], Sequence[int]]  # of a process

    def is_over(self) -> bool:
        """Whether the gateway has no such worker any more. One that is not up sends nothing; one
        that does not answer is not known to.
        """
        plan = gateway_of(self.home, self.gateway)
        if plan is None:
            return True
        workers = seen(Server(plan.host, plan.port, self.key, Peer(self._processes)))
        return workers is not None and all(one.url != self.url for one in workers)

    def _processes(self) -> Sequence[int]:
        """The gateway's: nobody else gets the key."""
        launcher = StateDir(self.home, self.gateway).look().pids.launcher
        return self.descendants(launcher) if launcher else ()
