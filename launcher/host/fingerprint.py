"""What tells two copies of a checkpoint apart without reading 430 GB: a short digest of what its
folder has. Pure.

Small files count by their SHA-256, weight files and what is as large by their length: two downloads
of one commit are the same, two commits or quantisations are not. It does not see a weight file of
the right length with other bytes: that is what `glm5-serve model --hash` is for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

WEIGHTS = (".safetensors",)
SMALL = (".json", ".jinja", ".model", ".tiktoken")
MOST = 128 << 20  # bytes of a file that is read; the index of GLM-5 has 30 MB


def counts(name: str) -> bool:
    """Whether a file of that name is part of a checkpoint."""
    return not name.startswith(".") and name.endswith((*WEIGHTS, *SMALL))


def fingerprint(marks: Mapping[str, str]) -> str:
    """The digest of a folder, from its files' names and what stands for each: 16 letters."""
    told = "".join(f"{name} {marks[name]}\n" for name in sorted(marks))
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:16]
