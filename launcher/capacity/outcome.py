"""How a plan fits its GPUs, as a value: what is computed, and what there is to know of it."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.plan.evidence import Known
from launcher.plan.findings import Severity


@dataclass(frozen=True)
class Said:
    """One thing to know about how it fits."""

    severity: Severity
    what: str
    fix: str
    known: Known
    source: str
    blames: str = ""  # the option that it is about, where that is one alone


@dataclass(frozen=True)
class Row:
    """One memory fraction: tokens by KV type, and what is left of a GPU."""

    fraction: float
    tokens: dict[str, int]
    left: int


@dataclass(frozen=True)
class Fit:
    """How a plan fits; bytes are of one GPU, but for those of the checkpoint and the host."""

    gpus: int
    memory: int  # of one GPU
    assumed: bool  # no GPU told it
    free: int  # before the weights
    weights: int
    checkpoint: int  # of the whole
    exact: bool  # from the files' headers
    layout: str
    cell: int  # bytes a token
    fraction: float
    base: int  # what that is a fraction of
    automatic: bool  # the engine's own choice
    pool: int  # bytes that the plan gives the KV cache itself; 0: the fraction does
    kv: int
    tokens: int  # of a group
    at_best: int  # tokens, where the least that runs beside them is taken; `tokens`: the most
    slots: int | None  # for the states of requests; None: its layers keep none
    slot: int  # bytes of one
    working: tuple[int, int]  # least and most that runs within the fraction, beside the KV cache
    left: int
    beside: int  # that must be left for what runs beside the fraction, the longest prompt included
    floor: int  # of these, below which no server is known to have served; 0: not known
    needed: int  # of all that runs, at least
    least: float  # fraction below which there is no KV cache
    useful: float  # fraction from which on one request of the context fits; above 1: none
    most: float  # fraction that leaves what is needed
    context: int
    own: int  # the model's own context; 0: not known
    running: int | None  # requests that the plan lets run at once
    admitted: int | None  # of these, that the slots let run at once
    drafts: int  # tokens a step
    groups: int  # of attention DP, each with such a KV cache; 1: there is none
    requests: dict[int, int]  # of all groups, that fit, by their tokens
    rows: tuple[Row, ...]
    host_memory: int | None
    disk_free: int | None
    disk_speed: float | None  # bytes a second
    cold_load: float | None  # seconds
    said: tuple[Said, ...] = ()

    @property
    def is_too_large(self) -> bool:
        """Whether no fraction helps."""
        return self.weights + self.needed > self.free

    @property
    def is_starved(self) -> bool:
        """Whether less is left to run with than any server is known to have had."""
        return self.left < self.floor and self.weights < self.base * self.fraction

    @property
    def is_tight(self) -> bool:
        """Whether less is left to run with than is known to be enough."""
        return self.left < self.beside and self.weights < self.base * self.fraction

    @property
    def fits(self) -> bool:
        """Whether a server would start, and serve."""
        return all(said.severity is not Severity.FAIL for said in self.said)
