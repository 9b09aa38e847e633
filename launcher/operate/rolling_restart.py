"""Several servers of one profile, restarted so that at least one of them serves at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from launcher import printable
from launcher.engines.server import Server
from launcher.errors import Exit, UserError
from launcher.gateway.instances import gateway_of
from launcher.gateway.workers import routed
from launcher.operate import gateway, running
from launcher.operate.restart import restart as restart_one
from launcher.operate.up import Screen
from launcher.plan.plan import Plan
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known
from launcher.statedir.replica import split

IN_WITHIN = 60.0  # seconds for a gateway to send requests to a server that is ready; it takes 3
ASKED_EVERY = 0.2  # seconds between two questions to it


def restart(
    instances: Sequence[StateDir],
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    screen: Screen,
) -> int:
    """Restart one after the other, each out of the gateway before it drains and in again before
    the next; 0 once all were. Whatever goes wrong stops it: the others serve on.

    Raises UserError where another one could not serve meanwhile.
    """
    name = _gateway(instances)
    for at, one in enumerate(instances):
        others = [other for other in instances if other is not one]
        try:
            _require_served(name, others)
        except UserError as refusal:
            done = f"{at} of {len(instances)} were restarted" if at else "nothing was restarted"
            raise UserError(f"{refusal.what}; {done}", fix=refusal.fix, status=Exit.NO) from None
        tell(f"{one.name}: {at + 1} of {len(instances)}")
        if status := restart_one(one, environ, tell, screen, named=True):
            tell(f"{one.name} did not come back; {_names(others)} serve on")
            return status
    _require_served(name, instances)
    return Exit.FINE


def _gateway(instances: Sequence[StateDir]) -> str:
    """The one gateway of several replicas. Raises UserError."""
    if len(instances) < 2:
        raise _alone(instances[0])
    names = {running.plan_of(one).gateway for one in instances}
    if len(names) != 1 or not (name := names.pop()):
        what = f"{_names(instances)} are not behind one gateway"
        raise UserError(what, fix='`gateway = "NAME"` in their profile, the same in each')
    return name


def _alone(instance: StateDir) -> UserError:
    """The refusal for one server: nobody would serve while it restarts."""
    bare, number = split(instance.name)
    others = [one for one in known(instance.folder.parent) if one.name != instance.name]
    siblings = [one for one in others if number and one.name.startswith(f"{bare}@")]
    down = [one for one in siblings if not one.is_held()]
    what = f"{instance.name} is one server: while it restarts, nobody serves"
    second = f"`glm5-serve up -p {bare} --set replicas=2`"
    fix = f"`glm5-serve restart -p {instance.name}`, or bring a second one up: {second}"
    if down:
        states = ", ".join(f"{one.name} is {one.look().state}" for one in down)
        what = f"{instance.name} would restart alone ({states}): nobody serves meanwhile"
        fix = f"`glm5-serve up {down[0].name} --detach` first, then this again"
    elif siblings:
        fix = f"`glm5-serve restart -p {bare} --rolling` restarts all, one after the other"
    return UserError(what, fix=fix, status=Exit.USAGE)


def _require_served(name: str, instances: Sequence[StateDir]) -> None:
    """Wait until the gateway sends requests to all of these. Raises UserError where it does not."""
    until = time.monotonic() + IN_WITHIN
    while missing := _unserved(name, instances):
        if time.monotonic() > until or any(one.look().state != "ready" for one in missing):
            states = ", ".join(f"{one.name} is {one.look().state}" for one in missing)
            raise UserError(
                f"gateway {name} sends no requests to {_names(missing)} ({states})",
                fix=f"`glm5-serve gateway status {name}` tells why",
            )
        time.sleep(ASKED_EVERY)


def _unserved(name: str, instances: Sequence[StateDir]) -> list[StateDir]:
    """Those that the gateway sends nothing. Raises UserError for a gateway that is not up."""
    home = instances[0].folder.parent
    made = gateway_of(home, name)
    if made is None:
        fix = f"`glm5-serve gateway up {name} --detach`"
        what = f"gateway {name} is not up: nobody sends requests to the others"
        raise UserError(what, fix=fix, status=Exit.NO)
    told = gateway.asked(StateDir(home, name), made)
    return [one for one in instances if not routed(_url(running.plan_of(one)), told)]


def _url(plan: Plan) -> str:
    return Server(plan.host, plan.port).url


def _names(instances: Sequence[StateDir]) -> str:
    return printable.line(" and ".join(one.name for one in instances))
