"""The one place that says how many of something there are, and how many a second."""

from __future__ import annotations

from collections.abc import Sequence

LARGEST = 10**18 - 1  # of any number that somebody means


def is_endless(text: str) -> bool:
    """Whether it is a whole number of more digits than any that somebody means; of 4,300 and more
    Python itself makes none.
    """
    digits = text.lstrip("+-")
    return digits.isdecimal() and len(digits) > len(str(LARGEST))


def of(count: int, noun: str, many: str = "") -> str:
    """`1 GPU`, `8 GPUs`, `12,000 tokens`; `many` where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def rate(value: float) -> str:
    """`87.9`, `2,240`: three digits of it, or all before the point, and never a power of ten."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def span(seconds: float) -> str:
    """A time that somebody chose, exactly: `60 s`, `90 s`, `5 min`, `30 d`."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit and not seconds % unit:
            return f"{seconds / unit:,.0f} {name}"
    return f"{seconds:,.10g} s"


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in short: "0-3, 6"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
