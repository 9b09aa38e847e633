"""A text with launches in it, judged: pure, from text to data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from launcher.engines.engine import NAMES, dialect
from launcher.engines.options import version
from launcher.engines.target import ARCHS, Target
from launcher.errors import UserError
from launcher.formats.container import unreleased
from launcher.formats.launches import Launch
from launcher.formats.masking import CUTS
from launcher.formats.reading import OURS, Reading, read
from launcher.host.facts import Model
from launcher.knowledge import gpu_names, gpus, images
from launcher.lint.as_plan import as_plan
from launcher.lint.lint import Entry, lint, notes
from launcher.lint.secrets import secrets
from launcher.redact.assigned import assigned
from launcher.redact.expansions import parts
from launcher.redact.keyspelling import HIDDEN, spellings
from launcher.redact.secrets import hide, named

# What ends a word of a shell ends its value.
BARE = r"(?:[^\s'\"&\\;|<>()]|\\[^\s'\"\\])+(?<![,}\]])"
# In a program's text any such name counts, and what it is given stands in quotes.
ASSIGNED = re.compile(
    r"""((?:token|key|secret|password)\w{0,40}\s{0,40}=\s{0,40})(["'])(?!\[redacted)[^"'\n$]+\2""",
    re.IGNORECASE,
)
PARAMETER = re.compile(
    r"(key=)(?!\[redacted|\.{3})(?:[^&\s'\"\])};|<>(\\]|\\[^\s'\"])+", re.IGNORECASE
)
LONG = 10  # letters of a key that is one within other words, too
WORD = re.compile(r"[a-z]{1,9}")
WHAT_HANGS = "what hangs on the GPU"
WHOLE = "give it the whole command, or its list of options"


@dataclass(frozen=True)
class Judged:
    """A launch, its target, and an entry for each of its flags and variables.

    `releases` has the entries by release: of the one that was asked for, else of all that are known
    where these are wanted, else of the one that the text names, or of the newest.
    """

    launch: Launch
    target: Target
    releases: Mapping[str, tuple[Entry, ...]]
    assumed: tuple[str, ...] = ()  # the release, the GPUs, where nobody said which
    before: tuple[Launch, ...] = ()  # of the same text
    secrets: tuple[str, ...] = ()  # the keys and tokens of all that text, the longest first

    @property
    def is_of_one(self) -> bool:
        """Whether it was judged for one release, and not for all."""
        return len(self.releases) == 1

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, or not read."""
        assumed = (f"assumed: {what}" for what in self.assumed)
        doubt = (self.target.doubt,) if self.is_of_one and self.target.doubt else ()
        return (*self.launch.notes, *assumed, *doubt, *notes(self.launch, self.target))

    @property
    def is_sound(self) -> bool:
        """Whether nothing of it keeps a server from running, and rightly."""
        is_whole = not CUTS & {*self.launch.notes}
        own = self.releases.get(self.launch.release or "")
        told = self.releases.values() if own is None else [own]
        return is_whole and all(map(_is_sound, told))

    def hidden(self, text: str) -> str:
        """A text about it without its keys and tokens."""
        return self._without(self.secrets, text)

    def sentence(self, text: str) -> str:
        """A sentence of ours without them. What is a word of the language, as `--api-key key` has
        it, and no other option's value, is one of ours there.
        """
        return self._without(self._of_others, text)

    @cached_property
    def _of_others(self) -> Sequence[str]:
        """The keys and tokens that are no words of the language, or are given elsewhere, too."""
        given = Counter(part for word in self.launch.words for part in word.split("="))
        return [one for one in self.secrets if not WORD.fullmatch(one) or given[one] > 1]

    def _without(self, secret: Sequence[str], text: str) -> str:
        text = spellings(*(one for one in secret if len(one) >= LONG)).hide(text)
        any_of = "|".join(map(re.escape, secret))
        if any_of:
            text = re.sub(rf"(?:(?<![\w-])|(?<=:-))(?:{any_of})(?![\w-])", HIDDEN, text)
        said = parts(text)
        return "".join(part if stands_for else _scrubbed(part) for part, stands_for in said)

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

    def hidden(self, text: str) -> str:
        """A text about them without their keys and tokens."""
        return self.launches[0].hidden(text)


Said = Callable[[str], Model]  # what a checkpoint says of itself, by its path


def nothing(path: str) -> Model:
    """Where no checkpoint is asked."""
    return Model()


def judge(
    text: str,
    target: Target,
    place: str = "this text",
    said: Said = nothing,
    *,
    every: bool = False,
) -> Judgement:
    """Judge every launch that a text describes; `place` is what messages call the text, `said` what
    the checkpoint says of itself that one names.

    For one release, or with `every` for all where none was asked for; whether it is sound, the one
    that it names says then.

    Raises UserError where there is none.
    """
    found = read(text)
    if not found.launches and OURS.search(text):
        what = f"{place} starts `glm5-serve up`, which chooses the engine's words where it runs"
        raise UserError(what, fix="`glm5-serve render --profile NAME | glm5-serve lint -`")
    if not found.launches:
        raise UserError(f"{_none(place)}{_unread(found)}", fix=WHOLE)
    for launch in found.launches:
        if not launch.words:
            what = f"{place} starts {dialect(launch.engine).name}, and none of its options was read"
            raise UserError(f"{what}{_unread(found)}", fix=WHOLE)
    judged = [
        _judged(one, aimed(one, target, said), found.launches[:at], target, every=every)
        for at, one in enumerate(found.launches)
    ]
    keys = {key for one in judged for key in secrets(one.launch, one.target)} | assigned(text)
    ranked = tuple(sorted(keys, key=len, reverse=True))
    return Judgement(tuple(replace(one, secrets=ranked) for one in judged), found.unread)


def _scrubbed(text: str) -> str:
    text = ASSIGNED.sub(rf"\1\2{HIDDEN}\2", hide(named(BARE).hide(text)))
    return PARAMETER.sub(rf"\1{HIDDEN}", text)


def _is_sound(entries: Sequence[Entry]) -> bool:
    return not any(entry.verdict.says_no for entry in entries)


def _none(place: str) -> str:
    ours = " or ".join(dialect(name).name for name in NAMES)
    programs = [" ".join(words) for name in NAMES for words in dialect(name).programs]
    return f"no launch of {ours} in {place}: no {', no '.join(programs)}, no options of theirs"


def _unread(found: Reading) -> str:
    return f" ({'; '.join(found.unread)})" if found.unread else ""


def _judged(
    launch: Launch, at: Target, before: Sequence[Launch], target: Target, *, every: bool
) -> Judged:
    asked = _asked(target, launch.engine)
    release = asked or launch.release
    names = known(launch.engine) if every and asked is None else [at.release or at.nearest]
    told = {name: tuple(lint(launch, replace(at, release=name), before)) for name in names}
    assumed = tuple(_assumed(launch, at, told, release, before, target))
    if every and asked:
        launch = launch.noting(f"no table over releases: --release names {asked}")
    elif every and release:
        column = "that column is its own" if release in told else "it has no column"
        launch = launch.noting(f"the text itself names {release}: {column}")
    return Judged(launch, at, told, assumed, tuple(before))


def _assumed(
    launch: Launch,
    at: Target,
    told: Mapping[str, Sequence[Entry]],
    release: str | None,
    before: Sequence[Launch],
    target: Target,
) -> Iterator[str]:
    """What nobody said, and how much hangs on it."""
    if release is None and len(told) == 1:
        name = dialect(launch.engine).name
        why = "nothing names another"
        if target.release:
            why = f"--release {target.release} is another engine's"
        if image := unreleased(launch.image):
            why = f"the image {image} is none of its releases, and may be another program"
        yield f"{name} {at.release}, the newest known: {why} (--release)"
    elif not target.release and (image := unreleased(launch.image)):
        name = dialect(launch.engine).name
        why = f"the tag of {image} names it, and is none of its releases: it may be patched"
        yield f"{name} {release}: {why} (--release)"
    asked = _asked(target, launch.engine)
    if launch.image and launch.release and asked not in (None, launch.release):
        why = "--fix changes options, not images"
        yield f"{asked} (--release), and {launch.image} is of {launch.release}: {why}"
    if len(told) > 1 and launch.image and not launch.release and not set("${<") & {*launch.image}:
        why = "one release, and its tag does not say which: one column is its own (--release)"
        yield f"the image {launch.image} is {why}"
    if whose := images.of_other_gpus(launch.image):
        how = f"judged for {at.arch}, as asked" if at.arch else f"{WHAT_HANGS} is not judged"
        yield f"the image {launch.image} is for {whose}: {how}"
    is_asked = _placed(launch, target) != target
    if target.is_guess and not (at.is_guess or is_asked or whose):
        named = " and ".join(one.said for one in launch.around.named)
        how = f"it is judged for {at.gpu or at.arch}" if at.arch else f"{WHAT_HANGS} is not judged"
        yield f"the text names {named}: {how} (--gpu)"
    if at.is_guess:
        said = _refused(lint(launch, at, before))
        others = [
            arch
            for arch in ARCHS
            if arch != at.arch and _refused(lint(launch, replace(at, arch=arch), before)) != said
        ]
        decides = f": on {' and '.join(others)} the answer is another" if others else ""
        yield f"{at.arch}{decides} (--gpu, --arch)"


def _refused(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """What is said no to, and as what."""
    return [(entry.name, entry.verdict) for entry in entries if entry.verdict.says_no]


def aimed(launch: Launch, target: Target, said: Said = nothing) -> Target:
    """What a launch is judged for: the release that was asked for, or that its image names, else
    the newest that is known; and its model, where nobody told of one.
    """
    at = replace(target, engine=launch.engine)
    release = _asked(target, launch.engine) or launch.release
    at = replace(at, release=release or dialect(launch.engine).options.newest)
    if at.is_guess and images.of_other_gpus(launch.image):
        at = replace(at, arch=None, gpu=None, memory=None, is_guess=False)
    at = _placed(launch, at) if at.is_guess else at
    at = _named(launch, at) if at.is_guess else at
    if at.model != Model():
        return at
    plan = as_plan(launch, launch.given(at.known), at, at.known)
    path = launch.on_host(plan.flag(dialect(launch.engine).option_of("model_path")) or "")
    return replace(at, model=said(path)) if path else at


def _placed(launch: Launch, at: Target) -> Target:
    """The target with the GPUs that the launch asks of its node, where they are of one kind."""
    found = [gpus.of(id) for id in launch.around.products]
    if len({one.arch for one in found}) != 1:
        return at
    gpu = found[0].id if len(found) == 1 else None
    return replace(at, arch=found[0].arch, gpu=gpu, is_guess=False)


def guessed(target: Target, file: str) -> Target:
    """The target whose architecture is guessed by what the name of a text's file says, where it
    says one: `serve_b200.sh`.
    """
    archs = {one.arch for one in gpu_names.named(file.rpartition("/")[2])}
    if not target.is_guess or len(archs) != 1:
        return target
    [arch] = archs
    known = arch in ARCHS
    return replace(target, arch=arch if known else None, memory=None, is_guess=known)


def _named(launch: Launch, at: Target) -> Target:
    """The target with the GPUs that the launch's text names, where they are of one architecture;
    with none where it names others than those that are guessed.
    """
    named = launch.around.named
    archs = {one.arch for one in named}
    if not named or (at.arch in archs and len(archs) > 1):
        return at
    [arch, *more] = archs
    products = {one.product for one in named}
    is_one = not more and arch in ARCHS
    gpu = next(iter(products)) if is_one and len(products) == 1 else None
    return replace(at, arch=arch if is_one else None, gpu=gpu or None, memory=None, is_guess=False)


def _asked(target: Target, engine: str) -> str | None:
    """The release that was asked for, where it is none of another engine's."""
    asked = version(target.release or "")
    own, *others = (
        {version(release) for release in dialect(name).options.releases}
        for name in sorted(NAMES, key=lambda name: name != engine)
    )
    return target.release if asked in own or not any(asked in other for other in others) else None


def known(engine: str) -> list[str]:
    """The releases that a launch of an engine is judged for where none is named."""
    spoken = dialect(engine)
    least = version(spoken.oldest)
    return [name for name in spoken.options.releases if version(name) >= least]
