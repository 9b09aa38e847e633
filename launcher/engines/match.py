"""Where a row of knowledge holds: one form, and one case, for every table. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from launcher.engines import traits
from launcher.engines.engine import dialect
from launcher.engines.options import Option, Release, Version, version
from launcher.engines.relation import Relation
from launcher.engines.target import Target
from launcher.engines.traits import KNOWN
from launcher.engines.values import FOLDED, TYPES, size
from launcher.knowledge import gpus, rows
from launcher.plan.plan import POINTS
from launcher.plan.policy import Policy

KEYS = ("gpu", "release", "operating_point", "traits", "without", "options", "where")


HIDES_ALL = "CUDA_VISIBLE_DEVICES"  # set to nothing it hides every GPU


@dataclass(frozen=True)
class Case:
    """What rows are held against: a target, and the options and variables for it."""

    target: Target
    flags: Mapping[str, Any]  # by canonical name
    env: Mapping[str, str]
    gpus: int
    model: frozenset[str] = frozenset()  # traits of the model
    keyed: bool = False  # a key is asked for that stands in no option
    serves: bool = True  # the engine's own server listens, and no other program's
    policy: Policy | None = None  # how patient its launcher is; None: it has none
    point: str = ""  # the operating point that it is resolved for, of POINTS; "": for none

    def flag(self, *names: str) -> Any:
        """The first of these flags that is set; None if none is, or it was left out on purpose."""
        return next(
            (value for name in names if (value := self.flags.get(name)) not in (None, False)), None
        )

    def value(self, name: str) -> str | None:
        """An option or a variable as text, "" for a switch; None where it is not set, or a variable
        set to nothing, which only one of them means.
        """
        if name.isupper():
            value = self.env.get(name)
            return value if value or name == HIDES_ALL else None
        match self.flag(name):
            case None:
                return None
            case True:
                return ""
            case list() as values:
                return " ".join(map(str, values))
            case value:
                option = self._option(name)
                return str(
                    TYPES[option.type][0](str(value)) if option and option.type in FOLDED else value
                )

    def number(self, name: str) -> float | None:
        """An option as a number, its default where it is not set; None where it is none, or the
        engine computes it.
        """
        option, told = self._option(name), self.value(name)
        if told is None:
            told = str(option.default) if option else ""
        return _number(told, option.type if option else "")

    @cached_property
    def _known(self) -> Release:
        return self.target.known

    def _option(self, name: str) -> Option | None:
        return self._known.options.get(self._known.renamed(f"--{name}"))

    @cached_property
    def release(self) -> Version:
        """The release that it is judged as: the installed one between those that are known, else
        the nearest of them.
        """
        nearest, told = version(self.target.nearest), version(self.target.release or "")
        newest = version(dialect(self.target.engine).options.newest)
        return told if nearest <= told <= newest else nearest

    @cached_property
    def traits(self) -> frozenset[str]:
        """Those of the model, and of what was chosen."""
        of_host = traits.of_host(
            self.env,
            self.gpus,
            memory=self.target.memory,
            has_infiniband=self.target.infiniband is not False,
        )
        chosen = {**of_host, **dialect(self.target.engine).choices(self.flag, self.env)}
        told = {trait for trait, holds in chosen.items() if holds}
        if self.target.measured:
            told |= self.target.measured.traits
        if not self.serves:
            told -= traits.OF_SERVER
        return self.model | told | ({"keyed"} if self.keyed else set())


def _number(text: str, type: str) -> float | None:
    read: Callable[[str], float] = TYPES[type][0] if type.startswith("scaled") else size
    try:
        return read(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class Span:
    """Releases from `first` to `last`, both included, or `before` one; () is open on that side."""

    first: Version = ()
    last: Version = ()
    before: Version = ()

    @classmethod
    def of(cls, text: str) -> Span:
        """`>=0.5.15,<=0.5.16`, one of them, `<0.5.17` or `==0.5.17`. Raises ValueError."""
        ends: dict[str, Version] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            found = re.fullmatch(r"(>=|<=|==|<)([\d.]+)", part)
            if not found:
                raise ValueError(f"{part!r} is not a span of releases: >=A, <=B, <B or ==C")
            ends[found[1]] = version(found[2])
        exact = ends.get("==", ())
        return cls(ends.get(">=", exact), ends.get("<=", exact), ends.get("<", ()))

    def has(self, release: Version) -> bool:
        """Whether a release is in it."""
        return (
            self.first <= release
            and (not self.last or release <= self.last)
            and (not self.before or release < self.before)
        )

    def __str__(self) -> str:
        first, last, before = (
            ".".join(map(str, end)) for end in (self.first, self.last, self.before)
        )
        if first and last:
            return f"{first}-{last}"
        told = (
            f">={first}" if first else "",
            f"<={last}" if last else "",
            f"<{before}" if before else "",
        )
        return ",".join(filter(None, told))


@dataclass(frozen=True)
class When:
    """The condition of a row: architectures and operating points (any where none is named),
    releases, traits that must be there, or must not, what options and variables must be, and how
    their numbers compare.

    `options` has the values by name; of several names (`a|b`) one will do. "" is not set, "*" set
    to anything, "!x" anything but x, or not set.
    """

    gpu: tuple[str, ...] = ()
    release: Span = Span()
    traits: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    where: Relation | None = None
    points: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> When:
        """From a row's `when`. Raises ValueError for a key, a GPU or a trait that nobody knows."""
        if odd := [key for key in told if key not in KEYS]:
            raise ValueError(f"when: {odd[0]} is not one of {', '.join(KEYS)}")
        wanted, barred = (
            frozenset(rows.texts(key, told.get(key, []))) for key in ("traits", "without")
        )
        if odd := sorted((wanted | barred) - KNOWN):
            raise ValueError(f"when: nobody knows the trait {odd[0]}")
        points = rows.texts("operating_point", told.get("operating_point", []))
        if odd := sorted(set(points) - set(POINTS)):
            raise ValueError(f"when: {odd[0]} is no operating point")
        asked = told.get("options", {})
        options = {name: rows.texts(name, values) for name, values in asked.items()}
        gpu, release = gpus.known_archs(told), Span.of(told.get("release", ""))
        where = Relation.of(rows.text("where", told["where"])) if "where" in told else None
        return cls(gpu, release, wanted, barred, options, where, points)

    @property
    def names(self) -> frozenset[str]:
        """The options and variables that it asks for."""
        asked = (name for names in self.options for name in names.split("|"))
        return frozenset((*asked, *(self.where.names if self.where else ())))

    def suits(self, case: Case, release: Version = ()) -> bool:
        """Whether all of it is true of a case; of that release, where it is told."""
        return (
            (not self.points or case.point in self.points)
            and self.holds(case.target.arch, release or case.release, case.traits)
            and all(
                any(_is_one_of(case.value(name), wanted) for name in names.split("|"))
                for names, wanted in self.options.items()
            )
            and self.words(case) is not None
        )

    def words(self, case: Case) -> Mapping[str, str] | None:
        """The numbers that it compares, by their names; None where that does not hold of them."""
        return self.where.words(case.number) if self.where else {}

    def holds(self, arch: str | None, release: Version, traits: frozenset[str]) -> bool:
        """Whether it does for a GPU, a release and the traits of a case, whatever its options."""
        return (
            (not self.gpu or arch in self.gpu)
            and self.release.has(release)
            and self.traits <= traits
            and not self.without & traits
        )

    def __str__(self) -> str:
        told = "/".join(self.gpu), str(self.release), "/".join(self.points)
        return " ".join(filter(None, told)) or "any Blackwell"


def _is_one_of(value: str | None, wanted: Sequence[str]) -> bool:
    if value is None:
        return any(one == "" or one.startswith("!") for one in wanted)
    return any(
        one == "*" or (value != one[1:] if one.startswith("!") else one and value == one)
        for one in wanted
    )
