"""What a run of `bench` tells of a server, without names of its host."""

from __future__ import annotations

import hashlib
import json
import os
import re

from launcher import __version__
from launcher.bench.record import Run
from launcher.engines.engine import dialect
from launcher.knowledge import gpus, models
from launcher.operate.bench_subject import Subject
from launcher.plan.plan import Plan
from launcher.statedir.times import now_text

# Options that name a place or a name of this host, and no way to compute.
_OWN = re.compile(r"host|port|model|.*(path|file|key|addr|name|dir|url)s?|tokenizer|config")


def described(it: Subject) -> Run:
    """What is measured, without names of this host."""
    plan, driver = it.plan, it.driver
    cards = [gpu for gpu in driver.gpus.otherwise(()) if gpu.index in it.gpus]
    names = {gpu.name.otherwise("") for gpu in cards}
    name = names.pop() if len(names) == 1 else ""
    product = gpus.which(name=name) if name else None
    options = _options(plan)
    return Run(
        time=now_text(),
        glm5_serve=__version__,
        profile=it.instance.name,
        engine=plan.engine,
        release=plan.release,
        generator=it.generator.name,
        model=_named(plan),
        version=version_of(plan.model),
        precision=precision_of(plan.model),
        gpu=product.id if product else None,
        gpus=plan.gpus,
        edition=name,
        driver=driver.version.otherwise("") or None,
        scenario=it.scenario.name,
        tokens=it.scenario.tokens,
        objective=it.wish.objective,
        options=options,
        facts=_digest([name, len(cards), driver.version.value, driver.topology.value]),
        plan=_digest([plan.engine, plan.release, options, plan.env]),
        notes=tuple(it.notes),
    )


def _named(plan: Plan) -> str:
    """A checkpoint's own name; of a folder that tells no model, what clients call it."""
    name = models.checkpoint(plan.model)
    return name if version_of(plan.model) or models.is_id(plan.model) else plan.model_name or name


def version_of(model: str) -> str | None:
    """Which GLM-5 a checkpoint is, as its makers write it; None for another model."""
    found = re.search(r"(?<![a-z0-9])glm-(5(?:\.\d+)?)(-flash)?(?![\d.])", models.checkpoint(model))
    return f"GLM-{found[1]}{'-Flash' if found[2] else ''}" if found else None


def precision_of(model: str) -> str | None:
    """How a checkpoint is quantised, in the words of `bench_points.toml`; None: nobody knows."""
    told = models.quantisation(model) or ""
    return {"fp4": "nvfp4", "nvfp4-weights": "nvfp4 w4a16"}.get(
        told, told.partition("-")[0]
    ) or None


def _options(plan: Plan) -> dict[str, str]:
    """Its options that say how it computes."""
    secret = dialect(plan.engine).secrets
    return {
        one.option: one.value
        for one in plan.settings
        if one.option
        and one.option not in secret
        and not _OWN.fullmatch(one.option)
        and os.sep not in one.value
    }


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
