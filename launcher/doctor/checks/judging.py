"""What checks say, and how they speak of several GPUs at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from launcher import counting
from launcher.host.facts import Fact, Function, Gpu, Host, UnobservedError
from launcher.knowledge.gpus import BLACKWELL, arch
from launcher.plan.findings import Severity
from launcher.plan.plan import Plan

T = TypeVar("T")
Item = TypeVar("Item")

# What probes say of a thing that this board does not have: it cannot be broken then.
UNSUPPORTED = "the driver does not support it here"


@dataclass(frozen=True)
class Verdict:
    """What a check says: how bad, the value seen and where, what to do."""

    severity: Severity
    evidence: str
    fix: str = ""


def ok(evidence: str) -> Verdict:
    """It is as it should be."""
    return Verdict(Severity.OK, evidence)


def warn(evidence: str, *, fix: str) -> Verdict:
    """It works, slower or less safely than it could."""
    return Verdict(Severity.WARN, evidence, fix)


def fail(evidence: str, *, fix: str) -> Verdict:
    """The server would not start, would hang, crash, or answer wrongly."""
    return Verdict(Severity.FAIL, evidence, fix)


def known_bad(
    items: Iterable[Item], fact: Callable[[Item], Fact[T]], bad: Callable[[T], object]
) -> list[tuple[Item, T]]:
    """The items whose fact is known and bad, each with it: for a check that asks several facts,
    where the gap of one must not hide another.
    """
    seen = [(item, fact(item)) for item in items]
    return [(item, one.get()) for item, one in seen if one.known and bad(one.get())]


def failing(
    items: Iterable[Item], fact: Callable[[Item], Fact[T]], bad: Callable[[T], object]
) -> list[tuple[Item, T]]:
    """The items whose fact is bad, each with it. A feature that a board does not have is not bad.

    Raises UnobservedError where none is bad but some could not be seen.
    """
    found, hidden = [], None
    for item in items:
        seen = fact(item)
        if not seen.known:
            hidden = hidden if seen.unknown == UNSUPPORTED else seen.unknown
        elif bad(value := seen.get()):
            found.append((item, value))
    if hidden is not None and not found:
        raise UnobservedError(hidden)
    return found


def gpus(host: Host) -> tuple[Gpu, ...]:
    """The GPUs that the driver shows. Raises UnobservedError, also where it shows none."""
    if not (shown := host.driver.gpus.get()):
        raise UnobservedError("the driver shows no GPU")
    return shown


def capabilities(host: Host) -> list[Fact[str]]:
    """The compute capability of each GPU. Raises UnobservedError, also where none is shown."""
    return [gpu.capability for gpu in gpus(host)]


def is_for_blackwell(host: Host, plan: Plan) -> bool:
    """Whether a profile is meant, each of which is, or a GPU is one.

    Raises UnobservedError where nobody knows.
    """
    told = capabilities(host) if not plan.name else []
    if any(fact.known and arch(fact.get()) in BLACKWELL for fact in told):
        return True
    return bool(plan.name) or any(arch(fact.get()) in BLACKWELL for fact in told)


def counted(host: Host) -> tuple[Gpu, ...]:
    """Those that the driver shows, to be counted: none is a count, too.

    Raises UnobservedError where all that is told is of GPUs that do not answer: nvidia-smi's
    complaint of one says nothing of the others.
    """
    shown = host.driver.gpus.get()
    mute = [gpu.name.unknown for gpu in shown if not gpu.name.known and not gpu.name.is_unseen]
    if shown and len(mute) == len(shown):
        raise UnobservedError(str(mute[0]))
    return shown


def ranks(host: Host, plan: Plan) -> int:
    """How many GPUs a plan is for; without a profile those that are seen. Raises UnobservedError
    where there is neither.
    """
    if not plan.name and plan.gpus < 2:
        counted(host)  # a complaint of one GPU is no count
        return len(gpus(host))
    return plan.gpus


def functions(host: Host, *kinds: str) -> list[Function]:
    """The PCI functions of these kinds, or all.

    Raises UnobservedError, also where no GPU is seen.
    """
    found = [
        function for function in host.pcie.functions.get() if not kinds or function.kind in kinds
    ]
    if not found and "gpu" in kinds:
        raise UnobservedError("no NVIDIA GPU is seen on the PCI bus")
    return found


def above_gpus(host: Host) -> list[Function]:
    """The bridges above GPUs.

    Raises UnobservedError, also where none is seen: a virtual machine hides them.
    """
    above = {bdf for gpu in functions(host, "gpu") for bdf in gpu.above}
    found = [function for function in functions(host) if function.bdf in above]
    if not found:
        raise UnobservedError("no bridge above a GPU is seen")
    return found


def by_gpu(found: Iterable[tuple[Gpu, object]]) -> str:
    """GPUs with what was seen of each, those alike together: "GPUs 0-6: 600 W; GPU 7
    (0000:e1:00.0): 300 W".
    """
    alike: dict[str, list[Gpu]] = {}
    for gpu, text in found:
        alike.setdefault(str(text), []).append(gpu)
    return "; ".join(f"{_named(group)}: {text}" for text, group in alike.items())


def _named(group: Sequence[Gpu]) -> str:
    if len(group) == 1:
        bdf = group[0].bdf
        return f"GPU {group[0].index}" + (f" ({bdf.get()})" if bdf.known else "")
    return f"GPUs {counting.ranges([gpu.index for gpu in group])}"


def sample(names: Sequence[str], most: int = 4) -> str:
    """A few names of many: "a, b, c, d and 12 more"."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def gib(size: float) -> str:
    """Bytes in words: "95.6 GiB"."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def version(text: str) -> tuple[int, ...]:
    """A version as numbers to compare, up to its first part that is none: 0.5.14.post1 is (0, 5,
    14).
    """
    parts = []
    for part in text.partition("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        parts.append(int(digits))
        if digits != part:  # 14rc1
            break
    return tuple(parts)


def made_by_demo(path: str, plan: Plan) -> str:
    """The remedy for what `demo` makes, and has not made here; "" for any other place."""
    is_its = re.search(r"/cpu-demo[^/]*/(?:engine/bin/python|model)$", path)
    return f"`glm5-serve demo --prepare --engine {plan.engine}` makes it" if is_its else ""
