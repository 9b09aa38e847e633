"""Latency against throughput, a point a concurrency: in the terminal, and as a picture."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from launcher.bench.record import Level
from launcher.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

X, Y = "output tokens a second", "milliseconds a token, p50"
ROWS = 14
LEAST = 40  # columns
MARGIN = 1.2  # beyond the last point: room for what stands beside it


def has_points(levels: Sequence[Level]) -> bool:
    """Whether there is anything to draw: somewhere the time of a token is known."""
    return bool(_points(levels))


def _points(levels: Sequence[Level]) -> list[tuple[int, float, float]]:
    return [
        (one.concurrency, one.output_tok_s, one.tpot_ms.p50)
        for one in levels
        if one.tpot_ms.p50 is not None
    ]


def terminal(levels: Sequence[Level], columns: int) -> str:
    """A plot of so many columns; "" where there are fewer than two points."""
    points = _points(levels)
    if len(points) < 2 or columns < LEAST:
        return ""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(columns, ROWS)
    _, x, y = zip(*points, strict=True)
    plotext.xlim(0, MARGIN * max(x))
    plotext.ylim(0, MARGIN * max(y))
    plotext.plot(x, y, marker="braille")
    for concurrency, right, up in points:
        plotext.text(str(concurrency), right, up, alignment="center")
    plotext.title("latency against throughput; a number is how many at once")
    plotext.xlabel(X)
    plotext.ylabel(Y)
    return str(plotext.uncolorize(plotext.build())).rstrip()


def require_pictures() -> None:
    """Raise UserError where no picture can be made."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UserError(
            "a picture wants matplotlib, which is not installed",
            fix="pip install 'glm5-serve[plot]', or leave out --plot",
        )


def picture(levels: Sequence[Level], title: str) -> bytes:
    """A PNG of it, of one point at least."""
    made = io.BytesIO()
    figure(levels, title).savefig(made, format="png", dpi=150)
    return made.getvalue()


def figure(levels: Sequence[Level], title: str) -> Figure:
    """It as matplotlib has it."""
    from matplotlib.figure import Figure  # without a display, and without its global state

    made = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = made.subplots()
    points = _points(levels)
    _, x, y = zip(*points, strict=True)
    axes.plot(x, y, marker="o")
    for concurrency, right, up in points:
        axes.annotate(f"{concurrency} at once", (right, up), (6, 6), textcoords="offset points")
    limits = {f"{at}lim": (0, MARGIN * max(one)) for at, one in zip("xy", (x, y), strict=True)}
    axes.set(xlabel=X, ylabel=Y, title=title, **limits)
    axes.grid(alpha=0.3)
    return made
