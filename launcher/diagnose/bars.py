"""Progress bars of tqdm, which end their line with whatever is printed next."""

from __future__ import annotations

import re

# "Loading safetensors checkpoint shards:  75% Completed | 3/4 [00:08<00:02,  2.83s/it]Killed"
_BAR = re.compile(
    r"(?:\(\w[^()]{0,60} pid=\d+[^()]{0,60}\) ?)?"
    r"[A-Za-z]?[\w ().=,/-]{0,80}:? {0,4}\d{1,3}%(?: Completed )? ?\|[^\[\]\"']{0,400}"
    r"\[[^\[\]\"']{1,120}(?:it/s|s/it)[^\[\]\"']{0,120}\](?=[^\s,]| {1,3}\d{1,3}%)"
)


def split(line: str) -> tuple[str, ...]:
    """The lines that stand in one: a bar, or several, and what came behind them."""
    parts: list[str] = []
    while "%" in line and "|" in line and (found := _BAR.match(line)):
        parts.append(line[: found.end()])
        line = line[found.end() :]
    return (*parts, line)
