"""What rows of vLLM's issues compute (`engines/conditions.py`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from launcher.engines.dialect import Condition, Values, Words
from launcher.engines.loading import table_in
from launcher.engines.options import Release
from launcher.knowledge import models


def _draft_config(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The release has no such way to draft, or cannot draft so many tokens."""
    told, methods = table_in(value), release.options.get("--spec-method")
    if not told and _is_json(value):
        return {"problem": f"it is {value}, wanted an object: {{...}}"}
    method, count = told.get("method"), told.get("num_speculative_tokens")
    if isinstance(method, str) and methods and method not in methods.choices:
        return {"problem": f"{release.name} has no method {method} to draft by"}
    if count is not None and not (type(count) is int and count > 0):
        return {"problem": f"num_speculative_tokens is {count}, wanted a whole number above 0"}
    return None


def _own_drafts(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The model's own layers are to draft: method mtp, or an old name of it."""
    method = str(table_in(value).get("method")) if name == "speculative-config" else value
    return {} if method == "mtp" or method.endswith("_mtp") else None


def _fp8_checkpoint(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The checkpoint's name says that it is in FP8, and by none of the tools let through."""
    model = values("model") or ""
    is_other = re.search(r"dynamic|static|w8a8|compressed|kv", models.checkpoint(model))
    return {} if models.quantisation(model) == "fp8" and not is_other else None


def _threaded_load(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The loader is told to use several threads."""
    extra = table_in(values("model-loader-extra-config"))
    return {} if extra.get("enable_multithread_load") else None


def _is_json(value: str) -> bool:
    """Whether a text is JSON of another kind than an object."""
    try:
        return not isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


CONDITIONS: Mapping[str, Condition] = {
    "draft-config": _draft_config,
    "own-drafts": _own_drafts,
    "fp8-checkpoint": _fp8_checkpoint,
    "threaded-load": _threaded_load,
}
