"""A text with launches in it, changed in its author's form: only what lint says no to, and nothing
around it.

Each change is put into the text and read back; it counts only if the text then says just that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from launcher.engines.target import Target
from launcher.formats import assignments, edits
from launcher.formats.edits import Edit
from launcher.formats.launches import Launch
from launcher.formats.reading import Reading, read
from launcher.lint.rewrite import rewrite
from launcher.lint.run import Said, aimed, nothing

# A shell's assignment: its name, and its value.
_ASSIGNED = re.compile(
    r"""^[ \t]*(?:(?:export|local|readonly|declare(?:[ \t]+-\w+)*)[ \t]+)?(\w+)\+?="""
    r"""(\((?:[^()]|\n)*?\)|"[^"]*"|'[^']*'|[^\s;&|]*)""",
    re.MULTILINE,
)
MOST_LAUNCHES = 20  # of a text that is read again for each change


@dataclass(frozen=True)
class Change:
    """What of a launch was changed: what it said, what it says now ("" where nothing), and why."""

    launch: str
    old: str
    new: str
    why: str


@dataclass(frozen=True)
class Fixed:
    """The text as it should be, and each change; `obstacles` say why there is none, and then the
    text is the author's. `has_no_place`: what to change is known, and cannot be put into the text.
    """

    text: str
    changes: tuple[Change, ...] = ()
    obstacles: tuple[str, ...] = ()
    has_no_place: bool = False


def fixed(text: str, target: Target, said: Said = nothing) -> Fixed:
    """The text with every launch changed for the release that it is judged for; `said` as in
    `judge`.
    """
    made, changes, obstacles, has_no_place = text, list[Change](), list[str](), False
    reading = read(text)
    if len(reading.launches) > MOST_LAUNCHES:
        return Fixed(text, (), (f"more than {MOST_LAUNCHES} launches: give it fewer at a time",))
    wanted = [
        _wanted(one, target, said, reading.launches[:n]) for n, one in enumerate(reading.launches)
    ]
    for number in range(len(reading.launches)):
        launch = reading.launches[number]
        found = rewrite(launch, aimed(launch, target, said), reading.launches[:number])
        if found.obstacle:
            obstacles.append(_at(launch, found.obstacle))
        for edit in () if obstacles else found.edits:
            after = patched(made, reading, number, edit, wanted)
            change = _change(launch, edit)
            if after is None:
                has_no_place = True
                obstacles.append(_at(launch, f"{in_words(change)}: the text has no place for it"))
                break
            made, reading = after
            launch = reading.launches[number]
            changes.append(change)
    if obstacles:
        return Fixed(text, (), tuple(dict.fromkeys(obstacles)), has_no_place)
    return Fixed(made, tuple(_net(changes)))


def _net(changes: Sequence[Change]) -> Iterator[Change]:
    """Each change with those that went on from what it put there."""
    left = [*changes]
    while left:
        first, *left = left
        for other in [*left]:
            if first.new and (other.launch, other.old) == (first.launch, first.new):
                first = replace(first, new=other.new, why=f"{first.why}; {other.why}")
                left.remove(other)
        yield first


def _called(launch: Launch) -> str:
    return launch.name or (f"line {launch.line}" if launch.line else "")


def _at(launch: Launch, what: str) -> str:
    return f"{_called(launch)}: {what}" if _called(launch) else what


def _change(launch: Launch, edit: Edit) -> Change:
    if edit.variable:
        old, new = (
            f"{edit.variable}={value}" if value is not None else ""
            for value in (launch.env.get(edit.variable), edit.value)
        )
    else:
        old = " ".join(launch.words[edit.at : edit.at + edit.count])
        new = " ".join(edit.words)
    return Change(_called(launch), old, new, edit.why)


def in_words(change: Change) -> str:
    """What to do."""
    if not change.new:
        return f"leave out {change.old}"
    return f"{change.new} in place of {change.old}" if change.old else f"add {change.new}"


Words = tuple[tuple[str, ...], tuple[str, ...]]  # before and after


def _wanted(
    launch: Launch, target: Target, said: Said, before: Sequence[Launch]
) -> frozenset[Words]:
    """The words that a launch is to change by itself."""
    made = set()
    for edit in rewrite(launch, aimed(launch, target, said), before).edits:
        made.add((launch.words[edit.at : edit.at + edit.count], edit.words))
        launch = edit.applied(launch)
    return frozenset(made)


def patched(
    text: str,
    reading: Reading,
    number: int,
    edit: Edit,
    wanted: Sequence[frozenset[Words]] = (),
) -> tuple[str, Reading] | None:
    """The text with an edit of its launch of that number, and its reading; None where no way of
    writing it reads back as just that. Other launches change with it where it is `wanted` of them.
    """
    edited = reading.launches[number]
    change = (edited.words[edit.at : edit.at + edit.count], edit.words)
    allowed = [
        {_said(edit.applied(launch))}
        if launch is edited
        else {_said(launch), *(_said(one) for one in _either(launch, edited, edit))}
        if at < len(wanted) and (edit.variable or change in wanted[at])
        else {_said(launch)}
        for at, launch in enumerate(reading.launches)
    ]
    ways = assignments.candidates if edit.variable else edits.candidates
    for made in ways(text, edited, edit):
        after = read(made)
        is_so = len(after.launches) == len(allowed) and after.unread == reading.unread
        is_so = is_so and all(
            _said(one) in ok for one, ok in zip(after.launches, allowed, strict=True)
        )
        if is_so and not _serves_others(text, made, reading.launches):
            return made, after
    return None


def _serves_others(text: str, made: str, launches: Sequence[Launch]) -> bool:
    """Whether the change is in a variable of a script that more than the launches use."""
    pairs = zip(text, made, strict=False)
    at = next((at for at, (old, new) in enumerate(pairs) if old != new), len(made))
    for found in _ASSIGNED.finditer(text):
        if found.start(2) <= at <= found.end(2):
            uses = len(re.findall(rf"\$\{{?{found[1]}\b", text))
            places = range(found.start(2), found.end(2))
            ours = sum(
                any(piece.at in places for word in one.arguments for piece in word.pieces)
                for one in launches
            )
            return uses > max(ours, 1)
    return False


def _said(launch: Launch) -> tuple[object, ...]:
    """All that a launch says: its words and variables, its form and name."""
    return launch.words, tuple(sorted(launch.env.items())), launch.form, launch.name


def _either(launch: Launch, edited: Launch, edit: Edit) -> Iterator[Launch]:
    """What another launch says after the same change, where it is made of the same words."""
    if edit.variable:
        if launch.variables.get(edit.variable) == edited.variables.get(edit.variable):
            yield edit.applied(launch)
        return
    shared = edited.arguments[edit.at : edit.at + edit.count] or edited.arguments[: edit.at][-1:]
    for at in range(len(launch.arguments) - len(shared) + 1):
        if shared and launch.arguments[at : at + len(shared)] == shared:
            at += 0 if edit.count else 1
            yield Edit(edit.why, at, edit.count, edit.words).applied(launch)
