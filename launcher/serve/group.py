"""The other nodes of a model that is served over several hosts, watched from one of them.

Nothing of ours runs between them: whether a host is there is told by its network, who has joined by
the connections to the rendezvous, and whether the group serves by the first node's own word.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

from launcher.engines import server
from launcher.engines.runtime import Runtime
from launcher.engines.server import Answer, Server
from launcher.host import sockets
from launcher.plan.plan import Node, Plan

REACH_WITHIN = 3.0  # seconds for a connection to another node
LEADS_WITHIN = 5.0  # seconds for the first node's answer
LOOK_EVERY = 2.0  # seconds between two looks at the others
# What a connection fails of when the host is not there, or no way leads to it. That nobody listens,
# or hangs up, was said by the host itself.
AWAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT)


def called(plan: Plan, rank: int) -> str:
    """A node as it is told: its number and its address, and its name where it has another."""
    node = plan.nodes[rank]
    name = "" if node.name == node.address else f"{node.name}, "
    return f"node {rank} ({name}{node.address})"


def away(address: str, port: int) -> str | None:
    """Why a host is not reached, "" for one that is, None where that could not be tried."""
    try:
        with closing(socket.create_connection((address, port), REACH_WITHIN)):
            return ""
    except ConnectionError:
        return ""
    except TimeoutError:
        return f"no answer within {REACH_WITHIN:g} s"
    except OSError as error:
        return error.strerror or str(error) if error.errno in AWAY else None


def ask_leader(plan: Plan, engine: Runtime) -> Answer:
    """Whether the first node is ready, asked by another one; without a key, which stays on its
    host.
    """
    first = plan.nodes[0].address
    if why := away(first, plan.port):
        return Answer(False, f"{called(plan, 0)} is not reached: {why}")
    answer = server.ask(engine.leads, Server(first, plan.port), LEADS_WITHIN)
    told = f"{called(plan, 0)}: {answer.detail}"
    return Answer(answer.ok, told, answer.excuse, unknown=answer.unknown)


def missing(plan: Plan) -> list[str]:
    """The nodes from which nobody is connected to the rendezvous on this one; none where the
    kernel's tables cannot be read.
    """
    try:
        peers = {
            row.peer.rpartition(":")[0]
            for table in sockets.TABLES
            for row in sockets.rows(table, plan.rendezvous)
            if row.state == sockets.ESTABLISHED
        }
    except (OSError, ValueError):
        return []
    others = enumerate(plan.nodes[1:], 1)
    return [called(plan, rank) for rank, node in others if not peers & _in_tables(node)]


def _in_tables(node: Node) -> set[str]:
    address = sockets.packed(node.address)
    both = (address, sockets.mapped(address)) if len(address) == 4 else (address,)
    return set(map(sockets.in_table, both))


@dataclass
class Group:
    """When the first node last reached each of the others, in seconds of the clock."""

    plan: Plan
    reached: dict[int, float] = field(default_factory=dict)

    def look(self) -> Mapping[int, str | None]:
        """Why each of the others is not reached; takes some seconds a node that is not."""
        ranks = range(1, len(self.plan.nodes))
        return {rank: away(self.plan.nodes[rank].address, self.plan.port) for rank in ranks}

    def lost(self, found: Mapping[int, str | None], now: float) -> str:
        """The node that was reached once and is not for too long, in words; "" for none."""
        for rank, why in found.items():
            if why == "":
                self.reached[rank] = now
            silent = now - self.reached.get(rank, now)
            if why and silent >= self.plan.policy.follower_timeout:
                return f"{called(self.plan, rank)} is not reached for {silent:.0f} s: {why}"
        return ""
