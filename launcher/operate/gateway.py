"""The gateway in front of replicas: brought up as a profile is, and looked at."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from launcher.address import LOCAL, canonical, is_any, is_loopback, numeric
from launcher.config import layers
from launcher.engines.server import Server
from launcher.errors import Exit, UserError
from launcher.gateway import DEFAULT, EXTRA, LEAST, NAME, settings
from launcher.gateway.instances import plan_of
from launcher.gateway.manifest import place_of
from launcher.gateway.roster import listed
from launcher.gateway.runtime import runtime
from launcher.gateway.settings import HEALTH, READY, Options
from launcher.gateway.workers import Seen, seen
from launcher.host import port
from launcher.host.peer import Peer
from launcher.operate import control
from launcher.operate.up import Screen, claimed, require_fit_place, started
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key
from launcher.serve import capabilities
from launcher.serve.reaper import descendants
from launcher.statedir.folder import StateDir
from launcher.statedir.home import known, state_home
from launcher.statedir.replica import split


def up(options: Options, environ: Mapping[str, str], screen: Screen, *, detach: bool) -> int:
    """Bring a gateway up; in the foreground this does not return.

    Raises UserError when something is in the way: nothing was started then.
    """
    capabilities.drop_ambient()
    require_fit_place()
    instance = StateDir(state_home(environ), options.name)
    _require_own_folder(instance)
    claim = claimed(instance)
    made = plan(options, instance)
    for option, host, number in (
        ("--listen", options.host, options.port),
        ("--metrics-listen", options.metrics_host, options.metrics_port),
    ):
        if held := port.obstacle(host, number):
            apart = (options.port, options.metrics_port)
            fix = f"choose another address: {port.another(option, host, number, apart)}"
            raise UserError(str(held.strerror), fix=fix)
    return started(made, instance, claim, screen, detach=detach)


def _require_own_folder(instance: StateDir) -> None:
    """Raise UserError where a profile has the name, or a server the folder."""
    _require_own_name(instance.name)
    if plan_of(instance):
        of(instance)


def plan(options: Options, instance: StateDir) -> Plan:
    """The plan of a gateway on this host as it is now. Raises UserError."""
    release = _release()
    _require_guarded(options)
    _require_apart(options)
    if options.key_file:
        options = replace(options, key_file=str(Path(options.key_file).absolute()))
        read_key(Path(str(options.key_file)))
    options = replace(options, health=options.health or _health(instance, options.name))
    return settings.plan(options, instance.folder, sys.executable, release)


def _release() -> str:
    """The release of smg beside this program. Raises UserError without one that will do."""
    fix = f"`{sys.executable} -m pip install --upgrade '{EXTRA}'`"
    try:
        found = metadata.version(NAME)
    except metadata.PackageNotFoundError:
        what = f"{NAME}, which is the gateway, is not installed beside glm5-serve"
        raise UserError(what, fix=fix) from None
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < LEAST:
        least = ".".join(map(str, LEAST))
        raise UserError(f"{NAME} {found} is too old, wanted {least} or later", fix=fix)
    return found


def _require_guarded(options: Options) -> None:
    """Raise UserError where more than this host reaches a gateway that asks for no key, or its
    metrics: smg never asks for one there.
    """
    if options.open_without_key:
        return
    if not (is_loopback(options.host) or options.key_file):
        raise UserError(
            f"the gateway would listen on {options.host} without an API key: whoever reaches port"
            f" {options.port} may use the model, and redirect requests by its /workers",
            fix="add --api-key-file FILE, listen on 127.0.0.1, or say it explicitly:"
            " --open-without-key",
        )
    if not is_loopback(options.metrics_host):
        raise UserError(
            f"the gateway's metrics would be on {options.metrics_host} without a key: whoever"
            f" reaches port {options.metrics_port} reads them",
            fix="--metrics-listen on 127.0.0.1, or say it explicitly: --open-without-key",
        )


def _require_apart(options: Options) -> None:
    """Raise UserError where two of a gateway's addresses are one."""
    mine = (options.host, options.port), (options.metrics_host, options.metrics_port)
    if _meet(*mine):
        what = f"--listen and --metrics-listen are one address, port {options.port}"
        raise UserError(what, fix="give one of them another port", status=Exit.USAGE)
    for url in options.workers:
        place = place_of(url)
        if _is_here(place[0]) and any(_meet(place, one) for one in mine):
            what = f"--worker {url} is the gateway itself"
            raise UserError(what, fix="name the server that is behind it", status=Exit.USAGE)


def _meet(one: tuple[str, int], other: tuple[str, int]) -> bool:
    hosts = {"127.0.0.1" if host == LOCAL else host for host in map(canonical, (one[0], other[0]))}
    return one[1] == other[1] and (len(hosts) == 1 or any(map(is_any, hosts)))


def _is_here(host: str) -> bool:
    """Whether it is an address of this host; of names only `localhost` is for certain."""
    return is_loopback(host) or (numeric(host) is not None and port.obstacle(host, 0) is None)


def _health(instance: StateDir, name: str) -> str:
    """What its workers are asked by: `/ready` where every instance that names it has that."""
    made = filter(None, map(plan_of, known(instance.folder.parent)))
    asked = {runtime(one.engine).readiness(one) for one in made if one.gateway == name}
    return READY if asked <= {READY} else HEALTH


@dataclass(frozen=True)
class Replica:
    """An instance behind a gateway, or a worker that is none of ours, and what the gateway has of
    it; `gateway` None: nobody knows.
    """

    name: str
    url: str
    state: str
    gateway: str | None  # "routed", "unhealthy", "not reached", "not listed"
    running: int | None  # requests under way

    def to_json(self) -> dict[str, Any]:
        return self.__dict__.copy()


def replicas(instance: StateDir) -> list[Replica]:
    """Who is behind a gateway, by name. Raises UserError for an instance that is no gateway."""
    made = of(instance)
    told = asked(instance, made) if made else None
    found = [(one.name, url, one.look()) for one, url in members(instance)]
    every = [_replica(name, url, record.state, told) for name, url, record in found]
    urls = {url for _, url, _ in found}
    given = Options.of(made).workers if made else ()
    others = dict.fromkeys((*given, *(one.url for one in told or ())))
    every += [_replica(url, url, "unknown", told) for url in others if url not in urls]
    silent = listed(instance)
    return [
        replace(one, gateway="not reached")
        if one.gateway == "not listed" and one.url in silent
        else one
        for one in every
    ]


def members(gateway: StateDir) -> Iterator[tuple[StateDir, str]]:
    """The instances that name a gateway, and where they serve."""
    for one in known(gateway.folder.parent):
        made = plan_of(one)
        if made and made.gateway == gateway.name:
            yield one, Server(made.host, made.port).url


def of(instance: StateDir) -> Plan | None:
    """The plan of a gateway; None for one that is up, and whose plan was lost. Raises UserError
    where there is no such.
    """
    made = plan_of(instance)
    if made is None:
        _require_own_name(instance.name)
        if control.has_launcher(instance):
            return None
        named = "" if instance.name == DEFAULT else f" {instance.name}"
        fix = f"`glm5-serve gateway up{named}`"
        raise UserError(f"no gateway{named} is up", fix=fix, status=Exit.NO)
    if made.engine != NAME:
        what = f"{instance.name} is no gateway: it serves {made.model_name}"
        raise UserError(what, fix="`glm5-serve status` lists what is up", status=Exit.USAGE)
    return made


def _require_own_name(name: str) -> None:
    """Raise UserError for a profile's name, and that of a replica: they would share a folder."""
    bare = split(name)[0]
    if bare in layers.aliases() or any(
        found.name == bare for found in layers.all_profiles(os.environ)
    ):
        what = f"{name} is no gateway: profile {bare} has that name"
        fix = "choose another name for the gateway, or none: it is `gateway` then"
        raise UserError(what, fix=fix, status=Exit.USAGE)


def asked(instance: StateDir, made: Plan) -> tuple[Seen, ...] | None:
    """What a gateway says of its workers; None where it does not."""
    if not instance.is_held():
        return None
    key = read_key(Path(made.key_file)) if made.key_file else None
    return seen(Server(made.host, made.port, key, Peer(partial(_processes, instance))))


def _processes(instance: StateDir) -> list[int]:
    launcher = instance.look().pids.launcher
    return descendants(launcher) if launcher else []


def _replica(name: str, url: str, state: str, told: tuple[Seen, ...] | None) -> Replica:
    mine = next((one for one in told or () if one.url == url), None)
    if mine is None:
        return Replica(name, url, state, None if told is None else "not listed", None)
    return Replica(name, url, state, "routed" if mine.is_ready else "unhealthy", mine.running)
