"""From what was asked to the plan and the instance it is for: the same for `render`, `up` and `doctor`."""

from __future__ import annotations

from collections.abc import Mapping

from launcher import layers
from launcher.instance import Instance, state_home
from launcher.plan import Plan
from launcher.resolve import Ask, compose, resolve


def planned(ask: Ask, environ: Mapping[str, str]) -> tuple[Plan, Instance]:
    """The plan for what was asked, and the instance it is for. Nothing is written."""
    composed = compose(ask, environ)
    instance = Instance(state_home(environ), composed.name)
    return resolve(composed, ask, instance.folder, layers.ours(environ)), instance
