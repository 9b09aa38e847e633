"""The least that has to change in somebody's launch until lint says no to nothing in it.

What its author decided stays: model, parallelism, nodes, port, keys, names, speculation, and all
that comes from outside. Advice is left to him.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from launcher.engines.engine import dialect
from launcher.engines.members import whole
from launcher.engines.options import PLAIN, Given, Release, nearest_name
from launcher.engines.remedy import Remedy
from launcher.engines.slips import near
from launcher.engines.target import ARCHS, Target
from launcher.formats.edits import Edit
from launcher.formats.launches import Launch
from launcher.formats.masking import CUTS
from launcher.lint.by_option import canonical_name
from launcher.lint.concerns import Concern, Verdict
from launcher.lint.lint import Entry, lint
from launcher.lint.parsing import glued, gone_option, named_model

GUESS = "what to change depends on the GPU, and nobody said which (--gpu, --arch)"
MOST_TRIES = 100  # launches that are judged on the way
MOST_REASONS = 3  # why there is no rewrite
MOST_REFUSALS = 40  # of a launch that is worth changing
TRUE = ("true", "1", "yes", "on")


@dataclass(frozen=True)
class Rewrite:
    """A launch as it should be, and the changes that lead there one after the other; or why there
    is none.
    """

    launch: Launch
    edits: tuple[Edit, ...] = ()
    obstacle: str = ""


def rewrite(launch: Launch, target: Target, others: Sequence[Launch] = ()) -> Rewrite:
    """The least change after which nothing is said no to, for a target with a release; the `others`
    are of the same text.

    None that another GPU would not want, where the target's is assumed.
    """
    found = _for(launch, target, others)
    if found.edits and target.is_guess:
        elsewhere = (replace(target, arch=arch) for arch in ARCHS if arch != target.arch)
        if any(_for(launch, one, others).edits != found.edits for one in elsewhere):
            return Rewrite(launch, obstacle=GUESS)
    return found


def _for(launch: Launch, target: Target, others: Sequence[Launch]) -> Rewrite:
    if cut := CUTS & {*launch.notes}:
        return Rewrite(launch, obstacle="; ".join(sorted(cut)))
    entries = lint(launch, target, others)
    refused = [entry for entry in entries if entry.verdict.says_no]
    if len(refused) > MOST_REFUSALS:
        return Rewrite(launch, obstacle=f"{len(refused)} of its flags and variables are refused")
    search = _Search(launch, target, others)
    found = search.solved(launch, entries, ())
    return found or Rewrite(launch, obstacle=_reason(search.left_over or entries, entries))


def _reason(entries: Sequence[Entry], own: Sequence[Entry]) -> str:
    """What of the worst that are refused is said, where no change helps, and what would help each
    that is its author's to decide, of `own` options alone.
    """
    refused = [entry for entry in entries if entry.verdict.says_no]
    refused.sort(key=lambda entry: -entry.verdict.rank)
    advice = {one.why: one.instead for entry in (*entries, *own) for one in entry.concerns}
    told = []
    for entry in refused[:MOST_REASONS]:
        why = entry.concerns[0].why
        instead = f"; yours to decide: {advice[why]}" if advice[why] else ""
        told.append(f"{entry.name} {entry.value}".rstrip() + f": {why}{instead}")
    more = [f"and {len(refused) - len(told)} more"] if len(refused) > len(told) else []
    return "; ".join([*told, *more])


@dataclass(frozen=True)
class _Given:
    """A flag, and which of the launch's words give it."""

    given: Given
    at: int
    count: int
    is_joined: bool  # `--name=value`


def _givens(launch: Launch, within: Release) -> list[_Given]:
    made, at = [], 0
    for given in launch.given(within):
        is_joined = given.count == 1 and bool(given.values) and not given.is_positional
        made.append(_Given(given, at, given.count, is_joined))
        at += given.count
    return made


def _his(launch: Launch, within: Release) -> dict[str, str]:
    """What nobody but the author decides, by canonical name."""
    his = re.compile(dialect(launch.engine).his)
    given = whole(launch.given(within))
    named = {canonical_name(one, within): " ".join(one.values) for one in given if one.option}
    return {name: value for name, value in named.items() if his.fullmatch(name)}


class _Search:
    """Looks for changes that help, each of which leaves less to say no to."""

    def __init__(self, launch: Launch, target: Target, others: Sequence[Launch]) -> None:
        self.target, self.within, self.others = target, target.known, others
        self.his, self.references = _his(launch, self.within), set(launch.references)
        self.left = MOST_TRIES
        self.left_over: Sequence[Entry] = ()  # of the best launch that was come to

    def solved(
        self, launch: Launch, entries: Sequence[Entry], edits: tuple[Edit, ...]
    ) -> Rewrite | None:
        """The first way on from here that comes to an end."""
        refused = [at for at, entry in enumerate(entries) if entry.verdict.says_no]
        if not refused:
            return Rewrite(launch, edits)
        if not self.left_over or _badness(entries) < _badness(self.left_over):
            self.left_over = entries
        worst_first = sorted(refused, key=lambda at: -entries[at].verdict.rank)
        for change, is_guess in self._changes(launch, entries, worst_first):
            changed = launch
            for edit in change:
                changed = edit.applied(changed)
            self.left -= 1
            if self.left < 0:
                return None
            if not self._keeps(changed):
                continue
            again = lint(changed, self.target, self.others)
            if is_guess and _risks(again) > _risks(entries):
                continue  # what may be meant is what lint advises against
            if _badness(again) < _badness(entries):
                found = self.solved(changed, again, (*edits, *change))
                if found:
                    return found
        return None

    def _keeps(self, launch: Launch) -> bool:
        """Whether all that the author decided is still there."""
        now = _his(launch, self.within)
        is_his = all(now.get(name) == value for name, value in self.his.items())
        return is_his and self.references <= set(launch.references)

    def _changes(
        self, launch: Launch, entries: Sequence[Entry], refused: Sequence[int]
    ) -> Iterator[tuple[tuple[Edit, ...], bool]]:
        """What may help, the worst entry's first: edits that are made together, and whether they
        are what somebody may have meant.
        """
        givens = _givens(launch, self.within)
        for at in refused:
            flag = givens[at] if at < len(givens) else None
            for concern in entries[at].concerns:
                if not concern.verdict.says_no:
                    continue
                if flag and flag.at < launch.again:
                    yield (Edit(concern.why, 0, launch.again),), False
                elif flag and (named := named_model(flag.given, self.within)):
                    yield (Edit(concern.why, flag.at, flag.count, (named,)),), False
                elif flag and not concern.remedies:
                    before = givens[at - 1].given if at else None
                    made = _of_parser(flag, before, concern, self.target)
                    yield from (((edit,), True) for edit in made)
                for remedy in concern.remedies:
                    if remedy.release:  # another release is no change of the launch
                        continue
                    if change := tuple(self._of_remedy(remedy, concern, launch, flag)):
                        yield change, False

    def _of_remedy(
        self, remedy: Remedy, concern: Concern, launch: Launch, flag: _Given | None
    ) -> Iterator[Edit]:
        """Each of its options and variables in turn, on the launch as the ones before leave it."""
        why = f"{concern.id}: {concern.why}" if concern.id else concern.why
        for name in remedy.unset:
            while edit := _without(name, launch, self.within, why):
                launch = edit.applied(launch)
                yield edit
        for name, value in remedy.set.items():
            after = flag.at + flag.count if flag else len(launch.arguments)
            edit = _with(name, value, launch, self.within, why, after)
            if edit:
                launch = edit.applied(launch)
                yield edit


def _badness(entries: Sequence[Entry]) -> tuple[int, int]:
    """How many of its parts the parser refuses, and of how many things lint says no."""
    concerns = [concern for entry in entries for concern in entry.concerns]
    refused = sum(concern.verdict.is_refused for concern in concerns)
    return refused, sum(concern.verdict.says_no for concern in concerns)


def _risks(entries: Sequence[Entry]) -> int:
    risky = (Verdict.RISKY, Verdict.BREAKS)
    return sum(concern.verdict in risky for entry in entries for concern in entry.concerns)


def _of_parser(
    flag: _Given, before: Given | None, concern: Concern, target: Target
) -> Iterator[Edit]:
    """What may help where the release's parser refuses a flag; `before` is the one before it."""
    given, why = flag.given, concern.why
    option = given.option
    match concern.verdict:
        case Verdict.UNKNOWN if given.is_positional and given.word.startswith("-"):
            yield Edit(why, flag.at, flag.count, ("=".join(given.word.split(None, 1)),))
        case Verdict.CONFLICTS:  # the last one counts
            yield Edit(why, flag.at, flag.count)
        case Verdict.WRONG if option and option.takes == "nothing":
            if given.values[0].lower() in TRUE:
                yield Edit(why, flag.at, flag.count, (given.word,))
        case Verdict.WRONG if option and option.choices:
            if meant := near(" ".join(given.values), option.choices):
                yield _written(flag, given.word, [meant], why)
        case Verdict.UNKNOWN | Verdict.REMOVED | Verdict.AMBIGUOUS if given.word[:1] == "-":
            yield from _renamed(flag, concern, target)
        case Verdict.UNKNOWN if before and before.option and before.option.takes == "nothing":
            if given.word.lower() in TRUE:  # `--switch true`
                yield Edit(why, flag.at, flag.count)


def _renamed(flag: _Given, concern: Concern, target: Target) -> Iterator[Edit]:
    word, values, within = flag.given.read, flag.given.values, target.known
    matters = re.compile(dialect(target.engine).matters)
    gone = gone_option(word, within)
    if gone and gone.is_needless(" ".join(values)):
        yield Edit(f"{concern.why}; {gone.advice}", flag.at, flag.count)
        return
    if gone is None and (apart := glued(flag.given.word, within)) and not values:
        yield Edit(concern.why, flag.at, flag.count, ("=".join(apart),))
        return
    name = None if gone else within.replacement(word)
    if gone is None and name is None and concern.verdict is Verdict.UNKNOWN:
        name = nearest_name(word, within)
    if name and PLAIN.fullmatch(name):
        yield _written(flag, name, values, concern.why)
    elif name and re.fullmatch(r"--[\w-]+=[\w.-]+", name):
        yield Edit(concern.why, flag.at, flag.count, (name,))
    elif name is None and concern.verdict is Verdict.REMOVED and not matters.fullmatch(word[2:]):
        yield Edit(f"{concern.why}; nothing took its place", flag.at, flag.count)


def _written(flag: _Given, word: str, values: Sequence[str], why: str) -> Edit:
    """A flag with other words, in the author's spelling."""
    if flag.is_joined and len(values) == 1:
        return Edit(why, flag.at, flag.count, (f"{word}={values[0]}",))
    return Edit(why, flag.at, flag.count, (word, *values))


def _without(name: str, launch: Launch, within: Release, why: str) -> Edit | None:
    if name.isupper():
        return Edit(why, variable=name) if name in launch.variables else None
    return next(
        (
            Edit(why, flag.at, flag.count)
            for flag in _givens(launch, within)
            if canonical_name(flag.given, within) == name
        ),
        None,
    )


def _with(
    name: str, value: str, launch: Launch, within: Release, why: str, after: int
) -> Edit | None:
    """An option or variable as a remedy wants it: in its place, or behind what it is said of."""
    if name.isupper():
        is_so = name in launch.variables and launch.variables[name].value == value
        return None if is_so else Edit(why, variable=name, value=value)
    values = [value] if value else []
    for flag in reversed(_givens(launch, within)):  # the last counts
        if canonical_name(flag.given, within) == within.catalogue.canonical(name):
            is_so = list(flag.given.values) == values
            return None if is_so else _written(flag, flag.given.word, values, why)
    word = within.renamed(f"--{name}")
    return Edit(why, min(after, len(launch.arguments)), 0, (word, *values))
