"""How the GPUs of a host hang together, drawn in a few lines: the switch or root port that each is
below, what links they have, and what lies between two of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from launcher.host.facts import Driver, Function, Host

# What `nvidia-smi topo -m` calls the way between two GPUs, the shortest first.
WAYS = {
    "PIX": "below one switch",
    "PXB": "over several switches",
    "PHB": "over a host bridge",
    "NODE": "within a NUMA node",
    "SYS": "between NUMA nodes",
}
GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}  # of PCIe by GT/s
SEVERAL = 2  # GPUs that are worth a drawing


def drawn(host: Host) -> list[tuple[str, str]]:
    """Where each GPU is and what lies between two: lines of a first column and a text; nothing of
    fewer than two GPUs, or where nobody looked at the bus.
    """
    functions = host.pcie.functions.otherwise(())
    boards = [one for one in functions if one.kind == "gpu"]
    if len(boards) < SEVERAL:
        return []
    return [*_places(boards, functions, host.driver), *_between(host.driver)]


def _places(
    boards: Sequence[Function], functions: Sequence[Function], driver: Driver
) -> Iterator[tuple[str, str]]:
    kinds = {one.bdf: one.kind for one in functions}
    names = {gpu.bdf.otherwise(""): f"GPU{gpu.index}" for gpu in driver.gpus.otherwise(())}
    links = {_link(board) for board in boards}
    alike = len(links) == 1

    def called(board: Function) -> str:
        name = names.get(board.bdf, f"GPU at {_short(board.bdf)}")
        return name if alike else f"{name} ({_link(board)})"

    boards = sorted(boards, key=lambda one: (_node(one), _over(one, kinds), one.bdf))
    for node, there in groupby(boards, key=_node):
        first = "NUMA node ?" if node < 0 else f"NUMA node {node}"
        below = [(over, list(some)) for over, some in groupby(there, lambda it: _over(it, kinds))]
        if all(len(some) == 1 for _, some in below):  # a port for each says nothing
            below = [("", [board for _, some in below for board in some])]
        for over, some in below:
            where = f"{over}: " if over else ""
            yield first, where + " ".join(map(called, some))
            first = ""
    if alike:
        yield "each GPU", links.pop()


def _node(board: Function) -> int:
    return board.numa.otherwise(-1)


def _over(board: Function, kinds: dict[str, str]) -> str:
    """The switch that joins it to its neighbours, in words: the one next to the processor."""
    switch = next((bdf for bdf in board.above if kinds.get(bdf) == "switch upstream"), None)
    if switch:
        return f"switch {_short(switch)}"
    return f"port {_short(board.above[0])}" if board.above else ""


def _short(bdf: str) -> str:
    return bdf.removeprefix("0000:")


def _link(board: Function) -> str:
    """Its link as wide as it is now, and as fast as it can be: an idle GPU lowers its speed."""
    generation = GENERATIONS.get(board.speed_max.otherwise(0.0))
    width, most = board.width.otherwise(0), board.width_max.otherwise(0)
    if not width:
        return "link unknown"
    lanes = f"x{width}" if width == most or not most else f"x{width} of x{most}"
    return f"PCIe {generation}.0 {lanes}" if generation else f"PCIe {lanes}"


def _between(driver: Driver) -> Iterator[tuple[str, str]]:
    matrix = driver.topology.otherwise(())
    pairs = Counter(way for first, row in enumerate(matrix) for way in row[first + 1 : len(matrix)])
    if not pairs:
        return
    order = [*WAYS]
    known = sorted(pairs, key=lambda way: order.index(way) if way in WAYS else -1)
    yield (
        "GPU to GPU",
        ", ".join(
            f"{way} {WAYS.get(way, 'NVLink' if way.startswith('NV') else '')}".strip()
            + f" ({pairs[way]} pair{'s' * (pairs[way] > 1)})"
            for way in known
        ),
    )
