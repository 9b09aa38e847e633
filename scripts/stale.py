#!/usr/bin/env python3
"""List the rows of knowledge that nobody has looked at again: `stale.py 0.5.24`, for that release
of SGLang; `stale.py 0.34.0 vllm`, of vLLM; `stale.py 2027-01-01`, since that day, what no release
changes (GPUs).

Exit 1 if there are any, or rows that are none. Whoever adds a release reads them again in its
source and sets `checked`.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import news

LAUNCHER = Path(__file__).parents[1] / "launcher"


def version(checked: str | datetime.date) -> tuple[int, ...]:
    """`0.5.23` as (0, 5, 23), a day as (2026, 11, 25)."""
    return tuple(map(int, re.findall(r"\d+", str(checked))))


def is_old(checked: str | datetime.date, asked: str) -> bool:
    """Whether somebody looked last for an older release, or before that day."""
    alike = isinstance(checked, datetime.date) == ("-" in asked)
    return alike and version(checked) < version(asked)


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table that has `checked`, with its file and place; none of a file that is no TOML,
    which is a complaint.
    """
    for path in sorted(LAUNCHER.rglob("*.toml")):
        if not path.is_relative_to(LAUNCHER / "profiles"):
            with contextlib.suppress(ValueError):
                told = tomllib.loads(path.read_text(encoding="utf-8"))
                yield from _of(told, path.relative_to(LAUNCHER.parent).as_posix())


def _of(tree: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, list):
        for number, one in enumerate(tree, start=1):
            yield from _of(one, f"{place} {number}")
    elif isinstance(tree, dict):
        if isinstance(tree.get("checked"), str | datetime.date):
            yield place, tree
        for key, one in tree.items():
            yield from _of(one, f"{place} {key}")


def is_of(place: str, engine: str) -> bool:
    """Whether a table tells a release of an engine: its own, or SGLang's outside of folders."""
    folder = re.match(r"launcher/engines/(\w+)/", place)
    return (folder[1] if folder else "sglang") == engine


def main() -> int:
    """Print them."""
    asked, engine, *more = sys.argv[1:] + ["", "sglang"][len(sys.argv[1:3]) :]
    if more or not asked[:1].isdigit():
        usage = (
            "usage: stale.py RELEASE [ENGINE] | DAY, for example 0.5.24, 0.34.0 vllm, 2027-01-01"
        )
        print(usage, file=sys.stderr)
        return 2
    told = rows() if "-" in asked else (one for one in rows() if is_of(one[0], engine))
    old = [(place, row) for place, row in told if is_old(row["checked"], asked)]
    for place, row in old:
        name = f"{place} {row.get('set', '')}".rstrip()
        print(f"{name}: checked for {row['checked']}; {row.get('source')}")
    print(f"{len(old)} rows to look at again")
    return 1 if news.left_out() or old else 0


if __name__ == "__main__":
    sys.exit(main())
