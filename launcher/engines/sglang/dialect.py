"""How SGLang is told what to do."""

from __future__ import annotations

from pathlib import Path

from launcher.engines.dialect import Dialect, Front
from launcher.engines.options import Catalogue
from launcher.engines.sglang import KEY, NAME, PACKAGE
from launcher.engines.sglang.conditions import CONDITIONS
from launcher.engines.sglang.memory import MEMORY
from launcher.engines.sglang.names import choices, spelled
from launcher.engines.sglang.scale import SCALE

_FOLDER = Path(__file__).parent

# sglang/cli/serve.py, cli/utils.py and the options of multimodal_gen of 0.5.23 (source): the model
# decides, whose files are not here; so an option tells it that the server of language models lacks.
FRONT = Front(
    model="0.5.16",
    own={"--model-type": "0.5.10"},
    other="SGLang's diffusion server",
    by=r"--(model-type diffusion|num-gpus|(ulysses|ring|sp)-(degree|size)|(use-fsdp|hsdp)-[\w-]+"
    r"|(vae|dit|(text|image)-encoder|layerwise|component|batching|minimax-h3)-[\w-]+"
    r"|cfg-parallel-size|enable-cfg-parallel|pipeline-class-name|performance-mode|disagg-role"
    r"|lora-(nickname|scale|merge-mode)|webui)",
    of_others=True,
)
DIALECT = Dialect(
    name=NAME,
    package=PACKAGE,
    packages=tuple(
        (
            "sglang torch flashinfer-python flashinfer-cubin flashinfer-jit-cache sglang-kernel"
            " sgl-kernel sgl-deep-gemm deep-gemm transformers triton nvidia-nccl-cu12"
            " nvidia-nccl-cu13 nvidia-cudnn-cu12 nvidia-cudnn-cu13 nvidia-cutlass-dsl xgrammar"
            " safetensors instanttensor fastsafetensors huggingface-hub nvidia-ml-py apache-tvm-ffi"
            " tokenspeed-mla"
        ).split()
    ),
    program=("-m", "sglang.launch_server"),
    programs=(
        ("sglang.launch_server",),
        ("launch_server.py",),
        ("sglang", "serve"),
        ("dynamo.sglang",),
        ("sglang_router.launch_server",),
    ),
    images=(),
    options=Catalogue(
        NAME,
        _FOLDER / "options.json",
        {"tp": "tp-size", "pp": "pp-size", "dp": "dp-size", "ep": "ep-size"},
        has_others=True,
    ),
    roles={
        "model-path": "model_path",
        "served-model-name": "served_model_name",
        "tp-size": "tp_size",
        "pp-size": "pp_size",
        "dp-size": "dp_size",
        "enable-dp-attention": "enable_dp_attention",
    },
    his=(
        r"model-path|tokenizer-path|served-model-name|revision|(api|admin)-.*key|host|port"
        r"|([a-z]+-)*[tpdec]+p-size|enable-dp-attention|nnodes|node-rank|dist-init-addr"
        r"|disaggregation-mode|context-length"
        r"|speculative-(algorithm|num-steps|eagle-topk|num-draft-tokens|draft-model-path)"
    ),
    matters=(
        r"enable-ep-moe|torchao-config|enable-double-sparsity|(ds|disaggregation|speculative)-.*"
    ),
    of_model=tuple(
        (
            "reasoning-parser tool-call-parser chat-template hf-chat-template-name"
            " completion-template context-length json-model-override-args quantization revision"
            " tokenizer-path speculative- dsa-"
        ).split()
    ),
    host="127.0.0.1",
    port=30000,  # arg_groups/fields, 0.5.8 to 0.5.23
    serves="SGLang's admin endpoints (load weights, flush the cache)",
    unguarded="",
    choices=choices,
    spelled=spelled,
    tokenizers=("skip-tokenizer-init", "tokenizer-path"),
    cpu_heads=(),
    no_gpus={"device": r"(?!cuda$).+"},
    of_hosts={"use-ray": ".*"},
    secrets=("api-key", "admin-api-key", "ssl-keyfile-password"),
    key=KEY,
    config="config",
    positional="",
    fronts={"sglang": FRONT},
    variables=("SGLANG_", "SGL_"),
    renamed={"SGL_": "SGLANG_"},
    memory=MEMORY,
    issues=_FOLDER / "issues.toml",
    conditions=CONDITIONS,
    meant={
        "SGLANG_ENABLE_DEEP_GEMM": "the name is SGLANG_ENABLE_JIT_DEEPGEMM",
        "SGLANG_DISABLE_DEEP_GEMM": "SGLANG_ENABLE_JIT_DEEPGEMM=0 turns it off",
    },
    gone={},
    gone_parts={},
    defaults=_FOLDER / "defaults.toml",
    variants=(),
    start_limit=("watchdog-timeout", 300.0),
    uncompiled="",
    oldest="0.5.9",
    scale=SCALE,
)
