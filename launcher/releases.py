"""What is wrong with which SGLang release, for which plan, and its security advisories."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launcher.plan import Plan

OLDEST, NEWEST = "0.5.9", "0.5.23"  # what this table knows; a later release is judged as the newest
Version = tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """A known fault: in which releases (`first` and `last` included) and plans, what happens, what helps."""

    first: Version
    last: Version
    applies: Callable[[Plan], bool]
    what: str
    fix: str
    source: str  # begins with how it is known: Run here, Seen in a record, Reported, Read
    fatal: bool = True


@dataclass(frozen=True)
class Advisory:
    """A published security advisory: releases before `fixed` are affected (None: no fix is known up to NEWEST)."""

    id: str
    fixed: Version | None
    applies: Callable[[Plan], bool]
    what: str
    source: str


def _dense_fp8(plan: Plan) -> bool:
    fp8 = (plan.flag("kv-cache-dtype") or "auto") in ("auto", "fp8_e4m3")
    return plan.arch == "sm120" and plan.flag("attention-backend") == "flashinfer" and fp8


def _sparse_asked(plan: Plan) -> bool:
    asked = (plan.flag("dsa-prefill-backend"), plan.flag("dsa-decode-backend"))
    return "flashinfer_sparse_mla" in asked


def _default_attention(plan: Plan) -> bool:
    return plan.arch == "sm120" and plan.flag("attention-backend") is None and not _sparse_asked(plan)


def _glm(plan: Plan) -> bool:
    return "glm" in plan.model.lower()


FAULTS = (
    Fault(
        (0,),
        (0, 5, 8),
        _glm,
        "it does not know GlmMoeDsaForCausalLM: the model is refused",
        "install sglang>=0.5.18",
        "Read: the architecture appears in 0.5.9",
    ),
    Fault(
        (0, 5, 9),
        (0, 5, 16),
        lambda plan: _glm(plan) and _default_attention(plan),
        "its sparse attention has no SM120 kernel: it aborts with an unsupported architecture after loading",
        "install sglang>=0.5.18, or set flags.attention-backend = flashinfer with bfloat16 KV",
        "Reported: sglang#26087, InferenceX#2335 (attention.hpp:159, 219, 227)",
    ),
    Fault(
        (0,),
        (0, 5, 16),
        _sparse_asked,
        "flashinfer_sparse_mla is no choice there: the arguments are refused",
        "install sglang>=0.5.18",
        "Read: the choices of each release's options",
    ),
    Fault(
        (0, 5, 14),
        (99,),
        lambda plan: plan.arch == "sm120" and plan.flag("enable-flashinfer-allreduce-fusion") is not None,
        "--enable-flashinfer-allreduce-fusion raises ValueError on SM120 after the weights are loaded",
        "set flags.enable-flashinfer-allreduce-fusion = false",
        "Read: flashinfer_comm_fusion.py of 0.5.14 and 0.5.23",
    ),
    Fault(
        (0, 5, 17),
        (99,),
        _dense_fp8,
        "--attention-backend flashinfer reads the packed fp8 KV cache in another layout: garbled answers",
        "drop --attention-backend (sparse MLA is the automatic choice), or set flags.kv-cache-dtype = bfloat16",
        "Read: overrides.py and flashinfer_mla_backend.py of 0.5.17 and 0.5.23; no report from a host",
    ),
    Fault(
        (0, 5, 9),
        (0, 5, 14),
        _dense_fp8,
        "dense attention with fp8 KV gave garbled or one-token answers",
        "install sglang>=0.5.18, or set flags.kv-cache-dtype = bfloat16",
        "Reported: rtx6kpro glm5 (2026-03); later builds were fine (gsm8k .90 to .94)",
        fatal=False,
    ),
    Fault(
        (0, 5, 9),
        (0, 5, 17),
        lambda plan: _glm(plan) and plan.flag("disable-shared-experts-fusion") is None,
        "shared experts kept in BF16 (GLM-5.1, 5.2, 5.3) do not load fused: a size mismatch, 3072 against 6144",
        "set flags.disable-shared-experts-fusion = true",
        "Reported: InferenceX#2335; read: automatic from 0.5.18",
        fatal=False,
    ),
    Fault(
        (0, 5, 12),
        (0, 5, 15),
        lambda plan: (
            plan.arch in ("sm100", "sm103") and plan.flag("moe-runner-backend") in (None, "flashinfer_trtllm")
        ),
        "flashinfer_trtllm experts fault under long prompts, several times a day (illegal address, Xid 13 and 31)",
        "set flags.moe-runner-backend = flashinfer_cutlass",
        "Reported: sglang#29160, #31864, flashinfer#3722",
        fatal=False,
    ),
    Fault(
        (0, 5, 9),
        (99,),
        lambda plan: plan.arch == "sm120" and plan.flag("speculative-algorithm", "speculative-algo") is not None,
        "speculative decoding hung or failed on SM120 with sparse MLA",
        "leave speculative decoding out until `glm5-serve doctor --deep` and real traffic pass with it",
        "Reported: NVIDIA's GKE recipe (2026-07, do not enable MTP), flashinfer#5015",
        fatal=False,
    ),
)

ADVISORIES = (
    Advisory(
        "CVE-2026-3060",
        (0, 5, 10),
        lambda plan: True,
        "encoder disaggregation unpickles what any host sends it",
        "Reported: CERT/CC VU#665416. Read: its sockets listen on loopback from 0.5.10",
    ),
    Advisory(
        "CVE-2026-7669",
        (0, 5, 10),
        lambda plan: True,
        "loading a tokenizer deserialises what it holds",
        "Reported: VulDB, releases up to 0.5.9",
    ),
    Advisory(
        "CVE-2026-5760",
        (0, 5, 11),
        lambda plan: True,
        "/v1/rerank runs the template that a model brings: code of a foreign checkpoint is executed",
        "Reported: CERT/CC VU#915947. Read: the template is sandboxed from 0.5.11",
    ),
    Advisory(
        "CVE-2026-7304",
        None,
        lambda plan: plan.flag("enable-custom-logit-processor") is not None,
        "--enable-custom-logit-processor runs code that any client sends",
        "Reported: CERT/CC VU#777338. Read: dill.loads is there up to 0.5.23",
    ),
)


def faults(release: Version, plan: Plan) -> list[Fault]:
    """The faults of a release that this plan would meet."""
    return [
        fault
        for fault in FAULTS
        if fault.first <= release[:3] and (release[:3] <= fault.last) and fault.applies(plan)
    ]


def advisories(release: Version, plan: Plan) -> list[Advisory]:
    """The advisories that concern a release and this plan."""
    return [
        known for known in ADVISORIES if (known.fixed is None or release[:3] < known.fixed) and known.applies(plan)
    ]
