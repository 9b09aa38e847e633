"""A profile whose layers were put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.config import layers
from launcher.config.profile import Profile
from launcher.engines.dialect import Dialect
from launcher.engines.engine import dialect
from launcher.files.ownership import Doubt


@dataclass(frozen=True)
class Composed:
    """A profile whose layers were put together and found sound."""

    name: str
    path: Path
    profile: Profile
    flags: dict[str, Any]  # by canonical name, in the order in which they will stand in the command
    origin: dict[str, layers.Layer] = field(repr=False)
    doubt: Doubt | None = None  # about a file that it is made of: others may have written it
    models: Mapping[str, str] = field(default_factory=dict)  # options: see `of_model.models_of`
    meaning: str = ""  # what its name stands for, where that is an old one
    replica: int = 0  # which of several of the profile; 0: it is the only one

    @property
    def dialect(self) -> Dialect:
        """How its engine is told what to do."""
        return dialect(self.profile.engine.kind)

    @property
    def written(self) -> dict[str, str]:
        """How the author calls the options whose canonical name is another one."""
        layers_ = {name: self.origin.get(f"flags.{name}") for name in self.flags}
        return {
            name: layer.written[name]
            for name, layer in layers_.items()
            if layer and name in layer.written
        }
