"""JSON of others: bad text is one error, however it is bad.

Python's own reader raises RecursionError, which is no ValueError, for what nests some thousand
levels deep; and what it can just read, nobody who walks it can.
"""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 100  # levels; what anybody here writes has a dozen
WHY = "it nests too deep"


def of_json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError, also where it nests deeper than DEEPEST."""
    try:
        told = json.loads(text)
    except RecursionError:
        raise ValueError(WHY) from None
    if _opened(text) > DEEPEST and _is_deep(told):
        raise ValueError(WHY)
    return told


def _opened(text: str | bytes) -> int:
    """The lists and tables that a text has at most."""
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def _is_deep(told: object) -> bool:
    level = [told]
    for _ in range(DEEPEST):
        tables = [one for one in level if isinstance(one, dict | list)]
        level = [
            one
            for table in tables
            for one in (table.values() if isinstance(table, dict) else table)
            if isinstance(one, dict | list)
        ]
    return bool(level)
