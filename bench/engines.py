"""The engine that a benchmark runs, `sglang` or `vllm` by $ENGINE: what is asked of its server on a
CPU.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What differs."""

    profile: str
    rank: str  # how the process is titled that holds the weights
    word: str  # by which it says that it is ready
    ready: str  # where a balancer asks whether requests may come
    longest: int  # tokens that a request may take


FACTS = {
    "sglang": Facts(
        profile="cpu-demo",
        rank="sglang::scheduler",
        word="The server is fired up and ready to roll!",
        ready="/ready",
        longest=1900,
    ),
    "vllm": Facts(
        profile="cpu-demo-vllm",
        rank="VLLM::Worker",
        word="Application startup complete.",
        ready="/health",  # it has no other
        longest=900,
    ),
}
ENGINE = os.environ.get("ENGINE", "sglang")
if ENGINE not in FACTS:
    sys.exit(f"ENGINE={ENGINE}: wanted {' or '.join(FACTS)}")
OF = FACTS[ENGINE]
TOKENS = "/v1/completions"


def tokens(count: int) -> dict[str, Any]:
    """What is asked at TOKENS for so many tokens, no fewer."""
    return {
        "model": "tiny",
        "prompt": "1",
        "max_tokens": count,
        "ignore_eos": True,
        "temperature": 0,
    }
