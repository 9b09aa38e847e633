"""How `fit` asks the host that it runs on."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.api.fit import Here
from launcher.host.collectors import checkpoint, disk
from launcher.host.facts import Engine
from launcher.host.observe import observe, observe_driver


def here(environ: Mapping[str, str]) -> Here:
    """The host here. What is installed on it has no size: its engine is not asked."""
    return Here(
        driver=observe_driver,
        host=lambda plan, driver: observe(plan, environ, driver, Engine()),
        model=lambda path: checkpoint.checkpoint(path, environ),
        headers=checkpoint.sizes,
        speed=disk.speed,
    )
