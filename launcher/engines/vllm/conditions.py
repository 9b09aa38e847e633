"""What rows of vLLM's issues compute (`engines/conditions.py`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from launcher.engines.dialect import Condition, Values, Words
from launcher.engines.loading import table_in
from launcher.engines.options import Release, version
from launcher.knowledge import models

CONFIG = "speculative-config"
# What of it short options of their own set.
SHORT = {
    "spec-method": "method",
    "spec-model": "model",
    "spec-tokens": "num_speculative_tokens",
}
# Methods that need no model beside the one that is served, and from which release on:
# config/speculative.py of each, where a count is given without a model.
ALONE = {
    "mtp": "0.16.0",
    "ngram": "0.16.0",
    "suffix": "0.16.0",
    "ngram_gpu": "0.19.1",
    "extract_hidden_states": "0.19.1",
    "dspark": "0.25.1",
}
WHOLE = "a method with what it needs, as mtp with num_speculative_tokens; or leave drafts out"
COUNTED = frozenset({"suffix"})  # which has a count of its own


def _draft_config(release: Release, values: Values, name: str, value: str) -> Words | None:
    """What is told of drafts comes to none: vLLM raises as it configures itself. Names and numbers
    alone are the parser's, which knows what each part takes.
    """
    text = values(CONFIG)
    told = dict(table_in(text))
    if text is not None and not told and _is_json(text) and not is_nothing(text):
        return _no_drafts(f"it is {text}, wanted an object: {{...}}")
    if is_nothing(text or "") and not any(values(option) for option in SHORT):
        return None
    told = {key.replace("-", "_"): one for key, one in told.items()}
    for option, key in SHORT.items():
        if (one := values(option)) is None:
            continue
        if key in told:
            both = f"--{option} and {key} of --{CONFIG} are given: it takes one of them"
            return _no_drafts(both, f"leave one of them out: --{option} {one}, or {key}")
        told[key] = one
    if "speculator" in models.checkpoint(values("model") or "").lower():
        return None  # its own config.json fills in what is missing here
    problem = _unresolved(release, told)
    return _no_drafts(problem) if problem else None


def _no_drafts(problem: str, instead: str = WHOLE) -> Words:
    return {"problem": problem, "instead": instead}


def _unresolved(release: Release, told: Mapping[str, Any]) -> str | None:
    """What is missing for tokens to be drafted; None where nothing is, or nobody can say: a draft
    model may tell itself how it drafts, and how much.
    """
    method, model, count = (told.get(key) for key in ("method", "model", "num_speculative_tokens"))
    if model in ("ngram", "[ngram]") and method is None:
        method, model = "ngram", None
    if method is None and model is None:
        return "it names neither how to draft (method) nor a model that drafts (model)"
    if not isinstance(method, str | None):
        return None
    if model is None and method and _knows(release, method) and not _drafts_alone(release, method):
        return f"method {method} drafts by a model of its own, and none is named (model)"
    if count is None and model is None and method not in COUNTED:
        return "it does not say how many tokens to draft (num_speculative_tokens)"
    return None


def _knows(release: Release, method: str) -> bool:
    """Whether a release has a method; of one that it does not have the parser tells."""
    option = release.options.get(f"--{CONFIG}")
    return option is not None and f"'{method}'" in option.parts.get("method", "").split("|")


def _drafts_alone(release: Release, method: str) -> bool:
    """Whether a method needs no model beside the one that is served."""
    first = ALONE.get("mtp" if method.endswith("_mtp") else method)
    return first is not None and version(release.name) >= version(first)


def is_nothing(text: str) -> bool:
    """Whether a value of --speculative-config is none at all: nothing is drafted."""
    return text.strip() in ("", "None", "null")


def _own_drafts(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The model's own layers are to draft: method mtp, or an old name of it."""
    method = str(table_in(value).get("method")) if name == "speculative-config" else value
    return {} if method == "mtp" or method.endswith("_mtp") else None


def _fp8_checkpoint(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The checkpoint's name says that it is in FP8, and by none of the tools let through."""
    model = values("model") or ""
    is_other = re.search(r"dynamic|static|w8a8|compressed|kv", models.checkpoint(model))
    return {} if models.quantisation(model) == "fp8" and not is_other else None


def _fused_all_reduce(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The all-reduce is fused with the norm behind it because the launch says so."""
    passes = table_in(value).get("pass_config")
    told = passes.get("fuse_allreduce_rms") if isinstance(passes, dict) else None
    return {} if str(told).lower() in ("true", "1") else None


def _fused_fp4(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The same, and the checkpoint's name says that it is in NVFP4."""
    is_fp4 = "fp4" in (models.quantisation(values("model") or "") or "")
    return _fused_all_reduce(release, values, name, value) if is_fp4 else None


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
    "fused-all-reduce": _fused_all_reduce,
    "fused-fp4": _fused_fp4,
    "threaded-load": _threaded_load,
}
