"""The one place that says how many of something there are."""

from __future__ import annotations


def of(count: int, noun: str, many: str = "") -> str:
    """`1 GPU`, `8 GPUs`, `12,000 tokens`; `many` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"
