"""Codes that runtimes print (CUDA, its libraries, NCCL, NVML, the system, Python): `codes.toml`,
read.

Pure, and the standard library alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launcher.knowledge import rows

OWNERS = ("cuda", "library", "nccl", "nvml", "errno", "signal", "systemd", "exception")
_FILE = rows.kept(Path(__file__).with_name("codes.toml"))
_CODE = re.compile(r"(?P<number>-?\d+)?(?P<names>(?: ?\b[A-Za-z_]\w*)*)(?:: ?(?P<text>.+))?")
_KEYS = ("of", "cause", "family", "codes", "evidence", "source")


@dataclass(frozen=True)
class Code:
    """One code: what it is called, and the entry of failures.toml, or the family, that it is of."""

    of: str
    number: int | None
    names: tuple[str, ...]
    text: str
    cause: str
    family: str

    @property
    def said(self) -> str:
        """It in words."""
        return self.text or (self.names[0] if self.names else str(self.number))


@dataclass(frozen=True)
class Codes:
    """All codes of one owner, by each thing that a line may say of one."""

    by_number: Mapping[int, Code]
    by_name: Mapping[str, Code]
    by_text: Mapping[str, Code]  # in small letters, the longest first

    def find(self, number: str = "", name: str = "", text: str = "") -> Code | None:
        """The code that a line tells of: by its name, else by how a text begins, else by its
        number.
        """
        if name in self.by_name:
            return self.by_name[name]
        said = text.lower()
        found = next(
            (code for begins, code in self.by_text.items() if said.startswith(begins)), None
        )
        return found or self.by_number.get(int(number) if number else 1 << 30)


@cache
def table() -> rows.Table[tuple[Code, ...]]:
    """All rows, and what is wrong with those that are none."""
    return rows.read(_FILE, "codes", _made, _claims)


def _made(key: str | int, row: Mapping[str, Any]) -> tuple[Code, ...]:
    rows.only(row, _KEYS)
    if row["of"] not in OWNERS:
        raise ValueError(f"of: {row['of']!r} is not one of {', '.join(OWNERS)}")
    if ("cause" in row) is ("family" in row):
        raise ValueError("a cause or a family, one of them")
    rows.text("source", row["source"])
    return tuple(_code(row, text) for text in rows.texts("codes", row["codes"]))


def _code(row: Mapping[str, Any], text: str) -> Code:
    found = _CODE.fullmatch(text)
    if found is None or not text:
        raise ValueError(f"codes: {text!r} is no number, names and text")
    number, names = found["number"], tuple(found["names"].split())
    whose = (str(row.get("cause", "")), str(row.get("family", "")))
    return Code(row["of"], int(number) if number else None, names, found["text"] or "", *whose)


def _claims(codes: tuple[Code, ...]) -> Iterable[str]:
    return dict.fromkeys(f"{code.of} {name}" for code in codes for name in code.names)


@cache
def of(owner: str) -> Codes:
    """The codes of CUDA, of NCCL, of the system...; of OWNERS."""
    codes = [code for row in table().rows for code in row if code.of == owner]
    texts = sorted((code for code in codes if code.text), key=lambda code: -len(code.text))
    return Codes(
        {code.number: code for code in reversed(codes) if code.number is not None},
        {name: code for code in codes for name in code.names},
        {code.text.lower(): code for code in texts},
    )
