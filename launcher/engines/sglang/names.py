"""What SGLang's options come to, and how a release spells them: a plan has each by its canonical
name, the command by one that is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from launcher.address import is_loopback
from launcher.engines import traits
from launcher.engines.dialect import Spelled
from launcher.engines.options import Release

FUSION = "flashinfer-allreduce-fusion-backend"
ATTENTION = ("attention-backend", "prefill-attention-backend", "decode-attention-backend")


def choices(flag: Callable[..., Any], env: Mapping[str, str]) -> Mapping[str, bool]:
    """Which traits hold of its options (`dialect.Choices`).

    Sparse attention is what it takes where no attention backend is named.
    """
    shared = env.get("SGLANG_ENABLE_PCIE_IPC_ALLREDUCE", "0").lower() in ("1", "true")
    rank = str(flag("node-rank") or 0)
    serving = not rank.isdecimal() or int(rank) == 0  # other nodes tell their health alone
    return {
        **traits.of_ranks(flag("tp-size")),
        "dense-attention": flag(*ATTENTION) not in (None, "dsa", "nsa"),
        "sparse-backend": flag("dsa-prefill-backend", "dsa-decode-backend") is not None,
        "bf16-kv": flag("kv-cache-dtype") in ("bfloat16", "bf16"),
        "speculative": flag("speculative-algorithm") is not None,
        "draft-steps": flag("speculative-num-steps") is not None,
        "top-k-1": flag("speculative-eagle-topk") in (None, 1, "1"),
        "graph-sizes": flag("cuda-graph-max-bs-decode", "cuda-graph-bs-decode") is not None,
        "one-node": flag("nnodes") in (None, 1, "1"),
        "pcie-ipc-allreduce": shared,
        "serving": serving,
        "reachable": serving and not is_loopback(str(flag("host") or "127.0.0.1")),
        "keyed": flag("api-key", "admin-api-key") is not None,
    }


def spelled(flags: Mapping[str, Any], release: Release) -> Iterator[Spelled]:
    """Each flag under the name that the release accepts.

    Renames come from the releases' own deprecations. Three changes are more than a name: attention
    data parallelism (one option from 0.5.22), the all-reduce fusion (a choice of backend from
    0.5.14), and `nsa` (`dsa` from 0.5.13).
    """
    joined = release.accepts("--attn-dp-size")
    copies = "dp-size" in flags
    for name, value in flags.items():
        if joined and name == "enable-dp-attention" and value is True and copies:
            continue
        if joined and name == "dp-size" and flags.get("enable-dp-attention") is True:
            yield name, "attn-dp-size", value
        elif not joined and name == "attn-dp-size":
            yield name, "dp-size", value
            yield name, "enable-dp-attention", True
        elif (
            name == "enable-flashinfer-allreduce-fusion"
            and value is True
            and release.accepts(f"--{FUSION}")
        ):
            yield name, FUSION, "auto"
        elif (
            name in ATTENTION
            and value == "dsa"
            and "dsa" not in release.options[f"--{name}"].choices
        ):
            yield name, name, "nsa"
        else:
            yield name, release.renamed(f"--{name}")[2:], value
