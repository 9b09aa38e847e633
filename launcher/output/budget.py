"""A GPU's memory as it is shared out: as a bar, as lines, and by fraction."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from launcher.capacity.memory import GIB
from launcher.capacity.outcome import Fit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from launcher.engines.dialect import Dialect
    from launcher.engines.memory import Knobs

WIDTH = 60  # columns of the picture
ESTIMATED = "estimated from logs of hosts; the log of a start tells it"


def picture(console: Console, made: Fit) -> None:
    """One GPU's memory as a bar, each part as long as it is large."""
    from launcher.output.console import words

    running = max(min(made.working[1], made.free - made.weights - made.left), 0)
    kv = max(0, made.free - made.weights - made.left - running)
    states = min(kv, (made.slots or 0) * made.slot)
    parts = [
        ("in use", made.memory - made.free, "dim"),
        ("weights", made.weights, "cyan"),
        *([("running", running, "blue")] if running else []),
        ("KV cache", kv - states, "green"),
        *([("states", states, "magenta")] if states else []),
        ("left", made.left, "yellow"),
    ]
    drawn = {"in use": "░", "weights": "█", "running": "▚", "KV cache": "▓", "states": "▒"}
    signs = [(part, drawn.get(part[0], "·")) for part in parts]
    ends = accumulate(size for (_, size, _), _ in signs)
    wide = min(WIDTH, console.width - 1)
    columns = [min(round(wide * end / made.memory), wide) for end in ends]
    bar = (
        (sign * (end - start), colour)
        for ((_, _, colour), sign), (start, end) in zip(signs, pairwise([0, *columns]), strict=True)
    )
    beyond = made.weights - made.free
    console.print(words(*bar, "|", f" the card ends, {gib(beyond)} do not fit" * (beyond > 0)))
    legend = [words((sign, colour), f" {name} {gib(size)}") for (name, size, colour), sign in signs]
    console.print(words("   ").join(legend), end="\n\n")


def table(console: Console, made: Fit) -> None:
    """Tokens and what is left by fraction; where a range runs within it, with the most of that."""
    from launcher.output.console import columns, words

    told: list[list[str | Text]] = []
    for row in made.rows:
        short = row.left < made.beside
        note = ("little left ", "yellow") if short else ""
        note = ("too little left ", "red") if row.left < made.floor else note
        note = ("less than one request ", "yellow") if row.fraction < made.useful else note
        note = ("no KV cache ", "red") if not any(row.tokens.values()) else note
        here = ("<- this plan", "bold") if row.fraction == made.fraction else ""
        tokens = [f"{count:,}" for count in row.tokens.values()]
        told.append([_share(row.fraction), *tokens, gib(row.left), words(note, here)])
    console.print()
    kinds = (f"{kind} tokens" for kind in made.rows[0].tokens)
    columns(console, ["fraction", *kinds, "left", ""], told)


def points(made: Mapping[str, Fit], here: str) -> None:
    """What each operating point costs, how many requests it lets run at once, and how many of a
    length it has room for.
    """
    from launcher.output.console import columns, console, words

    if not made:
        return
    rows: list[list[str | Text]] = []
    for point, one in made.items():
        tokens = f"{one.groups} x {one.tokens:,}" if one.groups > 1 else f"{one.tokens:,}"
        room = (str(_room(one, size)) for size in _sizes(made.values()))
        said = ("", "") if one.fits else ("does not fit ", "red")
        mark = ("<-", "bold") if point == here else ""
        cells = str(one.drafts or "-"), gib(one.weights), tokens, str(one.running or "-"), *room
        rows.append([point, *cells, words(said, mark)])
    heads = ["point", "drafts", "weights", "KV tokens", "at most"]
    screen = console(sys.stdout)
    screen.print()
    columns(screen, [*heads, *map(_of, _sizes(made.values())), ""], rows, left=("point", ""))


def _sizes(made: Iterable[Fit]) -> list[int]:
    """The lengths of a request that are shown: a short one, and the context."""
    contexts = {one.context for one in made}
    return sorted({min(8192, *contexts), *contexts})


def _of(size: int) -> str:
    return f"{size:,} long"


def _room(made: Fit, size: int) -> int:
    """Requests of so many tokens that run at once: as many as may, and have room."""
    room = made.requests.get(size, 0)
    return min(room, made.running) if made.running else room


def fraction(made: Fit, engine: Dialect) -> str:
    """What is shared out, and of what."""
    knobs = engine.memory.knobs
    if made.pool:
        return f"{knobs.pool} {gib(made.pool)}: {knobs.fraction} is not read"
    of = "free before loading" if made.base == made.free else f"in all, {gib(made.free)} free"
    mode = f", {engine.name}'s own choice" if made.automatic else ""
    return f"{_share(made.fraction)} x {gib(made.base)} {of}{mode}"


def _share(fraction: float) -> str:
    """A fraction, of two decimals at least."""
    return max(f"{fraction:.2f}", f"{fraction:g}", key=len)


def cache(made: Fit) -> str:
    """The tokens of the pool, from the most to the least that is taken beside it."""
    best = f" to {made.at_best:,}" if made.at_best > made.tokens else ""
    apart = f", in each of {made.groups} groups of attention DP" if made.groups > 1 else ""
    each = f"{made.cell:,} bytes a token, on each GPU{apart}"
    return f"{made.tokens:,}{best} tokens of {made.layout}: {each}"


def left(made: Fit) -> Iterator[tuple[str, str]]:
    """What there is to run with, within the fraction and beside it."""
    if made.working[1]:
        taken = f"{made.working[0] / GIB:.1f} to {gib(made.working[1])}"
        yield "running", f"{taken} for graphs, activations, workspaces ({ESTIMATED})"
        yield "left", f"{gib(made.left)} that nothing takes"
    else:
        needed = f"up to {gib(made.beside)} are needed"
        yield "left", f"{gib(made.left)} for graphs, activations, NCCL; {needed}"


def usable(made: Fit, knobs: Knobs) -> str:
    """The fractions that leave room for one request of the context, and for all that runs."""
    if made.least >= made.most:
        return f"no {knobs.fraction}: weights and what else must run are too much"
    most, one = int(made.most * 100) / 100, f"one request of {made.context:,} tokens"
    if (first := math.ceil(made.useful * 100) / 100) > most:
        return f"no {knobs.fraction} up to {most:.2f} has room for {one}"
    return f"{knobs.fraction} {first:.2f} ({one}) to {most:.2f}"


def gib(size: float) -> str:
    """A size in GiB."""
    return f"{size / GIB:.1f} GiB"
