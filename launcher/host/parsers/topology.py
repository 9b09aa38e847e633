"""nvidia-smi topo: distances between GPUs, and the driver's word on peer-to-peer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

Data = dict[str, Any]

STATUS = re.compile(r"OK|CNS|GNS|TNS|DR|NS|U")
LINK = re.compile(r"NV\d{1,2}|PIX|PXB|PHB|NODE|SYS|C2C")
KNOWN = re.compile(rf"^GPU\d{{1,2}}\s+(?:(?:{STATUS.pattern}|{LINK.pattern})\s+)*X(?:\s|$)", re.M)
# Which of its matrices `nvidia-smi topo` was asked for; others say nothing that is judged here.
_ASKED = re.compile(r"topo\s+(?:-p2p[ =]?(?P<way>\w)|(?P<other>-\w+|--\w+))")
WAYS = {"r": "p2p_read", "w": "p2p_write"}
MOST = 64  # GPUs


@dataclass
class _Matrix:
    """One matrix as far as it was pasted."""

    asked: str | None  # r, w, n, ... of -p2p
    columns: int  # that its heading names; 0: it has none
    rows: dict[int, tuple[list[str], list[str]]] = field(default_factory=dict)  # cells, the rest


def matrices(text: str) -> Data:
    """`nvidia-smi topo -m`, with or without network cards, and `-p2p r|w`, one after the other.

    A matrix that is cut is unknown. What is not said to be about writes is taken for reads.
    """
    data: Data = {}
    for one in _matrices(text):
        cells = {cell for row, _ in one.rows.values() for cell in row}
        if any(LINK.fullmatch(cell) for cell in cells) or cells == {"X"}:
            data.setdefault("topology", _square(one))
            if gpus := _numas(one):
                data.setdefault("gpus", gpus)
        elif way := WAYS.get(one.asked or "r"):
            data.setdefault(way, _square(one))
    return {"driver": data} if data else {}


def _matrices(text: str) -> Iterator[_Matrix]:
    made, asked = _Matrix(None, 0), None
    for line in text.splitlines():
        if command := _ASKED.search(line):
            asked = command["way"]
        words = line.split()[: MOST + 64]
        if words[:1] == ["GPU0"] and not any(map(_is_cell, words[1:2])):
            if made.rows:
                yield made
            columns = sum(bool(re.fullmatch(r"GPU\d{1,2}", word)) for word in words)
            made, asked = _Matrix(asked, columns), None
        elif (
            words[1:] and _is_cell(words[1]) and (found := re.fullmatch(r"GPU(\d{1,2})", words[0]))
        ):
            if int(found[1]) in made.rows:  # the next one, without a heading
                yield made
                made = _Matrix(asked, 0)
            cells = list(takewhile(_is_cell, words[1:]))
            made.rows[int(found[1])] = cells, words[1 + len(cells) :]
    if made.rows:
        yield made


def _is_cell(word: str) -> bool:
    return word == "X" or bool(STATUS.fullmatch(word) or LINK.fullmatch(word))


def _square(one: _Matrix) -> Any:
    count = one.columns or len(one.rows)
    cells = [one.rows[index][0][:count] for index in range(count) if index in one.rows]
    if len(cells) != count or any(len(row) != count for row in cells):
        return {"unknown": "the pasted matrix is cut"}
    if any(cells[at][at] != "X" for at in range(count)):
        return {"unknown": "the pasted matrix is garbled"}
    return cells


def _numas(one: _Matrix) -> list[Data]:
    """The node of each GPU, behind its list of CPUs: "0-63,128-191  0  N/A"."""
    return [
        {"index": index, "numa": int(rest[1])}
        for index, (_, rest) in one.rows.items()
        if len(rest) > 1 and re.fullmatch(r"[\d,-]+", rest[0]) and re.fullmatch(r"\d{1,4}", rest[1])
    ]
