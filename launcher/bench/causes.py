"""What makes it slow, by what was seen while it was measured: never a guess. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from launcher.bench.record import Level
from launcher.engines.generator import Slow
from launcher.host.facts import Driver, Fact, Gpu
from launcher.plan.findings import Finding, Severity

BUSY = 90  # percent of the time with a kernel at work
IDLE_WATTS = 0.4  # of the limit: kernels that wait use a GPU fully, and little power
OFTEN = 0.5  # of the samples
UNSTEADY = 0.25  # of the slowest round, that the fastest one is beyond it
REFUSED = 0.1  # of the drafts are taken: they cost more than they give (vllm#55605: 29 to 41 %)
# What of doctor's findings costs speed.
GROUPS = ("GPU health", "IOMMU and ACS", "PCIe", "peer-to-peer", "known issues")
OTHERS = "cpu-governor cpu-count numa-balancing huge-pages swap virtual-machine".split()
REASONS = {
    "sw_power_cap": "its power limit holds the clocks down",
    "hw_slowdown": "the hardware slows the clocks down",
    "sw_thermal_slowdown": "heat slows the clocks down",
    "hw_thermal_slowdown": "heat slows the clocks down, by the hardware",
    "hw_power_brake": "the power supply brakes the clocks",
    "sync_boost": "clocks are tied to those of another GPU",
    "applications_clocks": "somebody set its clocks",
}


@dataclass(frozen=True)
class Signs:
    """What one GPU did under the load, in the mean of the samples: watts, percent, how often each
    reason was given for slow clocks; of its link the best that was seen.
    """

    index: int
    watts: float | None
    limit: float | None
    busy: float | None
    reasons: tuple[tuple[str, float], ...]
    generation: tuple[int, int] | None  # seen, and what it could be
    width: tuple[int, int] | None


def signs(samples: Sequence[Driver], ours: Collection[int]) -> tuple[Signs, ...]:
    """What the GPUs that the server has did; of those that told nothing nothing is said."""
    seen: dict[int, list[Gpu]] = {}
    for sample in samples:
        for gpu in sample.gpus.otherwise(()):
            if gpu.index in ours:
                seen.setdefault(gpu.index, []).append(gpu)
    return tuple(_signs(index, gpus) for index, gpus in sorted(seen.items()))


def _signs(index: int, gpus: Sequence[Gpu]) -> Signs:
    given = Counter(word for gpu in gpus for word in gpu.clock_reasons.otherwise(()))
    return Signs(
        index=index,
        watts=_mean(gpu.power_draw for gpu in gpus),
        limit=_mean(gpu.power_limit for gpu in gpus),
        busy=_mean(gpu.utilisation for gpu in gpus),
        reasons=tuple((word, count / len(gpus)) for word, count in given.most_common()),
        generation=_best((gpu.link_gen, gpu.link_gen_max) for gpu in gpus),
        width=_best((gpu.link_width, gpu.link_width_max) for gpu in gpus),
    )


def _mean(facts: Iterable[Fact[float]] | Iterable[Fact[int]]) -> float | None:
    known = [float(fact.get()) for fact in facts if fact.known]
    return fmean(known) if known else None


def _best(pairs: Iterable[tuple[Fact[int], Fact[int]]]) -> tuple[int, int] | None:
    known = [(now.get(), most.get()) for now, most in pairs if now.known and most.known]
    return max(known) if known else None


def watts(told: Sequence[Signs]) -> float | None:
    """What all of them drew together; None where one does not say."""
    drawn = [one.watts for one in told]
    return sum(one for one in drawn if one is not None) if drawn and None not in drawn else None


@dataclass(frozen=True)
class Lines:
    """A server's log: what it said before it was measured, and meanwhile."""

    before: Sequence[str] = ()
    meanwhile: Sequence[str] = ()


def lines(before: Sequence[str], after: Sequence[str]) -> Lines:
    """A log by two looks at its end: each line has its time, so none comes again."""
    known = frozenset(before)
    return Lines(before, [line for line in after if line not in known])


@dataclass(frozen=True)
class Allowed:
    """What the plan lets a server do: requests at once, tokens that are drafted a step; None where
    it does not say.
    """

    at_once: int | None = None
    drafts: int | None = None
    option: str = ""  # that says how many at once


def causes(
    told: Sequence[Signs],
    levels: Sequence[Level],
    findings: Sequence[Finding],
    log: Lines,
    slow: Sequence[Slow],
    allowed: Allowed = Allowed(),
) -> tuple[str, ...]:
    """Why it may be slow, what was measured first; () where nothing was seen."""
    return (
        *_unsteady(levels),
        *_waiting(levels, allowed),
        *_grouped(_of_signs(told)),
        *_of_drafts(levels, allowed),
        *_of_log(log, slow),
        *(
            f"{found.id}: {found.evidence}" + (f"; fix: {found.fix}" if found.fix else "")
            for found in findings
            if (found.group in GROUPS or found.id in OTHERS)
            and found.severity in (Severity.WARN, Severity.FAIL)
        ),
    )


def _of_signs(told: Sequence[Signs]) -> Iterator[tuple[int, str]]:
    for one in told:
        if one.watts is not None and one.limit and one.busy is not None:
            share = one.watts / one.limit
            if one.busy >= BUSY and share < IDLE_WATTS:
                yield (
                    one.index,
                    (
                        f"{one.watts:.0f} W of {one.limit:.0f} W, though it is always busy:"
                        " it waits, for other GPUs or memory, more than it computes"
                    ),
                )
        for word, share in one.reasons:
            if word in REASONS and share >= OFTEN:
                yield one.index, f"{REASONS[word]} ({word})"
        for name, link in (("PCIe generation", one.generation), ("PCIe lanes", one.width)):
            if link and link[0] < link[1]:
                yield one.index, f"{name} {link[0]} of {link[1]} under load"


def _grouped(told: Iterable[tuple[int, str]]) -> Iterator[str]:
    """What is said of several GPUs once."""
    found: dict[str, list[int]] = {}
    for index, text in told:
        found.setdefault(text, []).append(index)
    for text, indices in found.items():
        yield f"GPU{'s' if len(indices) > 1 else ''} {_named(indices)}: {text}"


def _named(indices: Sequence[int]) -> str:
    """Numbers in a row as a range."""
    first, last = indices[0], indices[-1]
    if len(indices) > 2 and last - first == len(indices) - 1:
        return f"{first}-{last}"
    return ", ".join(map(str, indices))


def _unsteady(levels: Sequence[Level]) -> Iterator[str]:
    for one in levels:
        apart = one.fastest / one.slowest - 1 if one.slowest > 0 else 0.0
        if apart > UNSTEADY:
            yield (
                f"at {one.concurrency} at once its rounds are {apart:.0%} apart: something else was"
                " at work, or it still warmed up; measure again"
            )


def _waiting(levels: Sequence[Level], allowed: Allowed) -> Iterator[str]:
    """What waits at the door is in the time to the first token, and in no other figure."""
    most = allowed.at_once
    if most is not None and (
        beyond := [one.concurrency for one in levels if one.concurrency > most]
    ):
        at = ", ".join(map(str, beyond))
        yield f"at {at} at once {most} run, the others wait: --{allowed.option} {most}"


def _of_drafts(levels: Sequence[Level], allowed: Allowed) -> Iterator[str]:
    """Of a server that does not speculate nothing is known, and nothing is said."""
    most = 1 + REFUSED * (allowed.drafts or 1)
    refused = [one for one in levels if one.accept_length and one.accept_length <= most]
    if refused:
        told = ", ".join(f"{one.accept_length:.2f} at {one.concurrency}" for one in refused)
        of = f" of at most {1 + allowed.drafts}" if allowed.drafts else ""
        yield f"its drafts are refused: tokens a step{of}, by requests at once: {told}; 1: without"


def _of_log(log: Lines, slow: Sequence[Slow]) -> Iterator[str]:
    for one in slow:
        told = log.meanwhile if one.is_of_load else [*log.before, *log.meanwhile]
        if sum(one.pattern.search(line) is not None for line in told) >= one.least:
            yield f"its log tells: {one.what} ({one.source})"
