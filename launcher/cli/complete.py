"""What a shell may complete: profiles, checks, GPUs, releases, and the keys of --set."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import click

from launcher.errors import UserError


def profiles(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The profile names that begin so."""
    from launcher.config.layers import all_profiles

    with contextlib.suppress(UserError):  # the command itself will say what is in the way
        names = {found.name for found in all_profiles(os.environ) if found.name.isprintable()}
        return sorted(name for name in names if name.startswith(incomplete))
    return []


def checks(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The ids of checks that begin so."""
    from launcher.doctor.checks import every_check

    return [check.id for check in every_check() if check.id.startswith(incomplete)]


def gpus(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The products that begin so."""
    from launcher.knowledge.gpus import products

    known = products().values()
    return [one.id for one in known if one.is_blackwell and one.id.startswith(incomplete)]


def archs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The architectures that begin so."""
    from launcher.engines.target import ARCHS

    return sorted(arch for arch in ARCHS if arch.startswith(incomplete))


def releases(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The releases of any engine that begin so, the newest first."""
    from launcher.engines.engine import NAMES, dialect
    from launcher.engines.options import version

    known = {name for engine in NAMES for name in dialect(engine).options.releases}
    return sorted((one for one in known if one.startswith(incomplete)), key=version, reverse=True)


def settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The keys of a profile that begin so, with their tables; under `flags` and `env` what the
    newest releases know.
    """
    *tables, _ = incomplete.split(".")
    keys = (
        ".".join((*tables, key)) + ("." if _keys((*tables, key)) else "=") for key in _keys(tables)
    )
    return sorted(key for key in keys if key.startswith(incomplete))


def _keys(tables: Sequence[str]) -> list[str]:
    from launcher.config.profile import known_keys
    from launcher.engines.engine import NAMES, dialect
    from launcher.knowledge import nccl

    newest = [one.release(one.newest) for one in (dialect(name).options for name in NAMES)]
    match tables:
        case ["env"]:
            return sorted(nccl.NAMES | {name for one in newest for name in one.variables})
        case ["flags"]:
            names = {option.name for one in newest for option in one.options.values()}
            return sorted(name.removeprefix("--") for name in names if name.startswith("--"))
        case [("env" | "flags"), _]:
            return []
    return known_keys((*tables, ""))
