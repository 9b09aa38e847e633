"""Several servers of one profile on one host: `NAME@2` is the second. Each has its own GPUs, port,
state folder and unit; all else is the profile's. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from launcher.address import listening
from launcher.config.composed import Composed
from launcher.config.layers import Layer
from launcher.errors import Exit, UserError

DEVICES = "CUDA_VISIBLE_DEVICES"
# Options that name one place of the host: two servers cannot have the same.
_ONE_PLACE = re.compile(r"(.+-(port|addr|address))|base-gpu-id")


def of(composed: Composed, number: int) -> Composed:
    """The replica `number` of a profile, the first one for 0; a profile of one server as it is.

    Raises UserError for one that the profile has not, and where two would share a port.
    """
    profile, name = composed.profile, composed.name
    if profile.gateway == name:
        fix = "give the gateway another name"
        raise UserError(f"gateway = {name!r}: the profile itself is called so", fix=fix)
    if profile.replicas == 1 and not number:
        return composed
    if number > profile.replicas or profile.replicas == 1:
        has = "1 server" if profile.replicas == 1 else f"{profile.replicas} replicas"
        what = f"profile {name} has {has} (`replicas`), and no {name}@{number}"
        fix = f"`--set replicas={max(number, 2)}`, if this host has room for so many"
        raise UserError(what, fix=fix, status=Exit.USAGE)
    number = number or 1
    _require_places(composed)
    moved = replace(composed, name=f"{name}@{number}", replica=number)
    return _on_port(moved, number - 1) if number > 1 else moved


def _require_places(composed: Composed) -> None:
    """Raise UserError where replicas would meet at one port or GPU."""
    profile, engine = composed.profile, composed.dialect
    if profile.flags.nnodes > 1 or profile.nodes:
        what = "replicas are servers of one host each, and this one is of several"
        raise UserError(what, fix="a profile of its own for each group of hosts")
    own = engine.option_of("port")
    for name, value in composed.flags.items():
        if value is not False and name != own and _ONE_PLACE.fullmatch(name):
            place = composed.origin[f"flags.{name}"].place
            raise UserError(
                f"{place}: flags.{name}: the {profile.replicas} replicas would share it",
                fix=f"leave flags.{name} out: each replica has GPUs and ports of its own",
            )
    first = profile.flags.port or engine.port
    ports = [*range(first, first + profile.replicas), *_told(composed)]
    if twice := [port for port, times in Counter(ports).items() if times > 1]:
        raise UserError(
            f"port {twice[0]} is that of a replica and of another's access.health_listen",
            fix=f"set access.health_listen {profile.replicas} ports away: each replica takes one",
        )
    if max(ports) > 65535:
        what = f"the ports of {profile.replicas} replicas end at {max(ports)}"
        raise UserError(what, fix="set a lower flags.port")


def _told(composed: Composed) -> Sequence[int]:
    """The ports on which the launchers say whether they are ready."""
    place = composed.profile.access.health_listen
    first = listening(place)[1] if place else 0
    return range(first, first + composed.profile.replicas) if place else ()


def _on_port(composed: Composed, by: int) -> Composed:
    """The same, so many ports further."""
    profile, name = composed.profile, composed.dialect.option_of("port")
    port = (profile.flags.port or composed.dialect.port) + by
    access = profile.access
    if access.health_listen:
        host, at = listening(access.health_listen)
        place = f"[{host}]:{at + by}" if ":" in host else f"{host}:{at + by}"
        access = access.model_copy(update={"health_listen": place})
    flags = profile.flags.model_copy(update={"port": port})
    layer = Layer(_place(composed), {"why": {name: "a port for each replica, from the first on"}})
    return replace(
        composed,
        profile=profile.model_copy(update={"flags": flags, "access": access}),
        flags=composed.flags | {name: port},
        origin=composed.origin | {f"flags.{name}": layer},
    )


def placed(composed: Composed, devices: Sequence[str]) -> Composed:
    """The replica with GPUs of its own: of those that the profile shows it, else of the host's
    `devices`, in their order. As it is where it needs none, or nobody knows the host's.

    Raises UserError where there are too few, or one is named twice.
    """
    profile = composed.profile
    said = [one.strip() for one in profile.env.get(DEVICES, "").split(",") if one.strip()]
    pool, each = said or list(devices), profile.gpus
    if not composed.replica or not each or not pool:
        return composed
    if twice := [one for one, times in Counter(pool).items() if times > 1]:
        fix = "name each GPU once"
        raise UserError(f"env.{DEVICES} names GPU {twice[0]} twice: two replicas on it", fix=fix)
    if len(pool) < each * profile.replicas:
        has = f"env.{DEVICES} names {len(pool)}" if said else f"this host has {len(pool)}"
        raise UserError(
            f"{profile.replicas} replicas of {each} GPUs each want {each * profile.replicas},"
            f" {has}",
            fix=f"`--set replicas={max(1, len(pool) // each)}`; a further one needs another host",
        )
    mine = ",".join(pool[(composed.replica - 1) * each : composed.replica * each])
    why = "GPUs of its own, those of one root complex together"
    layer = Layer(_place(composed), {"why": {DEVICES: why}})
    return replace(
        composed,
        profile=profile.model_copy(update={"env": profile.env | {DEVICES: mine}}),
        origin=composed.origin | {f"env.{DEVICES}": layer},
    )


def _place(composed: Composed) -> str:
    return f"replica {composed.replica} of {composed.profile.replicas}"
