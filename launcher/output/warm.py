"""What `warm` did, in words or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict

from launcher import counting, folding
from launcher.doctor.checks.judging import made_by_demo
from launcher.engines.engine import dialect
from launcher.errors import Exit
from launcher.host.facts import Fact
from launcher.knowledge.models import is_id
from launcher.operate.warm import Kernels, Warmed
from launcher.output.events import reading_ahead
from launcher.output.terminal import is_drawn_on
from launcher.serve.readahead import Told

UNBUILT = (
    "kernels: which ones a start lacks only the engine can tell, by running the model on the GPUs;"
    " the next start compiles them"
)


def progress(told: Told) -> None:
    """How far it is, on a terminal alone: the line is written over."""
    if is_drawn_on(sys.stderr):
        text = f"  checkpoint  {reading_ahead(asdict(told))}" if told.end is None else ""
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def report(done: Warmed, *, as_json: bool) -> int:
    """Print it; the exit status."""
    if as_json:
        print(json.dumps(_data(done)))
    else:
        for line in _lines(done):
            folding.tell(line)
    return Exit.FINE if done.is_done else Exit.NO


def _lines(done: Warmed) -> Iterator[str]:
    plan = done.plan
    engine = f"{dialect(plan.engine).name} {plan.release or 'of a release that is not known'}"
    yield f"{plan.name}: {engine}, {plan.model}"
    said = reading_ahead(asdict(done.told)) if done.told.is_news else "too small to wait for"
    yield f"  checkpoint  {said}"
    if done.has_faults:
        fix = f"`glm5-serve model {plan.model}` tells what is there"
        if is_id(plan.model):  # a folder is nothing that could be fetched
            fix += f", `glm5-serve fetch {plan.model}` loads it"
        yield f"  fix         {made_by_demo(plan.model, plan) or fix}"
    if done.kernels:
        yield from _of_kernels(done.kernels)


def _of_kernels(seen: Fact[Kernels]) -> Iterator[str]:
    """A line a folder, then the packages, then what is left to the start."""
    if not seen.known:
        yield f"  kernels     which are compiled is not known: {seen.unknown}"
        return
    kernels = seen.get()
    if not (kernels.caches or kernels.prebuilt):
        yield "  kernels     none is compiled yet"
    for cache in kernels.caches:
        day = time.strftime("%Y-%m-%d", time.localtime(cache.newest))
        yield f"  kernels     {cache.path}: {counting.of(cache.files, 'file')}, the newest of {day}"
    for name, release in kernels.prebuilt.items():
        word = "not of FlashInfer's release" if f"{name} {release}" in kernels.useless else "fits"
        yield f"  kernels     {name} {release}: {word} ({kernels.flashinfer})"
    if kernels.missing:
        yield f"  kernels     not installed: {', '.join(kernels.missing)}"
    yield f"  not done    {UNBUILT}"


def _data(done: Warmed) -> dict[str, object]:
    told = None
    if done.kernels and done.kernels.known:
        kernels = done.kernels.get()
        told = {
            "caches": [asdict(cache) for cache in kernels.caches],
            "prebuilt": dict(kernels.prebuilt),
            "flashinfer": kernels.flashinfer,
            "missing": list(kernels.missing),
        }
    checkpoint = asdict(done.told)
    return {"schema": 1, "profile": done.plan.name, "checkpoint": checkpoint, "kernels": told}
