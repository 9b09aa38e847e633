"""How a running SGLang is watched."""

from __future__ import annotations

import re

from launcher.engines.activity import Allowed
from launcher.engines.runtime import SHARED, Runtime
from launcher.engines.sglang import KEY, NAME, PACKAGE, api
from launcher.engines.sglang.figures import figures
from launcher.engines.sglang.loading import loading
from launcher.engines.sglang.log import LOG
from launcher.plan.plan import Plan

READY, HAS_READY = "/ready", [0, 5, 20]  # and the first release with it


def allowed(plan: Plan) -> Allowed:
    """What this plan allows. Unchunked (-1) one prompt is a batch, however long it is."""
    chunk, prefill = plan.flag("chunked-prefill-size"), plan.flag("max-prefill-tokens")
    known = [int(size) for size in (chunk, prefill) if size and size.isdecimal()]
    is_whole = chunk is not None and not chunk.isdecimal()
    return Allowed(
        min(known) if known and not is_whole else None,
        readiness(plan) != READY,
        plan.policy.stall_timeouts.warmup,
        plan.flag("log-level-http", "log-level") not in (None, "info", "debug", "trace"),
    )


def readiness(plan: Plan) -> str:
    """`/ready` where the release is known to have it; `/health` takes a second."""
    release = [int(part) for part in re.findall(r"\d+", plan.release or "")[:3]]
    return READY if release >= HAS_READY else "/health"


RUNTIME = Runtime(
    name=NAME,
    package=PACKAGE,
    log=LOG,
    ranks="sglang::",  # "sglang::scheduler_TP3", the detokenizer, a controller
    # utils/stale_shm_cleanup.py, which it runs in its own CI alone; mem_cache/storage/mmap
    shared=(*SHARED, "sgl_shm_*", "sglang_loads_*", "multi_tokenizer_args_*", "sglang_host_pool_*"),
    key=KEY,
    first_token=api.first_token,
    alive=api.alive,
    paused=lambda _: False,  # `alive` tells: a pause must be found before it fails
    leads=api.leads,
    in_flight=api.in_flight,
    figures=figures,
    ready_since=".".join(map(str, HAS_READY)),
    ends_well=False,
    allowed=allowed,
    loading=loading,
    readiness=readiness,
)
