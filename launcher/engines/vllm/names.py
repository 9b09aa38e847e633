"""What vLLM's options come to, and how a release spells them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from launcher.address import is_loopback
from launcher.engines import traits
from launcher.engines.dialect import Spelled
from launcher.engines.options import Release
from launcher.engines.vllm.conditions import is_nothing

GRAPHS = ("max-cudagraph-capture-size", "cudagraph-capture-sizes", "enforce-eager")


def choices(flag: Callable[..., Any], env: Mapping[str, str]) -> Mapping[str, bool]:
    """Which traits hold of its options (`dialect.Choices`).

    Attention is sparse wherever the model's is; without `--host` everybody is listened to.
    """
    serving = flag("headless") is None and str(flag("api-server-count")) != "0"
    return {
        **traits.of_ranks(flag("tensor-parallel-size")),
        "sparse-backend": flag("attention-backend") is not None,
        "bf16-kv": flag("kv-cache-dtype") in ("bfloat16", "bf16"),
        "speculative": not is_nothing(str(flag("speculative-config", "spec-method") or "")),
        "graph-sizes": flag(*GRAPHS) is not None,
        "one-node": flag("nnodes") in (None, 1, "1"),
        "pcie-ipc-allreduce": env.get("VLLM_ALLREDUCE_USE_FLASHINFER_PCIE_IPC", "0") == "1",
        "serving": serving,
        "reachable": serving and not is_loopback(str(flag("host") or "0.0.0.0")),
        "keyed": flag("api-key") is not None or bool(env.get("VLLM_API_KEY")),
    }


def spelled(flags: Mapping[str, Any], release: Release) -> Iterator[Spelled]:
    """Each flag under the name that the release accepts, by the releases' own deprecations."""
    for name, value in flags.items():
        yield name, release.renamed(f"--{name}")[2:], value
