"""nvidia-smi topo: distances between GPUs, and the driver's word on peer-to-peer."""

from __future__ import annotations

import re
from typing import Any

Data = dict[str, Any]

STATUS = "OK|CNS|GNS|TNS|DR|NS|U"
LINK = r"X|NV\d+|PIX|PXB|PHB|NODE|SYS|C2C"
P2P = re.compile(rf"^\s*GPU0\s+X\s+(?:{STATUS})\b", re.M)
TOPO = re.compile(rf"^\s*GPU0\s+X\s+(?:{LINK})\b|^\s*GPU1\s+(?:{LINK})\s+X\b", re.M)


def topo(text: str) -> Data:
    """`nvidia-smi topo -m`, with or without network cards; a matrix that is cut is unknown."""
    rows = _rows(text, LINK)
    data: Data = {"driver": {"topology": _matrix(rows, _columns(text))}}
    numas = {
        index: found
        for index, found in ((index, _numa(rest)) for index, (_, rest) in rows.items())
        if found
    }
    if numas:
        data["driver"]["gpus"] = [
            {"index": index, "numa": int(numa)} for index, numa in numas.items()
        ]
    return data


def p2p(text: str) -> Data:
    """`nvidia-smi topo -p2p r`, or w where the text says so."""
    way = "p2p_write" if re.search(r"topo -p2p w", text) else "p2p_read"
    return {"driver": {way: _matrix(_rows(text, STATUS + "|X"), _columns(text))}}


def _columns(text: str) -> int:
    """How many GPUs the heading names; 0 without a heading."""
    heading = re.search(r"^\s*GPU0\s+GPU1\b.*$|^\s*GPU0\s+(?!X\b).*Affinity.*$", text, re.M)
    return len(re.findall(r"\bGPU\d+", heading.group())) if heading else 0


def _rows(text: str, cell: str) -> dict[int, tuple[list[str], str]]:
    """The cells of each GPU's row, as many as fit the pattern, and the rest of the line."""
    rows: dict[int, tuple[list[str], str]] = {}
    for found in re.finditer(rf"^[ \t]*GPU(\d+)[ \t]+((?:(?:{cell})\b[ \t]*)+)(.*)$", text, re.M):
        index = int(found.group(1))
        if index < 64:
            rows.setdefault(index, (found.group(2).split(), found.group(3)))
    return rows


def _matrix(rows: dict[int, tuple[list[str], str]], columns: int) -> Any:
    count = columns or len(rows)
    cells = [rows[index][0][:count] for index in range(count) if index in rows]
    if len(cells) != count or any(len(row) != count for row in cells):
        return {"unknown": "the pasted matrix is cut"}
    if any(cells[at][at] != "X" for at in range(count)):
        return {"unknown": "the pasted matrix is garbled"}
    return cells


def _numa(rest: str) -> str | None:
    """The node behind the list of CPUs: "0-63,128-191  0  N/A"."""
    found = re.match(r"[\d,-]+\s+(\d+)\b", rest.strip())
    return found.group(1) if found else None
