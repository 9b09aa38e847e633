"""How SGLang serves one model over several nodes (server_args.py of 0.5.8 to 0.5.23; run with
0.5.23 over two).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.address import bracketed
from launcher.engines.dialect import Scale


def _common(first: str, port: int, count: int, timeout: int) -> Mapping[str, Any]:
    return {
        "nnodes": count,
        "dist-init-addr": f"{bracketed(first)}:{port}",
        "dist-timeout": timeout,
    }


SCALE = Scale(
    common=_common,
    rank="node-rank",
    follower={},
    own_address="SGLANG_HOST_IP",
    why={
        "nnodes": "one server over so many hosts: tp x pp is the GPUs of all",
        "dist-init-addr": "where the nodes find each other, on the first of them",
        "dist-timeout": "a node that waits for another gives up after so many seconds, and says so",
        "node-rank": "which of the nodes this is; 0 leads and answers",
        "SGLANG_HOST_IP": "its queue between nodes takes the default route's address otherwise, and"
        " waits for ever where that is another network",
    },
)
