"""What the supervisor knows of an engine, as a value; made in the engine's folder, found by
`engine.runtime`. The standard library alone: it is loaded for weeks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from launcher.engines.activity import Allowed
from launcher.engines.figures import Figures
from launcher.engines.key import Key
from launcher.engines.loading import Loading
from launcher.engines.log import Log
from launcher.engines.server import Question, Server
from launcher.plan.plan import Plan

# Those of Python's multiprocessing, NCCL and CUDA.
SHARED = ("psm_*", "sem.mp-*", "nccl-*", "cuda.shm.*")


class FiguresOf(Protocol):
    """How a server is asked for its figures: in so many seconds, and for all of them or for those
    that cost it little.
    """

    def __call__(self, server: Server, within: float, *, whole: bool) -> Figures: ...


@dataclass(frozen=True)
class Runtime:
    """How an engine's server is watched while it runs."""

    name: str  # as people write it
    package: str  # the distribution that has its release
    log: Log
    ranks: str  # how it titles the processes that it cannot live without: what they begin with
    shared: tuple[str, ...]  # what its files in /dev/shm are called, as globs
    key: Key  # how it is given its API key
    first_token: Question  # does a token come out? Asked while it starts
    alive: Question  # does anything still come out? Asked while it serves
    paused: Callable[[Server], bool]  # was it told to generate nothing? Asked of one that fails
    leads: Question  # is it ready? Asked of the first of several nodes by the others
    in_flight: Callable[[Server], int | None]  # requests that it runs or holds; None: nobody knows
    figures: FiguresOf  # how much it has to do, and how fast it is
    ready_since: str  # the first release that answers /ready; "": none does
    ends_well: bool  # a server that dies of an exception ends with status 0
    allowed: Callable[[Plan], Allowed]  # what a plan lets its log and its processes excuse
    loading: Callable[[Plan], Loading]  # what it reads of the checkpoint, and how
    # the path that says 200 while requests may come, quickly, and 503 as soon as it drains
    readiness: Callable[[Plan], str]
