"""README.md and docs/, and the commands that stand in them."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SITE: dict[str, Any] = runpy.run_path(str(ROOT / "scripts/lay_site.py"))
PAGES = {path: text for path, text in SITE["pages"]().items() if text}
FENCE = re.compile(
    r"^(?:<!-- needs ([a-z, ]+) -->\n)?(?:<!-- exits ([01, ]+) -->\n)?```sh\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Commands of a page, below a heading, what they need that a test does not have, and how each
    exits.
    """

    page: Path
    heading: str
    needs: frozenset[str]
    exits: tuple[int, ...]
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines, those that go on joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]

    @property
    def expected(self) -> list[tuple[str, int]]:
        """Each command with its exit status: 0 where nothing is said."""
        return [*zip(self.commands, self.exits or [0] * len(self.commands), strict=True)]


def blocks(page: Path) -> Iterator[Block]:
    """All of a page, in their order."""
    text = PAGES[page]
    for found in FENCE.finditer(text):
        before = HEADING.findall(SITE["FENCE"].sub("", text[: found.start()]))
        needs = frozenset(filter(None, re.split(r",? +", found[1] or "")))
        exits = tuple(map(int, re.findall("[01]", found[2] or "")))
        yield Block(page, before[-1] if before else "", needs, exits, found[3])
