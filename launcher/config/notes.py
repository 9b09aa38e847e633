"""What the one who starts a plan should know about how it was resolved."""

from __future__ import annotations

from collections.abc import Iterator

from launcher import counting
from launcher.config import nodes as several
from launcher.config import replicas
from launcher.config.composed import Composed
from launcher.config.profile import Profile
from launcher.engines.match import Case
from launcher.engines.tables import complaints
from launcher.engines.target import Target
from launcher.engines.traits import Identity
from launcher.knowledge import models
from launcher.plan.plan import Plan


def notes(plan: Plan, composed: Composed, target: Target, model: Identity) -> Iterator[str]:
    """What the one who starts it should know about how it was resolved; without a GPU, who else
    may have written it.
    """
    about = model.note if plan.ruled else None
    short = target.shortage(plan.gpus)
    other = target.mismatch(plan.name, plan.needs_arch)
    told = (
        (plan.doubt, target.doubt, other, short, about) if plan.gpus else (plan.doubt, target.doubt)
    )
    if composed.meaning:
        yield f"{composed.name} is an old name: write -p {composed.meaning}"
    yield from filter(None, told)
    if composed.replica:
        count = composed.profile.replicas
        each = f" of {counting.of(plan.gpus, 'GPU')} each, on one host" if plan.gpus else ""
        all_of_it = counting.of(count, "replica")
        yield f"{plan.name} is one of {all_of_it}{each}, for gateway {plan.gateway}"
        if plan.gpus and replicas.DEVICES not in plan.env:
            yield f"which GPUs it has is unknown here: env.{replicas.DEVICES} names those of all"
    yield from _of_point(plan, composed)
    yield from plan.measured[1:] if target.measured else plan.measured
    yield from several.notes(plan)
    yield from _spelled_otherwise(plan, composed, target)
    if plan.gpus:
        yield from _of_profile(composed.profile, target)
        yield from (f"left out: {what}" for what in complaints((plan.engine,)))


def of_fabric(case: Case) -> Iterator[str]:
    """What was measured between the GPUs; then what goes against it, or what it goes against."""
    seen, traits = case.target.measured, case.traits
    if seen is None:
        yield from filter(None, (case.target.unmeasured,))
        return
    yield str(seen)
    if seen.ipc_up_to == 0 and "pcie-ipc-allreduce" in traits:
        yield f"the PCIe IPC all-reduce is on, and goes against what was measured: {seen}"
    elif seen.ipc_up_to == 0 and case.target.arch == "sm120":
        yield f"the rule for the PCIe IPC all-reduce is contradicted, and not followed: {seen}"
    if seen.broken and "no-p2p" not in traits:
        yield f"peer-to-peer is on, against what was measured: {seen}"


def _of_point(plan: Plan, composed: Composed) -> Iterator[str]:
    """Why an operating point that somebody asked for is not all that it could be."""
    if "operating_point" not in composed.origin:
        return
    yield from (f"operating point {plan.point}: {reason}" for reason in plan.left_out)
    if not plan.point:
        why = "its rules are off" if plan.gpus else "it runs on the CPU"
        yield f"operating_point chooses nothing for {plan.name}: {why}"


def _spelled_otherwise(plan: Plan, composed: Composed, target: Target) -> Iterator[str]:
    """The options that an author calls by a name that the release does not have, or drops soon."""
    known = target.known
    for setting in plan.settings if plan.ruled else ():
        word = f"--{composed.written.get(setting.option, '')}"
        option = known.options.get(word)
        is_usual = word[2:] in known.catalogue.short or (option and not option.deprecated)
        if word != "--" and word != setting.name and not is_usual:
            yield f"{word} is {setting.name} in {known.catalogue.engine} {known.name}: written so"


def _of_profile(profile: Profile, target: Target) -> Iterator[str]:
    """What to say of the profile itself, and of its checkpoint on these GPUs."""
    if profile.unverified:
        yield f"unverified: {profile.unverified}"
    checkpoint = models.known(profile.flags.model_path)
    for warned in checkpoint.warnings if checkpoint else ():
        if warned.holds(target.arch):
            yield warned.what
