"""The rules that choose flags and variables for a release, an architecture, a model and a host.

A rule sets what the profile left open; what a profile, the environment or `--set` say stands. Of
several rules for one setting the first that applies does. Where sources disagree, the value is the
one that cannot garble an answer or stop a start, and `against` tells the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.engines import traits
from launcher.engines.options import version
from launcher.engines.target import PATHS, Target
from launcher.plan.evidence import Known

BFLOAT16 = ("bfloat16", "bf16")
SM120, B200 = ("sm120",), ("sm100", "sm103")
ANY = (*B200, *SM120)
UNNAMED = "the profile"


@dataclass(frozen=True)
class Case:
    """What a rule looks at: the target, and the flags and variables chosen so far."""

    target: Target
    flags: Mapping[str, Any]
    env: Mapping[str, str]
    gpus: int
    traits: frozenset[str] = frozenset()  # of the model, see traits.py

    def flag(self, *names: str) -> Any:
        """The first of these flags that is set; None if none is, or it was left out on purpose."""
        return next(
            (value for name in names if (value := self.flags.get(name)) not in (None, False)), None
        )

    @property
    def glm(self) -> bool:
        """Whether it is a GLM-5."""
        return traits.GLM_5 in self.traits

    @property
    def nvfp4(self) -> bool:
        """Whether the weights are NVFP4."""
        return traits.NVFP4 in self.traits

    @property
    def ranks(self) -> int:
        """How many GPUs one all-reduce joins."""
        return int(self.flag("tp-size") or 1)

    @property
    def dense(self) -> bool:
        """Whether an attention backend was named: sparse attention is what SGLang takes where none
        is.
        """
        asked = self.flag(
            "attention-backend", "prefill-attention-backend", "decode-attention-backend"
        )
        return asked not in (None, "dsa", "nsa")

    @property
    def half_kv(self) -> bool:
        """Whether the KV cache holds 16 bits a number."""
        return self.flag("kv-cache-dtype") in BFLOAT16


@dataclass(frozen=True)
class Rule:
    """One setting, where it holds, and why; `set` is a flag without its dashes or a variable's
    name.
    """

    set: str
    to: Any  # a value, or a function of the case; None from that: nothing is set
    why: str
    known: Known
    source: str
    archs: tuple[str, ...] = ANY
    first: str = "0.5.8"
    last: str = "99"
    when: Callable[[Case], bool] = lambda case: True
    against: str = ""  # what others say

    @property
    def is_variable(self) -> bool:
        """Whether it sets a variable and no flag."""
        return self.set.isupper()

    @property
    def condition(self) -> str:
        """Where it holds, in words."""
        archs = "" if self.archs == ANY else "/".join(self.archs)
        first, last = self.first != "0.5.8", self.last != "99"
        span = (
            f"{self.first}-{self.last}"
            if first and last
            else f">={self.first}"
            if first
            else f"<={self.last}"
        )
        return (
            " ".join(part for part in (archs, span if first or last else "") if part)
            or "any Blackwell"
        )

    def applies(self, case: Case) -> bool:
        """Whether it holds there."""
        release = version(case.target.release)
        within = version(self.first) <= release and (
            self.last == "99" or release <= version(self.last)
        )
        return case.target.arch in self.archs and within and self.when(case)


GCP = "NVIDIA's GKE recipe for these GPUs, nvidia-gcp-samples#25, 2026-07"
WIKI = "rtx6kpro models/glm5.md, 2026-03"
COOKBOOK = "SGLang cookbook, GLM-5/5.1/5.2"
GARBLED = f"{WIKI}: fp8 KV gave garbled answers on early builds, bfloat16 was called mandatory"


def _p2p_level(case: Case) -> str | None:
    """The nearest level that joins the GPUs farthest apart; two bridges of one node (NODE) are PHB
    to NCCL.
    """
    farthest, nodes = case.target.farthest, case.target.numa_nodes
    if farthest is None:
        return "PHB" if nodes == 1 else "SYS"
    if PATHS.index(farthest) <= PATHS.index("PXB"):
        return None  # NCCL's own default goes that far
    return "PHB" if farthest in ("PHB", "NODE") else "SYS"


def _crosses(case: Case) -> bool:
    return case.gpus > 1 and case.flag("nnodes") in (None, 1)


def _bf16_shared_experts(case: Case) -> bool:
    return traits.BF16_SHARED in case.traits


def _sparse(case: Case) -> bool:
    return case.glm and not case.dense and not case.half_kv


RULES = (
    Rule(
        "quantization",
        "modelopt_fp4",
        "the checkpoint is ModelOpt NVFP4",
        Known.READ,
        "a choice of every release; checked against the checkpoint by `doctor`",
        when=lambda case: case.nvfp4,
    ),
    # The KV cache's precision and the attention kernel are one decision: the kernel fixes the
    # layout it can read.
    Rule(
        "kv-cache-dtype",
        "bfloat16",
        "a dense attention backend reads the packed fp8 cache of this release in another layout",
        Known.READ,
        "overrides.py, flashinfer_mla_backend.py of 0.5.17 and 0.5.23",
        archs=SM120,
        first="0.5.17",
        when=lambda case: case.glm and case.dense,
    ),
    Rule(
        "kv-cache-dtype",
        "fp8_e4m3",
        "656 bytes a token and layer instead of 1152, in the layout that flashinfer_sparse_mla"
        " reads",
        Known.REPORTED,
        f"{GCP}: about 470,000 tokens, four factual checks pass",
        archs=SM120,
        first="0.5.18",
        when=lambda case: case.glm,
        against=GARBLED,
    ),
    Rule(
        "kv-cache-dtype",
        "bfloat16",
        "sources disagree on which layout 0.5.17 gives the fp8 cache: only bfloat16 is right in"
        " both",
        Known.READ,
        "overrides.py and kv_cache_configurator.py of 0.5.17",
        archs=SM120,
        first="0.5.17",
        last="0.5.17",
        when=lambda case: case.glm,
    ),
    Rule(
        "kv-cache-dtype",
        "fp8_e4m3",
        "half the bytes of bfloat16; right with flashinfer attention once the indexer fusion"
        " is off",
        Known.REPORTED,
        "a public 8x RTX PRO 6000 script on stock images of mid-2026: gsm8k .90 to .94",
        archs=SM120,
        first="0.5.15",
        last="0.5.16",
        when=lambda case: case.glm,
        against=GARBLED,
    ),
    Rule(
        "kv-cache-dtype",
        "bfloat16",
        "fp8 with dense attention was garbled on builds of this age",
        Known.REPORTED,
        WIKI,
        archs=SM120,
        last="0.5.14",
        when=lambda case: case.glm,
        against="sglang#12325 (DeepSeek-R1, 2025-10): fp8 KV scores .955",
    ),
    Rule(
        "kv-cache-dtype",
        "fp8_e4m3",
        "half the bytes of bfloat16, and what SGLang itself takes on these GPUs",
        Known.READ,
        "_dsa_kv_cache_dtype_default of every release",
        archs=B200,
        when=lambda case: case.glm,
        against=(
            f"{COOKBOOK}: without scales in the checkpoint fp8 KV may cost accuracy in reasoning"
        ),
    ),
    Rule(
        "attention-backend",
        "flashinfer",
        "sparse attention has no bfloat16 kernel for SM120 (flashmla, trtllm: SM90, SM100): dense"
        " is left",
        Known.READ,
        "overrides.py of 0.5.23; NVIDIA's GKE recipe says the same",
        archs=SM120,
        first="0.5.17",
        when=lambda case: (
            case.glm and case.half_kv and not case.flag("dsa-prefill-backend", "dsa-decode-backend")
        ),
    ),
    Rule(
        "attention-backend",
        "flashinfer",
        "sparse attention aborts on SM120 before 0.5.17 (attention.hpp:159, 219, 227): dense is"
        " left",
        Known.REPORTED,
        "sglang#26087, InferenceX#2335",
        archs=SM120,
        last="0.5.16",
        when=lambda case: case.glm,
        against="InferenceX#2335 took triton instead",
    ),
    *(
        Rule(
            name,
            "flashinfer_sparse_mla",
            "the sparse MLA kernel that SM120 has; it reads the packed fp8 layout",
            Known.REPORTED,
            f"{GCP}; sglang#26928",
            archs=SM120,
            first="0.5.18",
            when=_sparse,
            against=(
                "sglang#29580: capturing full decode graphs hung (36 min) on a build of June 2026"
            ),
        )
        for name in ("dsa-prefill-backend", "dsa-decode-backend")
    ),
    *(
        Rule(
            name,
            "trtllm",
            "the fp8 kernel of SM100 and SM103, spelled out so that a release cannot change it",
            Known.REPORTED,
            COOKBOOK,
            archs=B200,
            first="0.5.9",
            when=_sparse,
        )
        for name in ("dsa-prefill-backend", "dsa-decode-backend")
    ),
    Rule(
        "moe-runner-backend",
        "flashinfer_cutlass",
        "what SM120 runs NVFP4 experts with; flashinfer_trtllm is SM100 only",
        Known.REPORTED,
        f"{GCP}; also what `auto` picks there (read)",
        archs=SM120,
        when=lambda case: case.nvfp4,
    ),
    Rule(
        "moe-runner-backend",
        "flashinfer_cutlass",
        "the one that does not fault: flashinfer_trtllm crashed up to 8 times a day under long"
        " prompts",
        Known.REPORTED,
        "sglang#29160, #31864, flashinfer#3722, #3589",
        archs=B200,
        when=lambda case: case.glm and case.nvfp4,
        against=f"{COOKBOOK}: flashinfer_trtllm, the faster one",
    ),
    Rule(
        "fp4-gemm-backend",
        "flashinfer_cutlass",
        "as for the experts",
        Known.REPORTED,
        GCP,
        archs=SM120,
        when=lambda case: case.nvfp4,
    ),
    Rule(
        "disable-shared-experts-fusion",
        True,
        "shared experts kept in BF16 do not load fused (3072 against 6144); automatic from 0.5.18",
        Known.REPORTED,
        "InferenceX#2335, sglang#29580",
        last="0.5.17",
        when=_bf16_shared_experts,
    ),
    Rule(
        "disable-custom-all-reduce",
        True,
        "SGLang's custom all-reduce wants NVLink beyond two GPUs; forced on PCIe only the first"
        " token came out",
        Known.REPORTED,
        "sglang#8513; rtx6kpro common-issues",
        archs=SM120,
        when=lambda case: case.ranks > 2,
    ),
    Rule(
        "mem-fraction-static",
        0.88,
        "leaves 11 GiB of 94 for graphs and activations; .82 to .92 worked, .95 leaves 4.7"
        " (`glm5-serve fit`)",
        Known.REPORTED,
        f"{WIKI}: .85 and .92; {GCP}: .90",
        archs=SM120,
        against="the published card says .95",
    ),
    Rule(
        "mem-fraction-static",
        0.85,
        "what the cookbook's cells of low latency leave for graphs and speculative decoding",
        Known.REPORTED,
        COOKBOOK,
        archs=B200,
    ),
    Rule(
        "chunked-prefill-size",
        8192,
        "SGLang's own choice for 96 GB GPUs, written down so that a release cannot change it",
        Known.READ,
        "memory_hook.py of 0.5.23",
        archs=SM120,
    ),
    Rule(
        "cuda-graph-max-bs-decode",
        lambda case: case.flag("max-running-requests"),
        "graphs for no more requests than can run: by default this release captures up to 512,"
        " which takes memory",
        Known.READ,
        "server_args.py to 0.5.21; capped by itself from 0.5.22",
        last="0.5.21",
        when=lambda case: case.flag("cuda-graph-max-bs-decode", "cuda-graph-bs-decode") is None,
    ),
    Rule(
        "speculative-num-draft-tokens",
        lambda case: int(case.flag("speculative-num-steps") or 0) + 1,
        "with top-k 1 it is the steps plus one: SGLang corrects anything else",
        Known.REPORTED,
        WIKI,
        when=lambda case: bool(
            case.flag("speculative-algorithm")
            and case.flag("speculative-num-steps")
            and case.flag("speculative-eagle-topk") in (None, 1)
        ),
    ),
    Rule(
        "watchdog-timeout",
        1800,
        "the first batch may compile kernels for 10 to 30 minutes; SGLang's own 300 s would"
        " kill it",
        Known.REPORTED,
        GCP,
    ),
    Rule(
        "SGLANG_DISABLE_DSA_INDEXER_FUSION",
        "1",
        "the fused indexer has no SM120 kernel; with it off, fp8 KV and flashinfer attention agree",
        Known.REPORTED,
        "a public 8x RTX PRO 6000 script on stock images of mid-2026: gsm8k .90 to .94",
        archs=SM120,
        first="0.5.15",
        last="0.5.16",
        when=lambda case: case.glm and case.dense,
    ),
    Rule(
        "SGLANG_ENABLE_JIT_DEEPGEMM",
        "0",
        "DeepGEMM of these releases has no SM120 code",
        Known.REPORTED,
        WIKI,
        archs=SM120,
        last="0.5.14",
        when=lambda case: case.glm,
    ),
    Rule(
        "SGLANG_DSA_PREFILL_DENSE_ATTN_KV_LEN_THRESHOLD",
        "0",
        "short prompts go the sparse way, too: the one way that the recipe's checks covered",
        Known.REPORTED,
        GCP,
        archs=SM120,
        first="0.5.18",
        when=_sparse,
    ),
    Rule(
        "SGLANG_ENABLE_SPEC_V2",
        "True",
        "without it this release loads the model a second time for the draft, and runs out of"
        " memory",
        Known.REPORTED,
        WIKI,
        last="0.5.12",
        when=lambda case: bool(case.flag("speculative-algorithm")),
    ),
    Rule(
        "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE",
        "1",
        "the all-reduce made for GPUs without NVLink: 12 KiB in 5.3 us against 205 us of NCCL, 35"
        " -> 48 tokens/s",
        Known.READ,
        "pcie_ipc_ar.py of 0.5.21 to 0.5.23, whose own figures these are; needs flashinfer with"
        " pcie_ipc_comm",
        archs=SM120,
        first="0.5.21",
        when=lambda case: case.ranks in (2, 4, 8) and _crosses(case),
    ),
    Rule(
        "NCCL_P2P_LEVEL",
        _p2p_level,
        "peer-to-peer as far as these GPUs are apart: unset it stops at PXB; nearer levels cut"
        " sockets apart",
        Known.REPORTED,
        "rtx6kpro, GKE recipes; NCCL's paths.cc (read)",
        archs=SM120,
        when=_crosses,
        against=(
            "some hosts deadlock with it and want NCCL_P2P_DISABLE=1: `glm5-serve doctor --deep`"
            " tells which"
        ),
    ),
    Rule(
        "NCCL_MIN_NCHANNELS",
        "8",
        "22 -> 38 GB/s all-reduce on a two-socket Turin host",
        Known.REPORTED,
        "rtx6kpro hardware pages",
        archs=SM120,
        when=_crosses,
    ),
    Rule(
        "NCCL_IB_DISABLE",
        "1",
        "one host: keeps NCCL off InfiniBand cards, if there are any",
        Known.REPORTED,
        "every published recipe for these hosts",
        when=lambda case: _crosses(case) and case.target.infiniband is not False,
    ),
    Rule(
        "OMP_NUM_THREADS",
        "8",
        "the ranks share the cores: without it each takes all of them",
        Known.REPORTED,
        "the published card",
        when=_crosses,
    ),
    Rule(
        "PYTORCH_CUDA_ALLOC_CONF",
        "expandable_segments:True",
        "less fragmentation at a high memory fraction; not beside the PCIe IPC all-reduce, which"
        " cannot share it",
        Known.REPORTED,
        f"{GCP}; rtx6kpro glm5 saw a crash with both",
        archs=SM120,
        when=lambda case: (
            case.env.get("SGLANG_ENABLE_PCIE_IPC_ALLREDUCE", "0").lower() not in ("1", "true")
        ),
    ),
)


def chosen(case: Case, skip: tuple[str, ...] = ()) -> Iterator[tuple[Rule, Any]]:
    """The rules that set something here, and what; each sees what those before it set."""
    flags, env = dict(case.flags), dict(case.env)
    for rule in RULES:
        said = env if rule.is_variable else flags
        if rule.set in said or rule.set in skip:
            continue
        now = replace(case, flags=flags, env=env)
        value = (rule.to(now) if callable(rule.to) else rule.to) if rule.applies(now) else None
        if value is not None:
            said[rule.set] = value
            yield rule, value
