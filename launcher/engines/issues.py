"""What goes wrong with which SGLang release, GPU and command, when, and what helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from launcher.engines import traits
from launcher.engines.options import Version, version
from launcher.engines.sglang.memory import slots_for
from launcher.plan.evidence import Known
from launcher.plan.plan import Plan

AMPLE = 0.93  # of the free memory for weights and KV cache; what others ran with is .82 to .92


class When(StrEnum):
    """When a fault shows itself, earliest first."""

    PARSE = "at parse"
    LOAD = "at load"
    AFTER = "after load"
    OUTPUT = "in the output"
    TRAFFIC = "under load"


@dataclass(frozen=True)
class Fault:
    """A known fault: in which releases (`first` and `last` included) and plans, what happens, what
    helps.

    `about` are the flags and variables that it hangs on; `instead` what to write for the first of
    them, None to leave it out.
    """

    about: tuple[str, ...]
    applies: Callable[[Plan], bool]
    when: When
    what: str
    fix: str
    known: Known
    source: str
    first: str = "0.5.8"
    last: str = "99"
    fatal: bool = True
    instead: str | None = None


def _dense_fp8(plan: Plan) -> bool:
    fp8 = (plan.flag("kv-cache-dtype") or "auto") in ("auto", "fp8_e4m3")
    return (
        plan.arch == "sm120"
        and _glm(plan)
        and plan.flag("attention-backend") == "flashinfer"
        and fp8
    )


def _sparse_asked(plan: Plan) -> bool:
    backends = (plan.flag("dsa-prefill-backend"), plan.flag("dsa-decode-backend"))
    return "flashinfer_sparse_mla" in backends


def _default_attention(plan: Plan) -> bool:
    asked = plan.flag("attention-backend") not in (None, "dsa", "nsa")
    return plan.arch == "sm120" and not asked and not _sparse_asked(plan)


def _fusion(plan: Plan) -> bool:
    asked = plan.flag("enable-flashinfer-allreduce-fusion", "flashinfer-allreduce-fusion-backend")
    return plan.arch == "sm120" and asked is not None


def _glm(plan: Plan) -> bool:
    return traits.GLM_5 in plan.traits


def _flash(plan: Plan) -> bool:
    return traits.FLASH in plan.traits


def _sides(plan: Plan) -> tuple[str | None, str | None]:
    return plan.flag("dsa-prefill-backend"), plan.flag("dsa-decode-backend")


def _no_kernel(plan: Plan) -> bool:
    """Whether GLM-5.3-Flash is left to trtllm on SM120, by name or by not naming another."""
    sparse = plan.flag("attention-backend") in (None, "dsa", "nsa")
    left = not any(_sides(plan)) or "trtllm" in _sides(plan)
    return plan.arch == "sm120" and _flash(plan) and sparse and left


def _few_states(plan: Plan) -> bool:
    slots, running = (
        plan.flag(name) or "" for name in ("max-mamba-cache-size", "max-running-requests")
    )
    asked = slots.isdecimal() and running.isdecimal()
    return _flash(plan) and asked and int(slots) < slots_for(int(running))


def _speculative(plan: Plan) -> bool:
    return plan.flag("speculative-algorithm") is not None


FAULTS = (
    Fault(
        ("model-path",),
        _glm,
        When.LOAD,
        "it does not know GlmMoeDsaForCausalLM: the model is refused",
        "install sglang>=0.5.18",
        Known.READ,
        "the architecture appears in 0.5.9",
        last="0.5.8",
    ),
    Fault(
        ("attention-backend", "model-path"),
        lambda plan: _glm(plan) and _default_attention(plan),
        When.AFTER,
        "its sparse attention has no SM120 kernel: it aborts with an unsupported architecture"
        " (attention.hpp)",
        "install sglang>=0.5.18, or set flags.attention-backend = flashinfer with bfloat16 KV",
        Known.REPORTED,
        "sglang#26087, InferenceX#2335 (attention.hpp:159, 219, 227)",
        first="0.5.9",
        last="0.5.16",
    ),
    Fault(
        ("enable-flashinfer-allreduce-fusion", "flashinfer-allreduce-fusion-backend"),
        _fusion,
        When.AFTER,
        "all-reduce fusion raises ValueError on SM120 in the kernel warm-up, after the weights are"
        " loaded",
        "set flags.enable-flashinfer-allreduce-fusion = false",
        Known.READ,
        "flashinfer_comm_fusion.py of 0.5.14 and 0.5.23",
        first="0.5.14",
    ),
    Fault(
        ("attention-backend", "kv-cache-dtype"),
        _dense_fp8,
        When.OUTPUT,
        "flashinfer attention drops the sparse path, and reads the packed fp8 KV cache in another"
        " layout: garbled",
        "drop --attention-backend (sparse MLA is the automatic choice), or set flags.kv-cache-dtype"
        " = bfloat16",
        Known.READ,
        "overrides.py and flashinfer_mla_backend.py of 0.5.17 and 0.5.23; no report from a host",
        first="0.5.17",
    ),
    Fault(
        ("kv-cache-dtype", "attention-backend"),
        lambda plan: _dense_fp8(plan) and plan.env.get("SGLANG_DISABLE_DSA_INDEXER_FUSION") != "1",
        When.OUTPUT,
        "fp8 KV with flashinfer attention: right only with SGLANG_DISABLE_DSA_INDEXER_FUSION=1",
        "set env.SGLANG_DISABLE_DSA_INDEXER_FUSION = 1",
        Known.REPORTED,
        "a public 8x RTX PRO 6000 script of mid-2026 (gsm8k .90 to .94 with it)",
        first="0.5.15",
        last="0.5.16",
        fatal=False,
        instead="fp8_e4m3",
    ),
    Fault(
        ("kv-cache-dtype", "attention-backend"),
        _dense_fp8,
        When.OUTPUT,
        "dense attention with fp8 KV gave garbled or one-token answers on builds of this age",
        "install sglang>=0.5.18, or set flags.kv-cache-dtype = bfloat16",
        Known.REPORTED,
        "rtx6kpro glm5 (2026-03)",
        first="0.5.9",
        last="0.5.14",
        fatal=False,
    ),
    Fault(
        ("disable-shared-experts-fusion", "model-path"),
        lambda plan: (
            traits.BF16_SHARED in plan.traits and plan.flag("disable-shared-experts-fusion") is None
        ),
        When.LOAD,
        "shared experts kept in BF16 (GLM-5.1, 5.2, 5.3) do not load fused: a size mismatch, 3072"
        " against 6144",
        "set flags.disable-shared-experts-fusion = true",
        Known.REPORTED,
        "InferenceX#2335; automatic from 0.5.18 (source)",
        first="0.5.9",
        last="0.5.17",
        fatal=False,
    ),
    Fault(
        ("moe-runner-backend",),
        lambda plan: (
            plan.arch == "sm120" and plan.flag("moe-runner-backend") == "flashinfer_trtllm"
        ),
        When.AFTER,
        "flashinfer_trtllm experts have kernels for SM100 only",
        "set flags.moe-runner-backend = flashinfer_cutlass",
        Known.REPORTED,
        "NVIDIA's GKE recipe for 8x RTX PRO 6000 (2026-07)",
        instead="flashinfer_cutlass",
    ),
    Fault(
        ("dsa-prefill-backend", "dsa-decode-backend"),
        lambda plan: (
            plan.arch == "sm120"
            and not _flash(plan)
            and plan.flag("attention-backend") in (None, "dsa", "nsa")
            and "trtllm"
            in (
                plan.flag("dsa-prefill-backend"),
                plan.flag("dsa-decode-backend"),
            )
        ),
        When.AFTER,
        "the trtllm sparse kernels are SM100 only: unsupported architecture on SM120",
        "drop it: flashinfer_sparse_mla is the automatic choice from 0.5.18",
        Known.REPORTED,
        "sglang#26087; the allow-list of flash_mla_sm120.py (source)",
    ),
    Fault(
        ("moe-runner-backend", "model-path"),
        lambda plan: (
            plan.arch in ("sm100", "sm103")
            and plan.flag("moe-runner-backend") in (None, "flashinfer_trtllm")
        ),
        When.TRAFFIC,
        "flashinfer_trtllm experts fault under long prompts, several times a day (illegal address,"
        " Xid 13 and 31)",
        "set flags.moe-runner-backend = flashinfer_cutlass",
        Known.REPORTED,
        "sglang#29160, #31864, flashinfer#3722",
        first="0.5.12",
        last="0.5.15",
        fatal=False,
        instead="flashinfer_cutlass",
    ),
    Fault(
        ("speculative-algorithm",),
        lambda plan: plan.arch == "sm120" and _speculative(plan) and not _flash(plan),
        When.TRAFFIC,
        "speculative decoding hung or failed on SM120 with sparse MLA",
        "leave speculative decoding out until `glm5-serve doctor --deep` and real traffic pass"
        " with it",
        Known.REPORTED,
        "NVIDIA's GKE recipe (2026-07, do not enable MTP), flashinfer#5015",
        first="0.5.9",
        fatal=False,
    ),
    Fault(
        ("speculative-algorithm", "model-path"),
        lambda plan: _speculative(plan) and _glm(plan) and traits.NO_MTP in plan.traits,
        When.LOAD,
        "this checkpoint has no layer 78: speculative decoding raises while loading",
        "take festr2/GLM-5-NVFP4-MTP, or leave speculative decoding out",
        Known.REPORTED,
        "rtx6kpro models/glm5.md",
    ),
    Fault(
        ("tool-call-parser",),
        lambda plan: _glm(plan) and plan.flag("tool-call-parser") in ("glm45", "glm"),
        When.OUTPUT,
        "GLM-5 calls tools in glm47's format: with this parser calls stay in the text",
        "set flags.tool-call-parser = glm47",
        Known.READ,
        "SGLang cookbook, GLM-5.2",
        fatal=False,
        instead="glm47",
    ),
    Fault(
        ("model-path",),
        _flash,
        When.LOAD,
        "it does not know Glm5NextForConditionalGeneration: the model is refused",
        "install sglang>=0.5.20, on SM120 >=0.5.22",
        Known.READ,
        "the architecture appears in 0.5.20",
        last="0.5.19",
    ),
    Fault(
        ("model-path",),
        lambda plan: plan.arch == "sm120" and _flash(plan),
        When.PARSE,
        "it has no attention for GLM-5.3-Flash on SM120: tilelang takes an fp8 KV cache on ROCm"
        " alone, all else has no kernel there",
        "install sglang>=0.5.22",
        Known.READ,
        "overrides.py of 0.5.20 and 0.5.21 (:639, :542); allowed from 0.5.22",
        first="0.5.20",
        last="0.5.21",
    ),
    Fault(
        ("dsa-prefill-backend", "dsa-decode-backend", "model-path"),
        _no_kernel,
        When.AFTER,
        "GLM-5.3-Flash gets trtllm kernels, which SM120 lacks: TllmGenFmhaRunner, unsupported"
        " architecture",
        "set flags.dsa-prefill-backend = tilelang with the same dsa-decode-backend and fp8_e4m3 KV",
        Known.REPORTED,
        "sglang#37105, #39302, #40286; overrides.py of 0.5.22 and 0.5.23",
        first="0.5.22",
        instead="tilelang",
    ),
    Fault(
        ("dsa-prefill-backend", "dsa-decode-backend"),
        lambda plan: _flash(plan) and _sparse_asked(plan),
        When.PARSE,
        "flashinfer_sparse_mla refuses GLM-5.3-Flash, which has no RoPE and pools its indexer",
        "set flags.dsa-prefill-backend = tilelang on SM120, trtllm on SM100, the same for decode",
        Known.READ,
        "flash_mla_sm120.py of 0.5.20 to 0.5.23",
        first="0.5.20",
    ),
    Fault(
        ("kv-cache-dtype", "dsa-decode-backend"),
        lambda plan: (
            plan.arch == "sm120"
            and _flash(plan)
            and "tilelang" in _sides(plan)
            and plan.flag("kv-cache-dtype") in ("bfloat16", "bf16")
        ),
        When.AFTER,
        "the tilelang kernel for bfloat16 wants 169,984 bytes of shared memory, SM120 has 101,376",
        "set flags.kv-cache-dtype = fp8_e4m3",
        Known.REPORTED,
        "sglang#37105; tilelang_kernel.py of 0.5.20 to 0.5.23",
        first="0.5.20",
        instead="fp8_e4m3",
    ),
    Fault(
        ("dsa-prefill-backend", "dsa-decode-backend"),
        lambda plan: _flash(plan) and _sides(plan).count("tilelang") == 1,
        When.PARSE,
        "tilelang for one of prefill and decode alone: with an fp8 KV cache both must be named",
        "set flags.dsa-prefill-backend = tilelang with the same dsa-decode-backend",
        Known.READ,
        "overrides.py of 0.5.22 and 0.5.23",
        first="0.5.20",
        instead="tilelang",
    ),
    Fault(
        ("model-path",),
        lambda plan: (
            _flash(plan)
            and plan.env.get("SGLANG_ENABLE_JIT_DEEPGEMM") == "0"
            and plan.env.get("SGLANG_OPT_DEEPGEMM_HC_PRENORM") != "0"
        ),
        When.AFTER,
        "with DeepGEMM off this release calls it all the same: NameError deep_gemm in hc_prenorm",
        "set env.SGLANG_OPT_DEEPGEMM_HC_PRENORM = 0",
        Known.READ,
        "mhc.py of 0.5.20 (:1034); 0.5.21 falls back",
        first="0.5.20",
        last="0.5.20",
    ),
    Fault(
        ("max-mamba-cache-size", "max-running-requests"),
        _few_states,
        When.TRAFFIC,
        "max_running_requests is capped by the slots for states: a request takes five",
        "raise flags.max-mamba-cache-size to five times max-running-requests",
        Known.READ,
        "kv_cache_configurator.py of 0.5.23",
        first="0.5.20",
        fatal=False,
    ),
    Fault(
        ("dcp-size",),
        lambda plan: _flash(plan) and (plan.flag("dcp-size") or "1") != "1",
        When.PARSE,
        "GLM-5.3-Flash pools its indexer: decode context parallelism is refused",
        "set flags.dcp-size = false",
        Known.READ,
        "deepseek_v2.py of 0.5.22 and 0.5.23",
        first="0.5.22",
    ),
)


def faults(release: Version, plan: Plan) -> list[Fault]:
    """The faults of a release that this plan would meet."""
    return [
        fault
        for fault in FAULTS
        if version(fault.first) <= release[:3]
        and (fault.last == "99" or release[:3] <= version(fault.last))
        and fault.applies(plan)
    ]
