"""The engines that a fault is put into, as values: the stand-in, and the real SGLang and vLLM on a
CPU with one or two ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from conftest import ENGINE, RIG, VLLM_ENGINE


@dataclass(frozen=True)
class Kind:
    """How an engine is started for the tests, and what its processes and its log are called."""

    column: str  # of docs/faults.md
    kind: str  # as a profile has it
    python: Path
    ranks: int
    titles: str  # what its processes' titles begin with
    rank: str
    other: str  # another process that it cannot live without
    table: str  # of the profile: [engine], but for the interpreter
    flags: str
    env: Mapping[str, str]
    phases: Mapping[str, tuple[str, str]]  # a line of the log that opens each, and who says it
    listens: str  # what its server logs once it is up
    is_real: bool = True


MODEL = ENGINE / "model"
BREAKS = {"SABOTAGE": "{folder}/sabotage.json"}
SGLANG_PHASES = {
    "process": ("server_args=", "server"),
    "distributed": ("Init parallel begin", "rank"),
    "weights": ("Load weight begin", "rank"),
    "kv": ("KV Cache is allocated", "rank"),
    "warmup": ("Uvicorn running on", "server"),
}
VLLM_PHASES = {
    "process": ("non-default args", "server"),
    "distributed": ("world_size=", "rank"),
    "weights": ("Starting to load model", "rank"),
    "kv": ("KV cache size", "core"),
    "warmup": ("Starting vLLM server on", "server"),
}
STUB = Kind(
    column="stand-in engine",
    kind="sglang",
    python=Path(sys.executable),
    ranks=2,
    titles="sglang::",
    rank="sglang::TP",
    other="sglang::TP",
    table="",
    flags='model-path = "{folder}/model"\ndevice = "cpu"\ntp-size = 2',
    env=BREAKS
    | {"PYTHONPATH": f"{RIG}/stub:{RIG}/sabotage", "STUB_FAULTS": "{folder}/faults.json"},
    phases=SGLANG_PHASES,
    listens="fired up",
    is_real=False,
)
REAL1 = replace(
    STUB,
    column="SGLang 0.5.23, 1 rank",
    python=ENGINE / "engine/bin/python",
    ranks=1,
    rank="sglang::scheduler",
    other="sglang::detokenizer",
    flags=f"""model-path = "{MODEL}"
device = "cpu"
dtype = "bfloat16"
attention-backend = "torch_native"
mem-fraction-static = 0.1
max-total-tokens = 8192""",
    env=BREAKS
    | {
        "PYTHONPATH": f"{RIG}/sabotage",
        "SGLANG_USE_CPU_ENGINE": "1",
        "SGLANG_HEALTH_CHECK_TIMEOUT": "3",
    },
    is_real=True,
)
REAL2 = replace(
    REAL1,
    column="SGLang 0.5.23, 2 ranks",
    ranks=2,
    flags=f"{REAL1.flags}\ntp-size = 2",
    env={**REAL1.env, "SGLANG_CPU_OMP_THREADS_BIND": "0|1"},
)
VLLM1 = Kind(
    column="vLLM 0.32.0, 1 rank",
    kind="vllm",
    python=VLLM_ENGINE / "engine/bin/python",
    ranks=1,
    titles="VLLM::",
    rank="VLLM::Worker",
    other="VLLM::EngineCore",
    table='device = "cpu"',
    flags=f"""model = "{MODEL}"
dtype = "bfloat16"
max-model-len = 2048
max-num-seqs = 8
enforce-eager = true
shutdown-timeout = 3""",
    env=BREAKS
    | {
        "PYTHONPATH": f"{RIG}/sabotage",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    },
    phases=VLLM_PHASES,
    listens="Application startup complete",
)
VLLM2 = replace(
    VLLM1,
    column="vLLM 0.32.0, 2 ranks",
    ranks=2,
    flags=f"{VLLM1.flags}\ntensor-parallel-size = 2",
)
KINDS = {"stub": STUB, "real1": REAL1, "real2": REAL2, "vllm1": VLLM1, "vllm2": VLLM2}
