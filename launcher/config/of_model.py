"""Options that say something of one model, where another one is served in its place. Pure.

A profile that is told to serve another model has the parsers, the drafting and the sparse kernels
of its own one: another family gets its own, or none, and both are said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.config.layers import Layer
from launcher.engines.dialect import Dialect
from launcher.engines.traits import Identity
from launcher.knowledge import models

PARSERS = ("reasoning-parser", "tool-call-parser")  # as `Family.parsers` has them


@dataclass(frozen=True)
class Suited:
    """The options for the model that is served, where those came from that are its own, and what to
    say of it.
    """

    flags: dict[str, Any]
    origin: dict[str, Layer] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def models_of(stack: Sequence[Layer], engine: Dialect) -> dict[str, str]:
    """The model that each option was set for that says something of one (`Dialect.of_model`), by
    the layers of a profile, oldest first.
    """
    named, of_one = engine.option_of("model_path"), engine.of_model
    model = ""
    made: dict[str, str] = {}
    for layer in stack:
        flags = layer.values.get("flags")
        if isinstance(flags, dict):
            model = str(flags.get(named, model))
            made |= dict.fromkeys((name for name in flags if name.startswith(of_one)), model)
    return made


def suited(
    flags: Mapping[str, Any],
    said: Mapping[str, str],
    path: str,
    model: Identity,
    engine: str,
    *,
    changes: bool,
) -> Suited:
    """The options of an engine for the `model` at `path` in place of those that were set for one of
    another family.

    Where nobody knows of which family one of them is, or nothing `changes`, they stay, and are
    told.
    """
    named = model.family.of_name(path).parsers if model.family else {}
    own = dict(zip(PARSERS, named.get(engine, ()), strict=False))
    wrong = [
        name
        for name, value in flags.items()
        if _is_of_another(said.get(name, ""), path, model) and value not in (False, own.get(name))
    ]
    if not wrong:
        return Suited(dict(flags))
    where = f"set for {', '.join(dict.fromkeys(said[name] for name in wrong))}"
    if not changes or model.family is None or None in {_family(said[name]) for name in wrong}:
        told = f"{where}, and not known to suit {path}: {_listed(flags, wrong)}"
        return Suited(dict(flags), notes=(told,))
    taken = [name for name in wrong if name in own]
    left = [name for name in wrong if name not in own]
    why = f"the parser of {model.family.id} ({model.family.source})"
    place = Layer("models.toml", {"why": dict.fromkeys(taken, why)})
    return Suited(
        {
            name: own.get(name, value) if name in wrong else value
            for name, value in flags.items()
            if name not in left
        },
        {f"flags.{name}": place for name in taken},
        tuple(
            f"{where}, {what} {path}: {_listed(values, names)}"
            for what, values, names in (
                ("left out for", flags, left),
                ("of its own family for", own, taken),
            )
            if names
        ),
    )


def _is_of_another(of: str, path: str, model: Identity) -> bool:
    return of not in ("", path) and _family(of) != (model.family.id if model.family else None)


def _family(named: str) -> str | None:
    family = models.by_name(named)
    return family.id if family else None


def _listed(flags: Mapping[str, Any], names: Iterable[str]) -> str:
    return ", ".join(f"--{name} {flags[name]}" for name in names)
