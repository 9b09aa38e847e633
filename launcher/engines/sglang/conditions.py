"""What rows of SGLang's issues compute (`engines/conditions.py`)."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.engines.dialect import Condition, Values, Words
from launcher.engines.options import Release, version

# How SGLang can draft, and from which release on (spec_info.py); up to 0.5.11 the parser asks.
ALGORITHMS = {
    "EAGLE": "0.5.8",
    "EAGLE3": "0.5.8",
    "NEXTN": "0.5.8",
    "STANDALONE": "0.5.8",
    "NGRAM": "0.5.8",
    "DFLASH": "0.5.11",
    "FROZEN_KV_MTP": "0.5.12",
    "DSPARK": "0.5.16",
    "UNO": "0.5.20",
}


def _draft_tokens(release: Release, values: Values, name: str, value: str) -> Words | None:
    """With one branch SGLang takes another number of draft tokens."""
    steps = values("speculative-num-steps") or ""
    if not (steps.isdecimal() and value.isdecimal()) or int(value) == int(steps) + 1:
        return None
    return {"right": str(int(steps) + 1)}


def _no_algorithm(release: Release, values: Values, name: str, value: str) -> Words | None:
    """The release has no such way to draft."""
    known = [one for one, first in ALGORITHMS.items() if version(first) <= version(release.name)]
    if value.upper() in known:
        return None
    return {"known": ", ".join(known), "release": release.name}


def _no_meeting(release: Release, values: Values, name: str, value: str) -> Words | None:
    """It is not HOST:PORT (NetworkAddress.parse in network.py)."""
    if "$" in value or "{" in value:
        return None  # filled in where it is started
    host, colon, port = value.rpartition(":")
    is_port = port.isascii() and port.isdecimal() and int(port) <= 65535
    if not colon or value.endswith("]"):
        return {"problem": "has no port", "wanted": f"{value}:20000"}
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return {"problem": "is IPv6 without brackets", "wanted": "[ADDRESS]:PORT"}
    if not host or not is_port:
        return {"problem": "is not HOST:PORT", "wanted": "10.0.0.1:20000"}
    return None


CONDITIONS: Mapping[str, Condition] = {
    "draft-tokens": _draft_tokens,
    "no-algorithm": _no_algorithm,
    "no-meeting": _no_meeting,
}
