"""The kinds of ends that a server comes to: every log is of one, whether or not its cause is
known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

UNKNOWN, STOPPED, SERVES, QUIET, NO_LOG = "unknown", "stopped", "serves", "quiet", "no-log"

FAMILIES: Mapping[str, str] = {
    STOPPED: "asked to stop",
    SERVES: "still serves",
    QUIET: "a kernel's log without a fault",
    "gpu-memory": "GPU memory",
    "host-memory": "host memory, or a limit of it",
    "no-kernel": "kernel not built for this GPU",
    "cuda-fault": "CUDA fault",
    "hardware": "hardware: GPU, link or host",
    "hang": "hang, or a collective that timed out",
    "rendezvous": "rendezvous: ranks that do not find each other",
    "checkpoint": "checkpoint or tokenizer",
    "packages": "mismatch of packages, driver or container",
    "compiler": "compiler",
    "bad-argument": "bad argument",
    "disk": "disk or files",
    "network": "network or hub",
    "native-crash": "native crash",
    "killed": "killed from outside",
    "engine": "exception in the engine's own code",
    NO_LOG: "no log",
    UNKNOWN: "unknown",
}

# Whose code raised an exception that nobody knows, by its file.
_CODE = (
    (r"/transformers/(?:tokenization|configuration|models/auto|dynamic_module)", "checkpoint"),
    (
        r"/(?:tokenizers|safetensors|model_loader|mistral_common|sentencepiece|tiktoken)/",
        "checkpoint",
    ),
    (r"/(?:weight_utils|tokenizer\w*)\.py", "checkpoint"),
    (
        r"/triton/(?:compiler|backends)/|/torch/(?:_inductor|_dynamo)/|/cpp_extension\.py",
        "compiler",
    ),
    (r"/flashinfer/jit/|/deep_gemm/jit|/tvm_ffi/cpp/", "compiler"),
    (r"/(?:server_args|arg_utils|argparse)\.py", "bad-argument"),
    (r"/torch/distributed/rendezvous\.py", "rendezvous"),
    (
        r"/(?:huggingface_hub|requests|urllib3|httpx|httpcore|aiohttp)/|/(?:http/client|ssl)\.py",
        "network",
    ),
    (r"/importlib/|/importlib_metadata/", "packages"),
)
_OF_CODE = tuple((re.compile(pattern), family) for pattern, family in _CODE)


def of_code(frame: str) -> str | None:
    """The family of an exception by a frame of its traceback; None where its file does not tell."""
    return next((family for pattern, family in _OF_CODE if pattern.search(frame)), None)
