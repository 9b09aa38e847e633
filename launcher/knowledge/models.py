"""Families of models (`models.toml`), and which one a checkpoint is of."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("models.toml")
_LISTS = ("architectures", "types", "names", "parsers", "variants")
# how the hub's cache calls the folder of a repository
_CACHED = re.compile(r"models--([^/]+)--([^/]+)")


@dataclass(frozen=True)
class Named:
    """What the name of a checkpoint says: its parsers, for reasoning and for tool calls, and sizes
    that its config.json would say.
    """

    parsers: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """What is known of one checkpoint beyond its family."""

    evidence: str
    source: str
    mtp: bool = True  # whether it has the layers for multi-token prediction


@dataclass(frozen=True)
class Family:
    """Models that the same is true of."""

    id: str
    architectures: tuple[str, ...]
    types: tuple[str, ...]
    names: tuple[str, ...]
    traits: frozenset[str]
    source: str
    evidence: str
    checked: str
    parsers: tuple[str, ...] = ()  # for reasoning and for tool calls
    config: Mapping[str, Any] = field(default_factory=dict)
    variants: tuple[Mapping[str, Any], ...] = ()
    checkpoints: Mapping[str, Checkpoint] = field(default_factory=dict)

    def of_name(self, name: str) -> Named:
        """What a checkpoint's name says; its variants' words count over those of the family."""
        told = Named(self.parsers, self.config)
        for variant in self.variants:
            if any(_fits(pattern, checkpoint(name)) for pattern in variant["names"]):
                config = {**told.config, **variant.get("config", {})}
                told = Named(tuple(variant.get("parsers", told.parsers)), config)
        return told


@cache
def families() -> tuple[Family, ...]:
    """All that are known."""
    rows = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return tuple(_family(id, row) for id, row in rows.items())


def _family(id: str, row: Mapping[str, Any]) -> Family:
    lists = {key: tuple(row[key]) for key in _LISTS if key in row}
    found = {id: Checkpoint(**told) for id, told in row.get("checkpoints", {}).items()}
    return Family(
        id=id, **{**row, **lists, "traits": frozenset(row["traits"]), "checkpoints": found}
    )


def by_architecture(word: str) -> Family | None:
    """The family that says this in config.json, as `architectures` or as `model_type`."""
    return next((one for one in families() if word in (*one.architectures, *one.types)), None)


def by_name(model: str) -> Family | None:
    """The family of a hub id, or of a folder, by the checkpoint's own name; where it lies says
    nothing.
    """
    name = checkpoint(model)
    fits = [
        (len(fit), at, one)
        for at, one in enumerate(families())
        for pattern in one.names
        if (fit := _fits(pattern, name))
    ]
    return max(fits)[2] if fits else None


def checkpoint(model: str) -> str:
    """The name of a checkpoint, lower case: the last part of a hub id or path."""
    if cached := _CACHED.search(model):
        return cached[2].lower()
    return model.rstrip("/").rpartition("/")[2].lower().replace("_", "-")


def known(model: str) -> Checkpoint | None:
    """What is known of one checkpoint by its hub id, in the hub's cache too; None for the
    others.
    """
    cached = _CACHED.search(model)
    id = (f"{cached[1]}/{cached[2]}" if cached else model).lower()
    return next((one.checkpoints[id] for one in families() if id in one.checkpoints), None)


def _fits(pattern: str, name: str) -> str:
    """The part of a name that a pattern describes, "" where it does not fit or goes on without a
    dash.
    """
    found = re.match(rf"({pattern})(?:-|$)", name)
    return found[1] if found else ""
