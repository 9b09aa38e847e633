"""How a statement of ours is known: one closed vocabulary for checks, rules, faults, estimates and
diagnoses.
"""

from __future__ import annotations

from enum import StrEnum


class Known(StrEnum):
    """Strongest first."""

    RUN = "tested"  # our tests execute it
    SEEN = "observed"  # in output or logs of a real host that we hold
    REPORTED = "reported"  # by others, under the conditions that the source tells
    READ = "source"  # in the source of a release, not run

    @classmethod
    def of(cls, word: str) -> Known:
        """From a row's `evidence`. Raises ValueError that says what there is."""
        if word not in {*cls}:
            raise ValueError(f"evidence: {word!r} is not one of {', '.join(cls)}")
        return cls(word)
