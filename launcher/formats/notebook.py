"""The code of a notebook, one cell after the other."""

from __future__ import annotations

import json
import re

_CELLS = re.compile(r'\s*\{\s*"(?:cells|metadata|nbformat)"')


def source(text: str) -> str:
    """What its cells of code say; "" for a text that is no notebook."""
    if not _CELLS.match(text):
        return ""
    try:
        told = json.loads(text)
        cells = [one["source"] for one in told["cells"] if one.get("cell_type") == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    lines = ("".join(cell) if isinstance(cell, list) else str(cell) for cell in cells)
    return "\n".join(re.sub(r"^(\s*)[!%]+", r"\1", line) for line in lines)
