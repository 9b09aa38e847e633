"""Looking at a host: all probes, one after the other, into one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.errors import UserError
from launcher.host import port
from launcher.host.collectors import network
from launcher.host.collectors.checkpoint import checkpoint
from launcher.host.collectors.engine import blind
from launcher.host.collectors.environment import environment
from launcher.host.collectors.kernel import kernel, modules_of_driver
from launcher.host.collectors.nvml import driver
from launcher.host.collectors.pci import pcie
from launcher.host.collectors.system import system
from launcher.host.environment import of_plan
from launcher.host.facts import Driver, Engine, Environment, Fact, Host, Model, known, unknown
from launcher.paths import home
from launcher.plan.plan import Plan
from launcher.redact.keys import read_key

LIVE = Path("/")
NVML_DEADLINE = 10.0  # seconds for all the questions to the driver together


def observe_driver(root: Path = LIVE) -> Driver:
    """What the NVIDIA driver shows. A recorded tree has only what its modules wrote into files."""
    if root == LIVE:
        return modules_of_driver(root, driver(NVML_DEADLINE))
    why: Fact[Any] = unknown("a recorded tree has no driver to ask")
    return modules_of_driver(
        root,
        Driver(
            why,
            why,
            confidential=why,
            gpus=why,
            topology=why,
            p2p_read=why,
            p2p_write=why,
            copies=why,
            diagnostics=why,
        ),
    )


def observe(
    plan: Plan,
    environ: Mapping[str, str],
    seen: Driver,
    asked: Engine,
    root: Path = LIVE,
) -> Host:
    """The host that a plan shall run on. Nothing raises: what cannot be seen is an unknown fact.

    `asked` is what the engine's interpreter said (`collectors.engine`): it is asked once.
    """
    live = root == LIVE
    env = {**environ, **plan.env}
    paths = {
        "model": (
            plan.model
            if Path(plan.model).is_absolute()
            else str(home(environ, "HF_HOME", ".cache/huggingface"))
        ),
        "cache": str(home(environ, "XDG_CACHE_HOME", ".cache").parent),
        "state": plan.state or "/",
        "tmp": environ.get("TMPDIR", "/tmp"),
    }
    found = system(root, paths, seen.version.otherwise(""))
    if live:
        found = replace(
            found,
            port_obstacle=_port(plan),
            key_obstacle=_key(plan),
            networks=network.interfaces(),
            outward=network.outward(),
            clock_error=network.clock_error(),
            rendezvous_obstacle=network.rendezvous(plan),
        )
    return Host(
        observed="this host" if live else f"the tree {root}",
        driver=seen,
        pcie=pcie(root),
        kernel=kernel(root),
        system=found,
        engine=(blind(plan.doubt) if plan.doubt else asked) if live else Engine(),
        environment=(
            environment(root, env, environ.get("HOME", "/root"))
            if live
            else of_plan(Environment(), plan)
        ),
        model=checkpoint(plan.model, env) if live else Model(),
    )


def _port(plan: Plan) -> Fact[str | None]:
    found = port.obstacle(plan.host, plan.port)
    return known(found.strerror if found else None)


def _key(plan: Plan) -> Fact[str | None]:
    """Why the key cannot be had from its file; one that others name is not read."""
    if plan.doubt:
        return unknown(plan.doubt)
    try:
        if plan.key_file:
            read_key(Path(plan.key_file))
    except UserError as refusal:
        return known(refusal.what)
    return known(None)
