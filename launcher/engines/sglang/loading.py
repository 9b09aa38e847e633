"""How SGLang's loaders read a checkpoint: model_loader/loader.py and weight_utils.py of 0.5.23."""

from __future__ import annotations

from launcher.engines.loading import DIRECT, GDS, NO_FILES, Loading, known, of_format, table_in
from launcher.plan.plan import Plan

# Formats that do not read the checkpoint's own files through the page cache. The names are sorted
# before they are read (`SGLANG_SORT_WEIGHT_FILES`, 0 by default), as text.
OTHERS = {
    "instanttensor": DIRECT,  # its README: direct I/O
    "presharded": "reads files of its own below presharded/",
    "sharded_state": "reads a file a rank of its own",
    "expert_pack": "reads packs of its own",
    "dummy": NO_FILES,
    "remote": NO_FILES,
    "remote_instance": NO_FILES,
    "rdma": NO_FILES,
    "ipc_cache": NO_FILES,
}


def loading(plan: Plan) -> Loading:
    """What is read for this plan, the draft model after the model."""
    models = known(plan.model, plan.flag("speculative-draft-model-path"))
    extra = table_in(plan.flag("model-loader-extra-config"))
    others = OTHERS
    if extra.get("enable_gds", True):
        others = others | {"fastsafetensors": GDS}
    if plan.flag("weight-cache-mode") == "client":
        return Loading(models, against="--weight-cache-mode client maps another process's weights")
    name = (plan.flag("load-format") or "auto").lower()
    return of_format(models, name, others, natural=False)
