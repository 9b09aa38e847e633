"""The forms that a plan can be written in, by the name that `render --format` has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from launcher.formats import compose, docker, kubernetes, quadlet, shell, systemd
from launcher.formats.spec import Spec
from launcher.plan.plan import Plan

WRITERS: Mapping[str, Callable[[Plan], str]] = {"shell": shell.write, "systemd": systemd.write}
# Those of a container.
CONTAINERS: Mapping[str, Callable[[Spec], str]] = {
    "docker": docker.write,
    "compose": compose.write,
    "quadlet": quadlet.write,
    "kubernetes": kubernetes.write,
}
