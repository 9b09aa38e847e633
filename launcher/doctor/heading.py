"""What stands above a report: which GPUs were seen, what they are judged for, and what fits them
where no profile does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from launcher.capacity.choices import Choice, choices, enough
from launcher.config.select import engine_of, none_is_default, shown
from launcher.doctor.run import Examined
from launcher.engines.engine import dialect
from launcher.host.facts import Driver, Gpu, Host
from launcher.knowledge import gpus
from launcher.redact.secrets import hide


def head(seen: Examined) -> str:
    """One line: what was judged, for what."""
    return hide(f"{seen.host.observed}: {_gpus(seen.host)}; {_judged(seen)}")


def _judged(seen: Examined) -> str:
    if seen.plan.name:
        best = ", the default for these GPUs" if seen.chosen else ""
        return f"judged for {seen.plan.name}{best}{_of_another(seen)}"
    return f"judged without a profile: {none_is_default(shown(seen.host))}; choose with -p"


def _of_another(seen: Examined) -> str:
    """That the host has another engine than the profile is of; "" where it has its own."""
    own, has = seen.plan.engine, engine_of(seen.host)
    if has is None or has == own:
        return ""
    return f"; it has {dialect(has).name}, and {seen.plan.name} is of {dialect(own).name}"


def _gpus(host: Host) -> str:
    """The GPUs that are seen, by product where nvidia-smi's table cut the name."""
    seen = shown(host).gpus.otherwise(())
    if not seen:
        return "no GPU provided" if host.driver.gpus.is_unseen else "no GPU seen"
    told = {gpu.name.otherwise("GPU"): _name(gpu) for gpu in seen[::-1]}
    names = Counter(told[gpu.name.otherwise("GPU")] for gpu in seen)
    where = "" if host.driver.gpus.known else " on the bus"
    return ", ".join(f"{count}x {name}" for name, count in names.items()) + where


def _name(gpu: Gpu) -> str:
    name = gpu.name.otherwise("GPU")
    product = gpus.which(None, name, gpu.memory_total.otherwise(0)) if gpus.CUT in name else None
    return product.name if product else name


def fitting(driver: Driver) -> list[str]:
    """What is published and fits the GPUs seen, a line each; nothing of GPUs that nobody knows, or
    that are not alike.
    """
    seen = driver.gpus.otherwise(())
    alike = {(gpu.capability.otherwise(""), gpu.memory_total.otherwise(0)) for gpu in seen}
    capability, memory = alike.pop() if len(alike) == 1 else ("", 0)
    if not memory or not re.fullmatch(r"\d{1,3}\.\d", capability):
        return []
    every = choices(len(seen), memory, capability)
    if found := [one for one in every if one.fits]:
        return [f"{', '.join(ids)}: {text}" for text, ids in _alike(found).items()]
    least = enough(memory, capability)
    here = f"none of the {len(every)} published checkpoints of known size"
    if least is None:
        return [here]
    return [f"{here}; {least.gpus} such GPUs hold {least.id}: {_share(least)}"]


def _alike(found: Sequence[Choice]) -> dict[str, list[str]]:
    together: dict[str, list[str]] = {}
    for one in found:
        together.setdefault(f"{one.quantisation}, {_share(one)}", []).append(one.id)
    return together


def _share(one: Choice) -> str:
    return (
        f"{one.weights / 2**30:.1f} GiB of weights a GPU, an empty one has {one.free / 2**30:.1f}"
    )
