#!/usr/bin/env python3
"""List the rows of knowledge that nobody has looked at again: `stale.py sglang==0.5.24`, for that
release of an engine; `stale.py 2027-01-01`, since that day, what no release changes (GPUs).

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

from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import version

LAUNCHER = Path(__file__).parents[1] / "launcher"
ASKED = re.compile(rf"(?:{'|'.join(NAMES)})==\d+(?:\.\d+)*|\d{{4}}-\d\d-\d\d")


def is_old(place: str, checked: str | datetime.date, asked: str) -> bool:
    """Whether somebody looked last for an older release of that engine, or before that day."""
    engine, _, release = asked.partition("==")
    if isinstance(checked, datetime.date) or not release:
        return isinstance(checked, datetime.date) and "=" not in asked and str(checked) < asked
    owner = re.match(r"launcher/engines/(\w+)/", place)
    of_it = owner[1] == engine if owner else checked in dialect(engine).options.releases
    return of_it and version(checked) < version(release)


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


def main() -> int:
    """Print them."""
    if len(sys.argv) != 2 or not ASKED.fullmatch(sys.argv[1]):
        print("usage: stale.py ENGINE==RELEASE | DAY, for example 2027-01-01", file=sys.stderr)
        return 2
    old = [(place, row) for place, row in rows() if is_old(place, row["checked"], sys.argv[1])]
    for place, row in old:
        name = f"{place} {row.get('set', '')}".rstrip()
        print(f"{name}: checked for {row['checked']}; {row.get('source')}")
    print(f"{len(old)} rows to look at again")
    return 1 if news.left_out() or old else 0


if __name__ == "__main__":
    sys.exit(main())
