"""A text with a launch in it, judged: pure, from text to data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import version
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats import manifests
from launcher.formats.shell import Launch
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, better, lint, notes
from launcher.plan.plan import Plan


@dataclass(frozen=True)
class Judged:
    """A launch, its target, and an entry for each of its flags and variables.

    `releases` has the entries by release: of the one that was asked for, or that the text names,
    else of all that are known.
    """

    launch: Launch
    target: Target
    releases: Mapping[str, tuple[Entry, ...]]

    @property
    def is_of_one(self) -> bool:
        """Whether it was judged for one release, and not for all."""
        return self.target.release is not None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, or not read."""
        doubt = (self.target.doubt,) if self.is_of_one and self.target.doubt else ()
        return (*self.launch.notes, *doubt, *notes(self.launch, self.target))

    @property
    def is_sound(self) -> bool:
        """Whether nothing of it keeps a server from running, and rightly."""
        entries = (entry for told in self.releases.values() for entry in told)
        return all(entry.verdict.rank < Verdict.CONFLICTS.rank for entry in entries)

    def better(self, release: str) -> Plan | None:
        """The command that should be for a release; None where there is no model to start."""
        return better(self.launch, self.releases[release], self.of(release))

    def of(self, release: str) -> Target:
        """The target with that release."""
        return replace(self.target, release=release)


def judge(
    text: str,
    target: Target,
    place: str = "this text",
    read: Callable[[str], Launch | None] = manifests.read,
) -> Judged:
    """Judge the launch that a text describes; `read` is who understands shells and manifests.

    Raises UserError where there is no launch, or none of an engine that is known. `place` is what
    messages call the text.
    """
    launch, ours = read(text), " or ".join(dialect(name).name for name in NAMES)
    if launch is None:
        programs = [" ".join(words) for name in NAMES for words in dialect(name).programs]
        what = f"no launch of {ours} in {place}: no {', no '.join(programs)}, no options"
        raise UserError(what, fix="give it the whole command, or its list of options")
    if launch.engine not in NAMES:
        fix = f"glm5-serve starts {ours}: `glm5-serve render` writes the command"
        raise UserError(f"{place} starts {launch.engine}, whose options are others", fix=fix)
    aimed = replace(target, engine=launch.engine, release=target.release or launch.release)
    names = [aimed.release] if aimed.release else known(launch.engine)
    told = {name: tuple(lint(launch, replace(aimed, release=name))) for name in names}
    return Judged(launch, aimed, told)


def known(engine: str) -> list[str]:
    """The releases that a launch of an engine is judged for where none is named."""
    spoken = dialect(engine)
    least = version(spoken.oldest)
    return [name for name in spoken.options.releases if version(name) >= least]
