"""`glm5-serve lint`: somebody's text judged, printed as it should be, or changed in its place."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from launcher import folding, printable
from launcher.api.lint import SCHEMA, Linted, fix_json, lint, said_before, to_json
from launcher.config.target import said_of_folder
from launcher.engines.engine import dialect
from launcher.engines.target import Target
from launcher.errors import Exit, UserError
from launcher.files import reading
from launcher.lint.carried import refusals
from launcher.lint.fix import Fixed, in_words
from launcher.lint.migrate import profile
from launcher.lint.run import Judgement, guessed, judge
from launcher.lint.translate import Command, translate
from launcher.operate.rewriting import MOST_BYTES, written
from launcher.output import nextstep, verdicts
from launcher.printable import cut
from launcher.redact.keyspelling import HIDDEN


@dataclass(frozen=True)
class Ask:
    """What was asked for: `how` is show, all-releases, fix, write, profile or to."""

    file: str
    how: str = "show"
    as_json: bool = False
    to: str = ""  # the engine to translate to


def run(ask: Ask, target: Target) -> int:
    """Do it, and return the exit status. Raises UserError."""
    if ask.how == "write":
        _require_file(ask.file)
    text = reading.whole(ask.file, MOST_BYTES, "give a file, or - for standard input")
    target = guessed(target, ask.file)
    if ask.how in ("profile", "to"):
        judgement = judge(text, target, ask.file, said_of_folder)
        if ask.how == "profile":
            return _profile(judgement, ask.file)
        return _translated(judgement, ask)
    linted = lint(text, target, ask.file, said_of_folder, every=ask.how == "all-releases")
    fix = linted.fix
    if ask.how in ("show", "all-releases") or fix is None:
        return show(linted, as_json=ask.as_json)
    if ask.how == "write" and fix.text != text:
        written(Path(ask.file), text, fix.text)
    where = ask.file if ask.how == "write" else None
    return rewritten(linted.judgement, fix, where=where, as_json=ask.as_json)


def _require_file(file: str) -> None:
    if file == "-" or file.startswith("/dev/"):
        what = f"--write wants a file to change, not {file}"
        raise UserError(what, fix="--fix prints the changed text", status=Exit.USAGE)


def _profile(judgement: Judgement, place: str) -> int:
    if len(judgement.launches) > 1:
        names = ", ".join(
            one.launch.name or f"line {one.launch.line}" for one in judgement.launches
        )
        fix = "a profile is one server: give it one of them"
        raise UserError(f"{place} has {len(judgement.launches)} launches ({names})", fix=fix)
    _require_seen(judgement, place)
    made, said = profile(judgement.launches[0], Path(place).name)
    for note in said_before(judgement):
        folding.tell(f"note: {cut(judgement.hidden(note))}", sys.stderr)
    print(made)
    for line in said:
        folding.tell(cut(judgement.hidden(line)), sys.stderr)
    nextstep.tell(("profiles validate ./NAME.toml", "once it is in a file of that name"))
    return Exit.FINE


def _require_seen(judgement: Judgement, place: str) -> None:
    """Raise UserError for words with a character that no reader sees: what is printed to be run
    must be what runs.
    """
    for one in judgement.launches:
        words = (*one.launch.words, *one.launch.env, *one.launch.env.values())
        if found := next(filter(None, map(printable.odd, words)), ""):
            what = f"{place} has {found} in its launch, a character that nobody would see"
            raise UserError(what, fix="take it out: `lint` without options shows where it stands")


def _translated(judgement: Judgement, ask: Ask) -> int:
    """Each launch in the other engine's words, and what has none there beside it."""
    _require_seen(judgement, ask.file)
    made, status = list[Command](), Exit.FINE
    for judged in judgement.launches:
        if judged.launch.engine != ask.to:
            one = translate(judged.launch, judged.target.known, ask.to)
            refused = tuple(refusals(one, judged.target))
            said = (*one.said, *refused, *_masked(judgement, one))
            made.append(replace(one, said=said))
            status = Exit.NO if refused else status
    if not made:
        name = dialect(ask.to).name
        raise UserError(f"{ask.file} starts {name} already", fix="lint it without --to")
    if ask.as_json:
        told = json.dumps({"schema": SCHEMA, "commands": [asdict(one) for one in made]}, indent=1)
        print(judgement.hidden(told))
        return status
    for note in said_before(judgement):
        folding.tell(f"note: {cut(judgement.hidden(note))}", sys.stderr)
    for one in made:
        env = [f"{name}={_quoted(value, one)}" for name, value in one.env.items()]
        print(judgement.hidden(" ".join([*env, *(_quoted(word, one) for word in one.argv)])))
        for line in one.said:
            folding.tell(cut(judgement.hidden(line)), sys.stderr)
    return status


def _masked(judgement: Judgement, command: Command) -> Iterator[str]:
    """What to put back before the command is run: the keys in it are not shown."""
    words = [*command.argv, *(f"{name}={value}" for name, value in command.env.items())]
    if any(HIDDEN in judgement.hidden(word) for word in words):
        yield f"{HIDDEN} is no key: before this is run, write there what your launch has"


def _quoted(word: str, command: Command) -> str:
    """A word as a shell reads it; what its author left open stays open."""
    is_open = any(outside in word for outside in command.outside)
    return f'"{word}"' if is_open else shlex.quote(word)


def show(linted: Linted, *, as_json: bool) -> int:
    """Print it, and what would be changed of the text; 1 if one of the launches will not run, or
    not correctly.
    """
    if as_json:
        print(json.dumps(to_json(linted), indent=1))
    else:
        verdicts.show(linted.judgement)
        if linted.fix:
            verdicts.changes(linted.judgement, linted.fix, linted.text)
    return Exit.FINE if linted.judgement.is_sound else Exit.NO


def rewritten(judgement: Judgement, fix: Fixed, *, where: str | None, as_json: bool) -> int:
    """Print the text as it should be, its keys masked, or say that it was written to `where`; and
    each change with its reason, beside it.
    """
    if as_json:
        print(json.dumps({"schema": SCHEMA, **fix_json(judgement, fix)}, indent=1))
    elif where is None and not fix.obstacles:
        hidden = judgement.hidden(fix.text)
        sys.stdout.write(shown := printable.program(hidden))
        if hidden != fix.text:
            folding.tell("note: keys are masked here; --write keeps them", sys.stderr)
        if shown != hidden:
            what = "characters that a terminal would obey are shown here as escapes"
            folding.tell(f"note: {what}; --write keeps them", sys.stderr)
    for note in said_before(judgement):
        folding.tell(f"note: {cut(judgement.hidden(note))}", sys.stderr)
    for change in fix.changes:
        at = f"{change.launch}: " if change.launch else ""
        said = f"{at}{in_words(change)}: {change.why}"
        folding.tell(cut(judgement.hidden(said)), sys.stderr)
    for obstacle in fix.obstacles:
        folding.tell(f"no rewrite: {cut(judgement.hidden(obstacle))}", sys.stderr)
    if fix.obstacles:
        return Exit.CONFIG if fix.has_no_place else Exit.NO
    if not fix.changes:
        folding.tell(verdicts.unchanged(judgement), sys.stderr)
    elif where is not None:
        folding.tell(f"written: {where}", sys.stderr)
    return Exit.FINE
