#!/usr/bin/env python3
"""List the rows of knowledge that nobody has looked at again for a release: `stale.py 0.5.24`.

Exit 1 if there are any. Whoever adds a release reads them again in its source and sets `checked`.
Rows about what has other releases (NCCL's variables) say a day, and are not listed.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).parents[1] / "launcher"


def version(text: str) -> tuple[int, ...]:
    """`0.5.23` as (0, 5, 23)."""
    return tuple(int(part) for part in text.split("."))


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table that has `checked`, with its file and place."""
    for path in sorted(LAUNCHER.rglob("*.toml")):
        if not path.is_relative_to(LAUNCHER / "profiles"):
            place = path.relative_to(LAUNCHER.parent).as_posix()
            yield from _of(tomllib.loads(path.read_text(encoding="utf-8")), place)


def _of(tree: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, list):
        for number, one in enumerate(tree, start=1):
            yield from _of(one, f"{place} {number}")
    elif isinstance(tree, dict):
        if "checked" in tree:
            yield place, tree
        for key, one in tree.items():
            yield from _of(one, f"{place} {key}")


def main() -> int:
    """Print them."""
    if len(sys.argv) != 2 or not sys.argv[1][:1].isdigit():
        print("usage: stale.py RELEASE, for example 0.5.24", file=sys.stderr)
        return 2
    release = version(sys.argv[1])
    old = [
        (place, row)
        for place, row in rows()
        if isinstance(row["checked"], str) and version(row["checked"]) < release
    ]
    for place, row in old:
        name = f"{place} {row.get('set', '')}".rstrip()
        print(f"{name}: checked for {row['checked']}; {row['source']}")
    print(f"{len(old)} rows to look at again")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
