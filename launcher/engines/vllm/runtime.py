"""How a running vLLM is watched."""

from __future__ import annotations

from launcher.engines.activity import Allowed
from launcher.engines.runtime import SHARED, Runtime
from launcher.engines.vllm import KEY, NAME, PACKAGE, api
from launcher.engines.vllm.figures import figures
from launcher.engines.vllm.loading import loading
from launcher.engines.vllm.log import LOG
from launcher.plan.plan import Plan


def allowed(plan: Plan) -> Allowed:
    """What this plan allows: its log tells of no batch, and of no pause."""
    tokens = plan.flag("max-num-batched-tokens") or ""
    return Allowed(
        batch=int(tokens) if tokens.isdecimal() else None,
        pauses=False,
        compiling=plan.policy.stall_timeouts.warmup,
        is_quiet=plan.flag("uvicorn-log-level") not in (None, "info", "debug", "trace"),
    )


RUNTIME = Runtime(
    name=NAME,
    package=PACKAGE,
    log=LOG,
    ranks="VLLM::",  # "VLLM::EngineCore", "VLLM::Worker_TP3"
    # between its ranks on a CPU (cpu_communicator.py); its offloaded KV cache
    shared=(*SHARED, "*-cpushm_*", "vllm_offload_*", "vllm_ec_*"),
    key=KEY,
    first_token=api.first_token,
    alive=api.alive,
    paused=api.paused,
    leads=api.leads,
    in_flight=api.in_flight,
    figures=figures,
    ready_since="",
    ends_well=True,
    allowed=allowed,
    loading=loading,
    readiness=lambda plan: "/health",
)
