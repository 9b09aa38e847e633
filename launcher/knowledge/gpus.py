"""GPUs by product (`gpus.toml`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("gpus.toml")
# Bytes of a GPU before any weight: driver, CUDA context, NCCL. Hosts showed 94.0 to 94.4 GiB free
# of 95.6.
TAKEN = int(1.5 * (1 << 30))


@dataclass(frozen=True)
class Product:
    """A GPU that is sold: its memory in bytes as nvidia-smi shows it."""

    id: str
    name: str
    arch: str
    memory: int
    evidence: str
    source: str

    @property
    def free(self) -> int:
        """Bytes that are free before any weight is loaded."""
        return self.memory - TAKEN


@cache
def products() -> Mapping[str, Product]:
    """All that are known, by what `--gpu` calls them."""
    rows = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {
        id: Product(
            id, row["name"], row["arch"], row["memory_mib"] << 20, row["evidence"], row["source"]
        )
        for id, row in rows.items()
    }


def of_arch(arch: str | None) -> Product | None:
    """The product that an architecture is taken for where nobody says which it is."""
    return next((product for product in products().values() if product.arch == arch), None)
