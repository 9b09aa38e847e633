"""Which published checkpoints GPUs hold, by their weights alone: for a host that no profile is
for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.capacity import memory as capacity
from launcher.engines.memory import NEEDED
from launcher.knowledge import gpus, models
from launcher.knowledge.shape import Shape, layout
from launcher.knowledge.shape import shape as shape_of

COUNTS = (1, 2, 4, 6, 8, 16)  # of GPUs, that people have
# The least compute capability whose tensor cores take a quantisation; others take any.
LEAST = {"nvfp4": (10, 0), "fp8": (8, 9)}


@dataclass(frozen=True)
class Choice:
    """A published checkpoint on a number of GPUs."""

    id: str
    quantisation: str
    gpus: int
    weights: int  # bytes of one GPU
    free: int  # bytes of one GPU, before they are loaded

    @property
    def fits(self) -> bool:
        """Whether a KV cache has room beside the weights, graphs and activations."""
        return self.weights + NEEDED <= self.free


def choices(count: int, memory: int, capability: str) -> list[Choice]:
    """Every checkpoint whose sizes are known and whose quantisation these GPUs compute, the
    smallest first; sizes are in bytes of one GPU.
    """
    made = (
        Choice(one.id, one.quantisation, count, held, gpus.free(memory))
        for one, shape, weighs in _sized()
        if _computes(capability, one.quantisation)
        for held in [capacity.from_shape(shape, weighs).of_gpu(*layout(count, shape.heads))]
    )
    return sorted(made, key=lambda one: one.weights)


def enough(memory: int, capability: str) -> Choice | None:
    """The fewest such GPUs that hold any of them, with the smallest that they hold; None: more than
    a host has.
    """
    every = (one for count in COUNTS for one in choices(count, memory, capability))
    return next((one for one in every if one.fits), None)


def _sized() -> Iterator[tuple[models.Checkpoint, Shape, capacity.Precision]]:
    for family in models.families():
        for one in family.checkpoints.values():
            config, weighs = capacity.named(one.id), capacity.precision(one.quantisation)
            if config and weighs:
                yield one, shape_of(config), weighs


def _computes(capability: str, quantisation: str) -> bool:
    least = LEAST.get(quantisation.partition("-")[0])
    return least is None or tuple(int(part) for part in capability.split(".")) >= least
