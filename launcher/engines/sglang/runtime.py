"""How a running SGLang is watched."""

from __future__ import annotations

import re

from launcher.engines.activity import Allowed
from launcher.engines.runtime import Runtime
from launcher.engines.sglang import KEY, NAME, PACKAGE, api
from launcher.engines.sglang.log import LOG
from launcher.plan.plan import Plan

HAS_READY = [0, 5, 20]  # the first release with /ready


def allowed(plan: Plan) -> Allowed:
    """What this plan allows. Unchunked (-1) one prompt is a batch, however long it is."""
    chunk, prefill = plan.flag("chunked-prefill-size"), plan.flag("max-prefill-tokens")
    known = [int(size) for size in (chunk, prefill) if size and size.isdecimal()]
    is_whole = chunk is not None and not chunk.isdecimal()
    release = [int(part) for part in re.findall(r"\d+", plan.release or "")[:3]]
    return Allowed(
        min(known) if known and not is_whole else None,
        not release or release < HAS_READY,
        plan.policy.stall_timeouts.warmup,
        plan.flag("log-level-http", "log-level") not in (None, "info", "debug", "trace"),
    )


RUNTIME = Runtime(
    name=NAME,
    package=PACKAGE,
    log=LOG,
    ranks="sglang::",  # "sglang::scheduler_TP3", the detokenizer, a controller
    key=KEY,
    first_token=api.first_token,
    alive=api.alive,
    in_flight=api.in_flight,
    ready_since=".".join(map(str, HAS_READY)),
    ends_well=False,
    allowed=allowed,
)
