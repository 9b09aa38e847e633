"""An engine's `/metrics`, read: samples by name, as Prometheus' text format has them, and
OpenMetrics: a time may stand behind a value, and an exemplar.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from launcher.counting import LARGEST

# A counter, or a gauge that is never below zero; what is no such number is no sample, nor is one
# that no server can have counted.
_SAMPLE = re.compile(
    r"^(\w+:\w+)(?:\{((?:[^\"}\n]|\"(?:[^\"\\\n]|\\.)*\")*)\})?"
    r"[ \t]+(\d{1,40}(?:\.\d{1,40})?(?:[eE][-+]?\d{1,2})?)"
    r"(?:[ \t]+-?\d{1,20}(?:\.\d{1,20})?)?(?:[ \t]+# \{[^\n]*)?[ \t]*\r?$",
    re.MULTILINE | re.ASCII,
)
_LE = re.compile(r'(?:^|,)le="([0-9.]+|\+Inf)"')

Samples = Mapping[str, list[tuple[str, float]]]  # by its name: labels as they stand, and the value


def samples(text: str, names: frozenset[str]) -> Samples:
    """The samples of these names in an exposition of metrics."""
    found: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for name, labels, value in _SAMPLE.findall(text):
        if name in names and float(value) <= LARGEST:
            found[name].append((labels, float(value)))
    return found


def lacking(found: Samples, names: Iterable[str]) -> tuple[str, ...]:
    """What to say where an exposition has none of a name's samples, though its engine counts it."""
    absent = [name for name in names if name not in found]
    return (f"/metrics has no {', '.join(absent)}",) if absent else ()


def total(found: Samples, name: str) -> float | None:
    """The sum over all series of a name; None where there is none."""
    return sum(value for _, value in found[name]) if name in found else None


def buckets(found: Samples, name: str) -> dict[float, float]:
    """A histogram's cumulative counts by upper edge, over all series."""
    counts: defaultdict[float, float] = defaultdict(float)
    for labels, value in found.get(name, ()):
        if le := _LE.search(labels):
            counts[float(le[1].lstrip("+"))] += value
    return dict(counts)


def by_label(found: Samples, label: str, names: Iterable[str]) -> dict[str, dict[str, float]]:
    """By the value of a label: these names and their values; what has no such label is left out."""
    told: defaultdict[str, dict[str, float]] = defaultdict(dict)
    wanted = re.compile(rf'(?:^|,){label}="([^"\\]*)"')
    for name in names:
        for labels, value in found.get(name, ()):
            if which := wanted.search(labels):
                told[which[1]][name] = value
    return dict(told)
