"""The profiles that are shipped, by their engines, and the plans that they give."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from launcher.config.composed import Composed
from launcher.config.layers import PACKAGED
from launcher.config.load import PlanRequest, load
from launcher.config.resolve import resolve
from launcher.engines.engine import dialect
from launcher.engines.options import version
from launcher.engines.target import Target
from launcher.plan.plan import Plan

EVERY = tuple(sorted(path.stem for path in PACKAGED.glob("*.toml")))


@cache
def composed(name: str, *settings: str) -> Composed:
    """A shipped profile with settings, found sound: once, whatever it is resolved for."""
    ask = PlanRequest(str(PACKAGED / f"{name}.toml"), settings)
    return load(ask, {"HOME": "/home/op"})


def engine(name: str) -> str:
    """The engine that a shipped profile is for."""
    return composed(name).profile.engine.kind


def of(kind: str) -> tuple[str, ...]:
    """The shipped profiles of an engine."""
    return tuple(name for name in EVERY if engine(name) == kind)


def releases(kind: str) -> tuple[str, ...]:
    """The releases of an engine that know GLM-5 and are known."""
    known = dialect(kind)
    oldest = version(known.oldest)
    return tuple(one for one in known.options.releases if version(one) >= oldest)


def plan(name: str, release: str | None = None, arch: str | None = None, *settings: str) -> Plan:
    """A shipped profile resolved for a release and an architecture."""
    ask = PlanRequest(str(PACKAGED / f"{name}.toml"), settings)
    target = Target(release, arch, engine=engine(name))
    return resolve(composed(name, *settings), ask, Path("/state"), {}, target)
