"""What helps against an issue: data, worded for a profile or a command, and applied to a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.engines.engine import dialect
from launcher.engines.match import Case, Span
from launcher.engines.options import Release, version
from launcher.knowledge import rows

KEYS = ("set", "unset", "release", "text")


@dataclass(frozen=True)
class Remedy:
    """Options and variables to set and to leave out, a release to install, and words to say beside
    that, or alone.
    """

    set: Mapping[str, str] = field(default_factory=dict)  # "" for a switch
    unset: tuple[str, ...] = ()
    release: str = ""  # a span: ">=0.5.18"
    text: str = ""
    package: str = ""  # that the release is one of
    is_image: bool = False  # the release comes in an image, and is not installed

    @classmethod
    def of(cls, told: Mapping[str, Any], package: str = "") -> Remedy:
        """From a row's `remedies`. Raises ValueError."""
        rows.only(told, KEYS)
        if not told:
            raise ValueError("remedies: an empty one")
        Span.of(told.get("release", ""))
        given = {name: "" if value is True else str(value) for name, value in _set(told)}
        unset = tuple(told.get("unset", ()))
        return cls(given, unset, told.get("release", ""), told.get("text", ""), package)

    @property
    def is_data(self) -> bool:
        """Whether there is something to apply, and not words alone."""
        return bool(self.set or self.unset or self.release)

    def filled(self, words: Mapping[str, str], case: Case) -> Remedy:
        """With what its `{name}`, `{value}` and the like stand for, and of what it leaves out what
        is there.
        """
        made = {name.format(**words): value.format(**words) for name, value in self.set.items()}
        unset = (name.format(**words) for name in self.unset)
        there = tuple(name for name in unset if case.value(name) is not None)
        return replace(self, set=made, unset=there, text=self.text.format(**words))


def _set(told: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    found: Mapping[str, Any] = told.get("set", {})
    return found.items()


def for_profile(remedy: Remedy) -> str:
    """As an operator does it who has a profile."""
    flags = [f"flags.{name} = false" for name in remedy.unset if not _is_variable(name)]
    given = [_in_profile(name, value) for name, value in remedy.set.items()]
    gone = [name for name in remedy.unset if _is_variable(name)]
    return _told(remedy, _doing("set", [*given, *flags]), _doing("unset", gone))


def _in_profile(name: str, value: str) -> str:
    table = "env" if _is_variable(name) else "flags"
    return f"{table}.{name} = {value or 'true'}"


def for_command(remedy: Remedy, within: Release) -> str:
    """As somebody does it who has a command for that release."""
    given = [_in_command(name, value, within) for name, value in remedy.set.items()]
    gone = [_as_written(name, within) for name in remedy.unset]
    return _told(remedy, _doing("", given), _doing("leave out", gone))


def _in_command(name: str, value: str, within: Release) -> str:
    if _is_variable(name):
        return f"{name}={value}"
    return f"{_as_written(name, within)} {value}" if value else f"add {_as_written(name, within)}"


def _as_written(name: str, within: Release) -> str:
    return name if _is_variable(name) else within.renamed(f"--{name}")


def _is_variable(name: str) -> bool:
    return name.isupper() or name.startswith("{")  # what a row does not name yet


def _doing(verb: str, names: list[str]) -> str:
    return f"{verb} {' and '.join(names)}".strip() if names else ""


def _told(remedy: Remedy, *parts: str) -> str:
    how = "take an image with" if remedy.is_image else "install"
    newer = f"{how} {remedy.package}{remedy.release}" if remedy.release else ""
    done = " and ".join(part for part in (*parts, newer) if part)
    return f"{done} ({remedy.text})" if done and remedy.text else done or remedy.text


def any_of(remedies: Iterable[Remedy], worded: Callable[[Remedy], str]) -> str:
    """Several as one sentence: each of them helps."""
    return ", or ".join(worded(remedy) for remedy in remedies)


def applied(case: Case, remedy: Remedy) -> Case:
    """The case with it; the release is the oldest known one that helps."""
    flags = {name: value for name, value in case.flags.items() if name not in remedy.unset}
    env = {name: value for name, value in case.env.items() if name not in remedy.unset}
    for name, value in remedy.set.items():
        (env if name.isupper() else flags)[name] = value
    target = case.target
    if remedy.release:
        span = Span.of(remedy.release)
        known = dialect(target.engine).options.releases
        found = next((one for one in known if span.has(version(one))), target.release)
        target = replace(target, release=found)
    return replace(case, target=target, flags=flags, env=env)
