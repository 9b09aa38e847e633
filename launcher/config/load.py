"""From a profile's name, and what was said beside it, to its values: all layers, put together and
found sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launcher import printable
from launcher.address import listening
from launcher.config import addresses, layers, of_model, replicas, words
from launcher.config import errors as wrong
from launcher.config import nodes as several
from launcher.config.composed import Composed
from launcher.config.layers import Layer
from launcher.config.profile import Profile, by_role
from launcher.engines.engine import dialect
from launcher.errors import Exit, UserError
from launcher.files import places
from launcher.statedir.replica import split


@dataclass(frozen=True)
class PlanRequest:
    """What the operator said: a profile and what shall differ from it."""

    profile: str
    settings: tuple[str, ...] = ()
    api_key_file: str | None = None
    health_listen: str | None = None


def load(ask: PlanRequest, environ: Mapping[str, str]) -> Composed:
    """The profile that was asked for. Raises UserError naming every error of it at once."""
    name, number = split(ask.profile)
    found = layers.find(name, environ)
    stack = [*layers.lineage(found, environ), *_said(ask, environ)]
    errors: list[str] = []
    kind = layers.engine(stack)
    engine = dialect(kind)
    for at, layer in enumerate(stack):
        stack[at], twice = layers.canonical(layer, engine.options)
        errors += twice
    try:
        values, origin = layers.overlay(stack)
        values = layers.expand(values, environ)
    except RecursionError:
        raise UserError(
            f"profile {found.name} is nested too deep", fix="write tables of keys"
        ) from None
    several.require_several(found.name, values, origin)
    profile, misfits = _validated(values, kind, origin, found.path)
    errors += misfits
    flags = _flags(values)
    errors += several.errors(profile, flags, origin, engine) if profile else ()
    errors += wrong.of_flags(flags, origin, engine)
    errors += addresses.errors(flags, origin, engine)
    errors += wrong.of_variables(values.get("env"), origin)
    errors += wrong.of_reasons(stack)
    errors += wrong.of_skipped(profile, origin) if profile else []
    errors += layers.unprintable(values, origin)
    if errors or profile is None:
        wrong_already = {name for name in flags if any(f"flags.{name}:" in one for one in errors)}
        left = {name: value for name, value in flags.items() if name not in wrong_already}
        errors += wrong.of_unknown(left, origin, engine)
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        listing = "".join(f"\n  {printable.line(line)}" for line in errors)
        raise UserError(
            f"profile {found.name} has {count}:{listing}", fix="correct them where they stand"
        )
    doubt = next((layer.doubt for layer in stack if layer.doubt), None)
    models = of_model.models_of(stack, engine)
    wide = several.spread(profile, values["flags"], origin, engine)
    composed = Composed(
        found.name, found.path, wide.profile, wide.flags, wide.origin, doubt, models, found.meaning
    )
    return replicas.of(composed, number)


def _said(ask: PlanRequest, environ: Mapping[str, str]) -> list[Layer]:
    """The layers above the files, the last one counts: the environment, then the command line."""
    stack = [layers.from_environment(environ), layers.from_settings(list(ask.settings))]
    if ask.api_key_file is not None:
        given = ask.api_key_file
        key_file = given if given.startswith("~/") else str(Path(given).absolute())
        places.require_file("--api-key-file", Path(key_file), writing=False)
        stack.append(Layer("--api-key-file", {"access": {"api_key_file": key_file}}))
    if ask.health_listen is not None:
        _require_address(ask.health_listen)
        listens = {"health_listen": ask.health_listen}
        stack.append(Layer("--health-listen", {"access": listens}))
    return stack


def _require_address(text: str) -> None:
    """Raise UserError (usage) where nobody can listen."""
    try:
        listening(text)
    except ValueError as error:
        what = f"--health-listen {words.shown(text)}: {error}"
        fix = "--health-listen 127.0.0.1:8001"
        raise UserError(what, fix=fix, status=Exit.USAGE) from None


def _flags(values: Mapping[str, Any]) -> dict[str, Any]:
    return values["flags"] if isinstance(values.get("flags"), dict) else {}


def _validated(
    values: dict[str, Any], kind: str, origin: Mapping[str, Layer], path: Path
) -> tuple[Profile | None, list[str]]:
    """The profile, or what keeps the values from being one."""
    flags = _flags(values)
    # An option that was dropped (false) may be one that must have another type.
    passed = {name: value for name, value in flags.items() if value is not False}
    try:
        typed = {"flags": by_role(passed, kind)} if flags else {}
        return Profile.model_validate(values | typed), []
    except ValidationError as error:
        return None, wrong.in_words(error, origin, path, dialect(kind))
