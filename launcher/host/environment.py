"""Which variables of a server's environment checks know, and what a plan adds to them. Pure."""

from __future__ import annotations

from dataclasses import replace

from launcher.host.facts import Environment, known
from launcher.plan.plan import Plan
from launcher.redact.secrets import SECRET_VARIABLE

# Others may be secrets, and none of the checks' business.
PREFIXES = (
    "NCCL_",
    "GLOO_",
    "VLLM_",
    "CUDA_",
    "TORCH_NCCL_",
    "SGLANG_",
    "SGL_",
    "DUMPER_",
    "OMP_",
    "PYTORCH_",
    "FLASHINFER_",
    "SAFETENSORS_",
)


def tells(name: str) -> bool:
    """Whether a variable is one that checks know, and no secret."""
    return name.startswith(PREFIXES) and not SECRET_VARIABLE.search(name)


def of_plan(recorded: Environment, plan: Plan) -> Environment:
    """The environment of a recorded host as the plan would have it there."""
    ours = {name: value for name, value in plan.env.items() if tells(name)}
    return replace(recorded, variables=known({**recorded.variables.otherwise({}), **ours}))
