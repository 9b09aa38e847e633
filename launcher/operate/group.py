"""A node of a model that is served over several hosts, as its operator meets it."""

from __future__ import annotations

from launcher.gateway.instances import plan_of
from launcher.operate import whose
from launcher.serve.group import called
from launcher.statedir.folder import StateDir


def stop_means(instance: StateDir) -> str:
    """What the stop of a node means for the others of its group; "" for a server of one host, and
    for one that is not up or whose plan cannot be read.
    """
    made = plan_of(instance) if instance.is_held() and not whose.astray(instance) else None
    if made is None or not made.nodes:
        return ""
    if not made.follows:
        return "the other nodes wait for this one to come back: `down` on each of them, too"
    first, node = called(made, 0), called(made, made.rank)
    return (
        f"{node} goes at once, and the engine on all {len(made.nodes)} nodes with it: what {first}"
        f" answers is cut, and it waits for this node. To stop all, `down` on {first} first, which"
        " drains, then on the others"
    )
