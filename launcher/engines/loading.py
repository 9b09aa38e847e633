"""How an engine's loader reads a checkpoint: what decides whether reading it ahead helps.

It helps a loader that reads through the page cache. One that reads around it (direct input, GPU
Direct Storage), or no files at all, would have the disk read everything twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Names of weight files by load format, as both engines look for them: the first pattern that finds
# any counts.
PATTERNS: Mapping[str, tuple[str, ...]] = {
    "auto": ("*.safetensors", "*.bin"),
    "safetensors": ("*.safetensors",),
    "fastsafetensors": ("*.safetensors",),
    "mistral": ("consolidated*.safetensors",),
    "pt": ("*.pt",),
    "npcache": ("*.bin",),
    "bitsandbytes": ("*.safetensors", "*.bin"),
    "layered": ("*.safetensors", "*.bin"),
    "flash_rl": ("*.safetensors", "*.bin"),
}
DIRECT = "reads past the page cache"
NO_FILES = "reads no weight files of the checkpoint"
GDS = "reads by GPU Direct Storage, past the page cache"


@dataclass(frozen=True)
class Loading:
    """What is read for a plan, in the order of its loader.

    `models` are folders or hub ids. Files that an index names are those that it names; `natural`:
    numbers in names are sorted as numbers. `against` says why reading ahead would not help, ""
    where it does.
    """

    models: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    natural: bool = False
    against: str = ""


def of_format(
    models: tuple[str, ...], name: str, others: Mapping[str, str], *, natural: bool
) -> Loading:
    """The loading of a load format; `others` are those that read otherwise, and why."""
    if name in others:
        return Loading(models, against=f"--load-format {name} {others[name]}")
    if name not in PATTERNS:
        what = f"whether --load-format {name} reads through the page cache is not known"
        return Loading(models, against=what)
    return Loading(models, PATTERNS[name], natural)


def table_in(text: str | None) -> Mapping[str, Any]:
    """The JSON object that an option has for its value; empty where it is none."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def known(*models: object) -> tuple[str, ...]:
    """Those that are named, each once, in their order."""
    return tuple(dict.fromkeys(model for model in models if isinstance(model, str) and model))
