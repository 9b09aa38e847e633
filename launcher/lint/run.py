"""A text with launches in it, judged: pure, from text to data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import version
from launcher.engines.target import Target
from launcher.errors import UserError
from launcher.formats.launches import Launch
from launcher.formats.reading import Reading, read
from launcher.host.facts import Model
from launcher.lint.concerns import Verdict
from launcher.lint.lint import Entry, as_plan, better, lint, notes, obstacle, secrets
from launcher.plan.plan import Plan
from launcher.redact.keys import scrub
from launcher.redact.keyspelling import HIDDEN

CREDENTIALS = re.compile(r"(://)[^/\s@]+@")  # of an address
PARAMETER = re.compile(r"((?:token|key|secret|password)=)[^&\s'\"]+", re.IGNORECASE)
WHOLE = "give it the whole command, or its list of options"


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

    @cached_property
    def _secret(self) -> re.Pattern[str] | None:
        found = "|".join(map(re.escape, secrets(self.launch, self.target)))
        return re.compile(rf"(?<![\w-])(?:{found})(?![\w-])") if found else None

    def hidden(self, text: str) -> str:
        """A text about it without its keys and tokens."""
        text = self._secret.sub(HIDDEN, text) if self._secret else text
        text = CREDENTIALS.sub(rf"\1{HIDDEN}@", text)
        return scrub(PARAMETER.sub(rf"\1{HIDDEN}", text), None)

    @property
    def obstacle(self) -> str:
        """Why no command is written in its place."""
        return obstacle(self.launch, self.target) or "no other option mends all that is wrong"

    def better(self, release: str) -> Plan | None:
        """The command that should be for a release; None where none can be written."""
        return better(self.launch, self.releases[release], self.of(release))

    def of(self, release: str) -> Target:
        """The target with that release."""
        return replace(self.target, release=release)


@dataclass(frozen=True)
class Judgement:
    """All launches of a text, and what of the text was not read."""

    launches: tuple[Judged, ...]
    unread: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing keeps any of these servers from running, and rightly."""
        return all(judged.is_sound for judged in self.launches)


def judge(
    text: str,
    target: Target,
    place: str = "this text",
    said: Callable[[str], Model] = lambda path: Model(),
) -> Judgement:
    """Judge every launch that a text describes; `place` is what messages call the text, `said` what
    the checkpoint says of itself that one names.

    Raises UserError where there is none, or one of an engine that is not known.
    """
    found = read(text)
    if not found.launches:
        raise UserError(f"{_none(place)}{_unread(found)}", fix=WHOLE)
    ours = " or ".join(dialect(name).name for name in NAMES)
    for launch in found.launches:
        if launch.engine not in NAMES:
            fix = f"glm5-serve starts {ours}: `glm5-serve render` writes the command"
            raise UserError(f"{place} starts {launch.engine}, whose options are others", fix=fix)
        if not launch.words:
            what = f"{place} starts {dialect(launch.engine).name}, and none of its options was read"
            raise UserError(f"{what}{_unread(found)}", fix=WHOLE)
    all_of_them = found.launches
    judged = (
        _judged(one, _with(one, target, said), all_of_them[:at])
        for at, one in enumerate(all_of_them)
    )
    return Judgement(tuple(judged), found.unread)


def _with(launch: Launch, target: Target, said: Callable[[str], Model]) -> Target:
    """The target with what is known of the launch's model, where nobody told of one."""
    if target.model != Model():
        return target
    aimed = replace(target, engine=launch.engine)
    plan = as_plan(launch, aimed.known.given(launch.words), aimed, aimed.known)
    return replace(target, model=said(plan.model)) if plan.model else target


def _none(place: str) -> str:
    ours = " or ".join(dialect(name).name for name in NAMES)
    programs = [" ".join(words) for name in NAMES for words in dialect(name).programs]
    return f"no launch of {ours} in {place}: no {', no '.join(programs)}, no options"


def _unread(found: Reading) -> str:
    return f" ({'; '.join(found.unread)})" if found.unread else ""


def _judged(launch: Launch, target: Target, before: Sequence[Launch]) -> Judged:
    aimed = replace(target, engine=launch.engine, release=target.release or launch.release)
    names = [aimed.release] if aimed.release else known(launch.engine)
    told = {name: tuple(lint(launch, replace(aimed, release=name), before)) for name in names}
    return Judged(launch, aimed, told)


def known(engine: str) -> list[str]:
    """The releases that a launch of an engine is judged for where none is named."""
    spoken = dialect(engine)
    least = version(spoken.oldest)
    return [name for name in spoken.options.releases if version(name) >= least]
