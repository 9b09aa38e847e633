"""How vLLM serves one model over several nodes (arg_utils.py of 0.16.0 to 0.33.0; run with
0.32.0 over two, on the CPU).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.engines.dialect import Scale


def _common(first: str, port: int, count: int, timeout: int) -> Mapping[str, Any]:
    return {
        "nnodes": count,
        "master-addr": first,
        "master-port": port,
        "distributed-timeout-seconds": timeout,
    }


SCALE = Scale(
    common=_common,
    rank="node-rank",
    follower={"headless": True},
    own_address="VLLM_HOST_IP",
    why={
        "nnodes": "one server over so many hosts: tp x pp is the GPUs of all",
        "master-addr": "where the nodes find each other: the first of them",
        "master-port": "its port",
        "distributed-timeout-seconds": "a node that waits for another gives up after so many"
        " seconds, and says so",
        "node-rank": "which of the nodes this is; 0 leads and answers",
        "headless": "the first node answers; this one computes",
        "VLLM_HOST_IP": "the default route's address is told to the others otherwise, which may be"
        " of another network",
    },
)
