"""How vLLM's loaders read a checkpoint: model_executor/model_loader of 0.32.0."""

from __future__ import annotations

from launcher.engines.loading import DIRECT, GDS, NO_FILES, Loading, known, of_format, table_in
from launcher.plan.plan import Plan

# Formats that do not read the checkpoint's own files through the page cache. The others sort the
# names with their numbers as numbers (`_natural_sort_key`).
OTHERS = {
    "instanttensor": DIRECT,  # config/load.py: direct I/O
    "sharded_state": "reads a file a rank of its own",
    "runai_streamer_sharded": "reads a file a rank of its own",
    "tensorizer": "reads a file of its own",
    "dummy": NO_FILES,
    "modelexpress": NO_FILES,
    "ipc_cache": NO_FILES,
}


def loading(plan: Plan) -> Loading:
    """What is read for this plan, the draft model after the model."""
    draft = table_in(plan.flag("speculative-config")).get("model")
    others = OTHERS
    ranks = [plan.flag("tensor-parallel-size"), plan.flag("pipeline-parallel-size")]
    if all(size in (None, "1") for size in ranks):  # with more ranks it uses no GDS
        others = others | {"fastsafetensors": GDS}
    name = (plan.flag("load-format") or "auto").lower()
    name = "auto" if name == "hf" else name
    return of_format(known(plan.model, draft), name, others, natural=True)
