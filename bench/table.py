"""How the benchmarks print: aligned columns, the first to the left."""

from __future__ import annotations


def show(*rows: tuple[str, ...]) -> None:
    """Print rows of equally many cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        print("  ".join([first.ljust(widths[0]), *cells]).rstrip())
