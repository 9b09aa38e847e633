"""Where a row of knowledge holds: one form for every table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.engines.options import Version, version
from launcher.engines.traits import KNOWN

KEYS = ("gpu", "release", "traits", "without")


@dataclass(frozen=True)
class Span:
    """Releases from `first` to `last`, both included; () is open on that side."""

    first: Version = ()
    last: Version = ()

    @classmethod
    def of(cls, text: str) -> Span:
        """`>=0.5.15,<=0.5.16`, one of them, or `==0.5.17`. Raises ValueError."""
        first: Version = ()
        last: Version = ()
        for part in filter(None, (one.strip() for one in text.split(","))):
            sign, number = part[:2], version(part[2:])
            if sign not in (">=", "<=", "==") or not number:
                raise ValueError(f"{part!r} is not a span of releases: >=A, <=B or ==C")
            first = first if sign == "<=" else number
            last = last if sign == ">=" else number
        return cls(first, last)

    def has(self, release: Version) -> bool:
        """Whether a release is in it."""
        return self.first <= release and (not self.last or release <= self.last)

    def __str__(self) -> str:
        first, last = (".".join(map(str, end)) for end in (self.first, self.last))
        if first and last:
            return f"{first}-{last}"
        return f">={first}" if first else f"<={last}" if last else ""


@dataclass(frozen=True)
class When:
    """The condition of a row: architectures (any where none is named), releases, and traits that
    must be there, or must not.
    """

    gpu: tuple[str, ...] = ()
    release: Span = Span()
    traits: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> When:
        """From a row's `when`. Raises ValueError for a key or a trait that nobody knows."""
        if odd := [key for key in told if key not in KEYS]:
            raise ValueError(f"when: {odd[0]} is not one of {', '.join(KEYS)}")
        wanted, barred = frozenset(told.get("traits", ())), frozenset(told.get("without", ()))
        if odd := sorted((wanted | barred) - KNOWN):
            raise ValueError(f"when: nobody knows the trait {odd[0]}")
        return cls(tuple(told.get("gpu", ())), Span.of(told.get("release", "")), wanted, barred)

    def holds(self, arch: str | None, release: Version, traits: frozenset[str]) -> bool:
        """Whether it does for a GPU, a release and the traits of a case."""
        return (
            (not self.gpu or arch in self.gpu)
            and self.release.has(release)
            and self.traits <= traits
            and not self.without & traits
        )

    def __str__(self) -> str:
        return " ".join(filter(None, ("/".join(self.gpu), str(self.release)))) or "any Blackwell"
