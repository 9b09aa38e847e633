"""A host judged: the JSON of `glm5-serve doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launcher.config.select import shown
from launcher.doctor.heading import fitting
from launcher.doctor.run import Examined
from launcher.plan import findings
from launcher.plan.findings import Finding


def fits(seen: Examined) -> list[str]:
    """What is published and fits the GPUs, where no profile is for them."""
    return [] if seen.plan.name else fitting(shown(seen.host))


def to_json(seen: Examined, found: Sequence[Finding]) -> dict[str, Any]:
    """What `doctor --json` prints."""
    told = findings.to_json(found, seen.plan.name or None, seen.host.observed)
    return told | {"fits": fits(seen)}
